"""Named systems: every file is right, presets differ as the paper and its code do, errors help."""

from pathlib import Path

import pytest

from fusionzoo import registry
from fusionzoo.errors import BadOption, UnknownComponent
from fusionzoo.models.assemble import plan
from fusionzoo.recipes import load_recipes
from fusionzoo.spec import DataSpec, Modality, TaskSpec
from fusionzoo.systems import load_system
from fusionzoo.training.config import TrainConfig

DATA = DataSpec(
    "small",
    (
        Modality("ct", "volume", 1, (12, 64, 64)),
        Modality("clinic", "image", 3, (64, 64)),
        Modality("derm", "image", 3, (64, 64)),
        Modality("table", "table", 7),
    ),
    (TaskSpec("dx", ("A", "G")),),
)
FILE = """
summary = "s"
paper = "p"
basis = "paper"
spec = "table=kan -> linear"
default = "one"
[presets.one]
summary = "first"
[presets.two]
summary = "second"
spec = "table=mlp -> linear"
training = { epochs = 3 }
"""


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system `mine` with the text of one's choice."""
    path = tmp_path / "mine.toml"

    def write(text: str, name: str = "mine", **options: str):
        path.write_text(text, encoding="utf-8")
        entry = registry.Entry("system", "mine", "fusionzoo", str(path))
        monkeypatch.setattr(registry, "entry", lambda kind, asked: entry)
        return load_system(name, **options)

    return write


@pytest.mark.parametrize("name", registry.names("system"))
def test_every_system_assembles_under_every_preset(name: str) -> None:
    for preset in load_system(name).presets:
        found = load_system(name, preset)
        assert found.summary
        assert plan(found.spec, DATA).stages
        assert TrainConfig.from_settings(found.training)


def test_presets_of_mmcaf_net() -> None:
    paper, official = load_system("mmcaf-net"), load_system("mmcaf-net:official")
    assert (paper.preset, paper.presets) == ("paper", ("paper", "official"))
    assert paper.spec == official.spec
    differ = {k for k in paper.training if paper.training[k] != official.training[k]}
    assert differ == {"loss", "weight_decay", "frozen"}
    assert paper.training["weight_decay"] == 10 * official.training["weight_decay"] == 0.01
    assert (paper.training["loss"], official.training["loss"]) == ("bce", "focal")
    assert any("sharpening" in sentence for sentence in paper.open)


def test_systems_are_the_rows_of_the_tables() -> None:
    papers = ("mmcaf_net", "iimgf_net")
    rows = {row.spec: row.basis for p in papers for r in load_recipes(p) for row in r.rows}
    for name in registry.names("system"):
        found = load_system(name)
        if Path(registry.entry("system", name).target).stem in ("mmcaf-net", "daft", "penet"):
            assert found.basis == "released"
        if found.spec in rows:
            assert rows[found.spec] == found.basis
    assert {load_system(n).spec for n in ("daft", "pecon", "mmtm", "mmcaf-net")} <= set(rows)
    baselines = ("hifuse", "rest", "xcit", "levit", "mambavision", "efficientnet", "regnet")
    baselines += ("resnet", "xception", "crd_net", "fusionm4net", "tformer")
    assert {load_system(name).spec for name in baselines} <= set(rows)


def test_a_preset_may_have_a_spec_of_its_own(system) -> None:
    assert system(FILE).spec == "table=kan -> linear"
    two = system(FILE, "mine:two")
    assert (two.spec, two.training, two.preset) == ("table=mlp -> linear", {"epochs": 3}, "two")
    assert system(FILE, preset="two") == two


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('paper = "p"', "", "paper is missing"),
        ('paper = "p"', 'paper = "p"\ncolour = 1', "colour is not known"),
        ('default = "one"', 'default = "three"', "default preset 'three' is none of one, two"),
        ('basis = "paper"', 'basis = "rumour"', "basis 'rumour' is none of released"),
        ("epochs = 3", "epoks = 3", "preset 'two': Training has no setting 'epoks'"),
        ("table=mlp ->", "table=mlp", "preset 'two': "),
        ('summary = "first"', "summary = 1", "presets.one.summary must be text, is 1"),
        ("[presets.one]", "[presets.one", "is no TOML"),
    ],
)
def test_what_is_wrong_with_a_file(system, old: str, new: str, told: str) -> None:
    with pytest.raises(BadOption) as raised:
        system(FILE.replace(old, new))
    assert told in str(raised.value)


def test_names() -> None:
    with pytest.raises(UnknownComponent, match=r"No system is called 'mmcaf'.*mmcaf-net"):
        load_system("mmcaf")
    with pytest.raises(BadOption, match=r"no preset 'oficial'\. Closest: official\. It has: paper"):
        load_system("mmcaf-net:oficial")
    with pytest.raises(BadOption, match="with the presets 'paper' and 'official'"):
        load_system("mmcaf-net:paper", "official")
