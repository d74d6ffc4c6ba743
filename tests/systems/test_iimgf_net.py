"""IIMGF-Net whole: outputs of the released code, released weights, sizes, presets and ablations."""

import math

import pytest
import torch

from fusionzoo.errors import WeightsError
from fusionzoo.grammar import parse
from fusionzoo.interface import Batch
from fusionzoo.models.assemble import assemble, plan
from fusionzoo.models.weights import filled_from
from fusionzoo.recipes import load_recipes
from fusionzoo.spec import DataSpec, Modality, TaskSpec
from fusionzoo.systems import load_system
from tests import golden_normal, golden_rule

TASKS = {"DIAG": 5, "PN": 3, "BWV": 2, "VS": 3, "PIG": 3, "STR": 3, "DaG": 3, "RS": 2}
#: Of the released model: stages that are not run, and norms that are not used.
UNREAD = ("mamba.layers.3.", "mamba.classifier.", "norm.", "norm_f.")
SMALL = {"vmamba": {"channels": 8, "depths": (1, 1, 1, 1)}}


def data_of(size: int, tasks: list[str], **suggestions) -> DataSpec:
    return DataSpec(
        "lesions",
        tuple(Modality(name, "image", 3, (size, size)) for name in ("clinic", "derm")),
        tuple(TaskSpec(name, tuple("abcde"[: TASKS[name]])) for name in tasks),
        suggestions,
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file as the release saves its models: nested, in float32, with the unused parts."""
    state = golden_normal.official_state("iimgf_small")
    state |= {"mamba.classifier.norm.weight": torch.ones(64), "norm.weight": torch.ones(64)}
    path = tmp_path_factory.mktemp("release") / "iimgf.pth"
    torch.save({"model": state, "epoch": 75}, path)
    return str(path)


@pytest.mark.parametrize("binary", ["one", "two"])
@pytest.mark.parametrize("bug", [False, True])
def test_released_weights_give_the_released_outputs(weights, bug, binary):
    """Tasks in another order than the release's: they go by name."""
    golden = golden_normal.load("iimgf_small")
    data = data_of(64, sorted(TASKS), **SMALL)
    spec = load_system("iimgf-net:official" if bug else "iimgf-net").spec
    spec = spec.replace("binary=two", f"binary={binary}")
    model = assemble(filled_from(parse(spec), [weights]), data).eval()
    inputs = {m.name: golden["in"][m.name] for m in data.modalities}
    present = {name: torch.ones(2, dtype=torch.bool) for name in inputs}
    with torch.no_grad():
        logits = model(Batch(inputs, present, {}, torch.arange(2))).logits
    assert list(logits) == sorted(TASKS)
    for name, found in logits.items():
        expected = golden["out"][name if bug else f"fixed.{name}"]
        expected = expected.diff(dim=1) if TASKS[name] == 2 else expected
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_what_is_read_of_the_43_773_464_released_weights():
    """Half of each pair of MGC's scans is read by no output either; see `both_streams`."""
    shapes = golden_rule.shapes("iimgf_net")
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    assert sum(sizes.values()) == 43_773_464
    unread = sum(size for name, size in sizes.items() if name.startswith(UNREAD))
    assert unread == 12_447_744 + 770_536 + 2 * 768 + 2 * 1536
    assert sum(sizes.values()) - unread == 30_550_576
    data = data_of(224, list(TASKS))
    spec = load_system("iimgf-net").spec
    counts = {}
    for both in (True, False):
        stages = plan(spec.replace("+mgc", f"+mgc(both_streams={both})"), data).stages
        counts[both] = sum(stage.parameters for stage in stages)
    assert counts == {True: 30_550_576, False: 30_034_480}


def test_a_part_can_be_filled_alone(weights):
    data = data_of(64, list(TASKS), **SMALL)
    spec = parse(load_system("iimgf-net").spec)
    assert plan(filled_from(spec, [f"cmigf={weights}"]), data).weights == {"fusion:cmigf": weights}
    whole = plan(filled_from(spec, [weights]), data).weights
    assert set(whole) == {
        "clinic=derm:vmamba",
        "fusion:cmigf",
        "fusion:mgc",
        "head fused:linear",
    }


def test_tasks_that_the_release_does_not_have(weights):
    data = data_of(64, ["DIAG"], **SMALL)
    strange = DataSpec("s", data.modalities, (TaskSpec("malignancy", ("a", "b")),), SMALL)
    with pytest.raises(WeightsError) as raised:
        assemble(filled_from(parse(load_system("iimgf-net").spec), [weights]), strange)
    told = str(raised.value)
    assert "no classifier for malignancy; they have: bwn, dag, diag, pig, pn, rs, str, vs" in told


def test_presets_differ_as_paper_and_code_do():
    paper, official = load_system("iimgf-net"), load_system("iimgf-net:official")
    assert paper.presets == ("paper", "official")
    assert official.spec == paper.spec.replace("mgc", "mgc(official_layout_bug=True)")
    differ = {k for k in paper.training if paper.training[k] != official.training[k]}
    assert differ == {"optimizer", "augment"}
    assert (paper.training["optimizer"], official.training["optimizer"]) == ("adamw", "adam")
    assert paper.training["monitor"] == "accuracy"
    assert any("blue, green, red" in sentence for sentence in official.open)


def test_ablations():
    """The head's vector: both means, and as many again from MGC where it is there."""
    data = data_of(224, list(TASKS))
    widths = {}
    for name in ("iimgf-net", "iimgf-net-without-mgc", "iimgf-net-without-cmigf"):
        stages = plan(load_system(name).spec, data).stages
        head = next(stage for stage in stages if stage.feature == "head fused")
        widths[name] = head.parameters // 24 - 1
    assert widths == {
        "iimgf-net": 3072,
        "iimgf-net-without-mgc": 1536,
        "iimgf-net-without-cmigf": 3072,
    }


def test_tables_of_the_paper():
    recipes = {recipe.name: recipe for recipe in load_recipes("iimgf_net")}
    for name in ("table2", "table2_dect"):
        table, whole = recipes[f"iimgf_net/{name}"], recipes[f"iimgf_net/{name[:5]}1{name[6:]}"]
        assert [row.label for row in table.rows] == ["without MGC", "without CMIGF", "IIMGF-Net"]
        ours, theirs = table.row("IIMGF-Net"), whole.row("IIMGF-Net")
        assert (ours.spec, ours.published, ours.published_sd) == (
            theirs.spec,
            theirs.published,
            theirs.published_sd,
        )
    assert recipes["iimgf_net/table2"].row("without MGC").published["auroc"] == 0.858
    assert recipes["iimgf_net/table2_dect"].row("without CMIGF").published_sd["accuracy"] == 0.028
