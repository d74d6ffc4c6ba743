"""Names of parts, their options, and what plugins may and may not do."""

import inspect
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest

from fusionzoo import registry
from fusionzoo.errors import BadOption, PluginError, UnknownComponent
from fusionzoo.interface import AbstractEncoder, AbstractFusion

PARTS = [
    (kind, name)
    for kind in ("encoder", "neck", "fusion", "head", "dataset")
    for name in registry.names(kind)
]


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """No part of a notebook, and no plugin, outlives its test."""
    monkeypatch.setattr(registry, "_notebook", {})
    registry.refresh()
    yield
    registry.refresh()


@pytest.fixture
def plugins(monkeypatch):
    """Pretend that distributions with entry points are installed."""

    def install(*points):
        made = []
        for group, name, value, dist in points:
            point = EntryPoint(name, value, group)
            vars(point)["dist"] = dist and SimpleNamespace(name=dist, version="0.2")
            made.append(point)
        monkeypatch.setattr(
            registry, "entry_points", lambda group: [p for p in made if p.group == group]
        )
        registry.refresh()

    return install


class Toy(AbstractFusion):
    def __init__(
        self,
        given,
        *,
        size: int,
        rate: float = 0.5,
        kind: Literal["sum", "concat", 2] = "sum",
        widths: tuple[int, ...] = (1, 2),
        three: tuple[int, int, int] = (1, 2, 3),
        flags: Sequence[bool] = (),
        label: str | None = None,
        on: bool = True,
        path: str | Path = "",
        free=None,
    ):
        super().__init__()


class Plain(AbstractFusion):
    def __init__(self, given):
        super().__init__()


@pytest.fixture
def toy():
    registry.register("fusion", "toy")(Toy)
    registry.register("fusion", "plain")(Plain)


def test_names_are_known_without_importing_any_part():
    code = (
        "import json, sys\n"
        "from fusionzoo import registry\n"
        "found = {kind: registry.names(kind) for kind in registry.FOLDERS}\n"
        "lines = [e.summary for k in registry.FOLDERS for e in registry.entries(k) if e.origin =="
        " 'fusionzoo']\n"
        "heavy = [m for m in sys.modules if m.split('.')[0] in ('torch', 'pandas')"
        " or m.startswith('fusionzoo.encoders')]\n"
        "print(json.dumps([found, lines, heavy]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, summaries, heavy = json.loads(done.stdout)
    assert heavy == []
    assert {"penet3d", "kan", "mlp"} <= set(found["encoder"])
    assert "msca" in found["fusion"]
    assert "mmcaf-net" in found["system"]
    assert all(summaries)


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_built_in_is_one_class_of_its_kind(kind, name):
    part = registry.load(kind, name)
    assert inspect.isclass(part)
    assert f"Abstract{kind.capitalize()}" in {base.__name__ for base in part.__mro__}
    assert kind == "dataset" or part.source
    registry.options(kind, name)


def test_the_options_of_every_built_in_accept_their_own_defaults():
    checked = 0
    for kind, name in PARTS:
        defaults = {
            key: value
            for key, value in registry.options(kind, name).items()
            if value is not inspect.Parameter.empty
        }
        required = set(registry.options(kind, name)) - set(defaults)
        if not required:
            assert registry.bind(kind, name, defaults) == defaults
            checked += len(defaults)
    assert checked > 20


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (
            "fusion",
            "msac",
            "No fusion is called 'msac'. Closest: msca",
        ),
        ("encoder", "msca", "No encoder is called 'msca'. There is a fusion of that name. "),
        ("head", "zzzzzz", "No head is called 'zzzzzz'. 'fusionzoo list heads' shows all "),
    ],
)
def test_an_unknown_name_tells_the_nearest(kind, name, message):
    with pytest.raises(UnknownComponent) as caught:
        registry.load(kind, name)
    assert str(caught.value).startswith(message)
    count = len(registry.names(kind))
    assert str(caught.value).endswith(f"'fusionzoo list {kind}s' shows all {count}.")


DEFAULTS = {
    "size": 3,
    "rate": 0.5,
    "kind": "sum",
    "widths": (1, 2),
    "three": (1, 2, 3),
    "flags": (),
    "label": None,
    "on": True,
    "path": "",
    "free": None,
}


@pytest.mark.parametrize(
    "given",
    [
        {"rate": 0.25},
        {"kind": "concat"},
        {"kind": 2},
        {"widths": ()},
        {"widths": (4, 5, 6)},
        {"widths": [4]},
        {"three": (4, 5, 6)},
        {"flags": (True, False)},
        {"label": "x"},
        {"on": False},
        {"path": "a/b"},
        {"path": Path("a")},
        {"free": object},
    ],
)
def test_values_that_fit(toy, given):
    assert registry.bind("fusion", "toy", {"size": 3, **given}) == DEFAULTS | given


def test_the_first_option_goes_without_its_name(toy):
    assert registry.bind("fusion", "toy", {"": 3}) == DEFAULTS
    assert list(registry.bind("fusion", "toy", {"rate": 1, "": 3})) == list(DEFAULTS)


def test_a_whole_number_is_a_float_where_floats_are_taken(toy):
    found = registry.bind("fusion", "toy", {"size": 3, "rate": 1})["rate"]
    assert (found, type(found)) == (1.0, float)


TAKES = "It takes: size, rate, kind, widths, three, flags, label, on, path, free."


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"szie": 3}, f"Fusion 'toy' has no option 'szie'. Closest: size. {TAKES}"),
        ({"": 1, "size": 3}, "Fusion 'toy' is given the option 'size' twice."),
        ({}, "Fusion 'toy' needs size: write 'toy(size=...)'."),
        ({"size": 0.5}, "Option 'size' of fusion 'toy' takes a whole number, not 0.5."),
        ({"size": True}, "Option 'size' of fusion 'toy' takes a whole number, not True."),
        ({"size": "x"}, "Option 'size' of fusion 'toy' takes a whole number, not 'x'."),
        ({"rate": "x"}, "Option 'rate' of fusion 'toy' takes a number, not 'x'."),
        ({"rate": False}, "Option 'rate' of fusion 'toy' takes a number, not False."),
        ({"kind": "mul"}, "Option 'kind' of fusion 'toy' takes sum or concat or 2, not 'mul'."),
        (
            {"widths": 3},
            "Option 'widths' of fusion 'toy' takes a list (a whole number each), not 3.",
        ),
        (
            {"widths": (1, 0.5)},
            "Option 'widths' of fusion 'toy' takes a list (a whole number each), not (1, 0.5).",
        ),
        (
            {"three": (1, 2)},
            "Option 'three' of fusion 'toy' takes a list of 3 (a whole number each), not (1, 2).",
        ),
        (
            {"flags": (1,)},
            "Option 'flags' of fusion 'toy' takes a list (True or False each), not (1,).",
        ),
        ({"label": 5}, "Option 'label' of fusion 'toy' takes a word or None, not 5."),
        ({"on": 1}, "Option 'on' of fusion 'toy' takes True or False, not 1."),
    ],
)
def test_what_does_not_fit_is_said(toy, given, message):
    with pytest.raises(BadOption) as caught:
        registry.bind("fusion", "toy", given, "toy(...)")
    assert str(caught.value) == f"{message} Given in 'toy(...)'."


@pytest.mark.parametrize(
    ("given", "asked"),
    [({"": 1}, "no option that goes without a name"), ({"a": 1}, "no option 'a'")],
)
def test_a_part_without_options_says_so(toy, given, asked):
    with pytest.raises(BadOption) as caught:
        registry.bind("fusion", "plain", given)
    assert str(caught.value) == f"Fusion 'plain' has {asked}. It takes no options."


def test_annotations_that_can_not_be_resolved_check_nothing():
    class Strange(AbstractFusion):
        def __init__(self, given, *, size: "NowhereDefined" = 1):  # noqa: F821
            super().__init__()

    registry.register("fusion", "strange")(Strange)
    assert registry.bind("fusion", "strange", {"size": "x"}) == {"size": "x"}


def cell(doc):
    """What a cell of a notebook does each time that it is run."""

    @registry.register("fusion", "mine")
    class Mine(AbstractFusion):
        __doc__ = doc

    return Mine


def test_a_notebook_registers_a_part_and_may_run_the_cell_again():
    first = cell("first")
    assert registry.load("fusion", "mine") is first
    second = cell("second")
    assert registry.load("fusion", "mine") is second is not first
    entry = registry.entry("fusion", "mine")
    assert entry.origin == "notebook"
    assert entry.summary == ""
    assert "mine" in registry.names("fusion")


def test_a_notebook_takes_over_no_name(toy):
    with pytest.raises(PluginError) as caught:
        registry.register("fusion", "msca")(Toy)
    assert str(caught.value) == (
        "The name 'msca' is taken: fusionzoo has a fusion 'msca' (fusionzoo.fusions.msca). "
        "Register Toy under another name."
    )
    with pytest.raises(PluginError, match="taken: notebook has a fusion 'toy'"):
        registry.register("fusion", "toy")(Plain)


def test_a_name_may_stand_for_two_kinds():
    class Encoder(AbstractEncoder):
        pass

    registry.register("encoder", "msca")(Encoder)
    assert registry.load("encoder", "msca") is Encoder


@pytest.mark.parametrize(
    ("kind", "name", "cls", "error", "message"),
    [
        (
            "fuson",
            "x",
            Toy,
            BadOption,
            "There is no kind of part called 'fuson'. Closest: fusion. "
            "Kinds: encoder, neck, fusion, head, dataset, augmentation, system.",
        ),
        (
            "fusion",
            "My-Fusion",
            Toy,
            BadOption,
            "A fusion can't be called 'My-Fusion': names have lower-case letters, digits and "
            "'_', and begin with a letter.",
        ),
        (
            "head",
            "x",
            Toy,
            PluginError,
            "A head is a subclass of AbstractHead; this is a class 'Toy'.",
        ),
    ],
)
def test_what_can_not_be_registered(kind, name, cls, error, message):
    with pytest.raises(error) as caught:
        registry.register(kind, name)(cls)
    assert str(caught.value) == message


HERE = f"{__name__}:Toy"


def test_a_plugin_is_listed_before_and_loaded_when_it_is_asked_for(plugins, monkeypatch):
    monkeypatch.setitem(sys.modules, "foreign", SimpleNamespace(Toy=Toy))
    plugins(("fusionzoo.fusions", "foreign", "foreign:Toy", "fusionzoo-foo"))
    assert registry.entry("fusion", "foreign") == registry.Entry(
        "fusion", "foreign", "fusionzoo-foo 0.2", "foreign:Toy"
    )
    assert registry.entry("fusion", "foreign").summary == ""
    assert registry.load("fusion", "foreign") is Toy
    assert registry.broken() == []


def test_a_plugin_can_not_take_a_built_in_name(plugins):
    plugins(("fusionzoo.fusions", "msca", "foo:MSCA", "fusionzoo-foo"))
    assert registry.entry("fusion", "msca").origin == "fusionzoo"
    (broken,) = registry.broken()
    assert broken.reason == (
        "The name 'msca' is taken: fusionzoo has a fusion 'msca' too (fusionzoo.fusions.msca), "
        "and fusionzoo-foo 0.2 can't replace it. Rename the entry point of one of them."
    )


def test_two_plugins_with_one_name_are_both_named(plugins):
    plugins(
        ("fusionzoo.fusions", "same", "foo:Same", "fusionzoo-foo"),
        ("fusionzoo.fusions", "same", "bar:Same", "fusionzoo-bar"),
    )
    assert registry.entry("fusion", "same").origin == "fusionzoo-bar 0.2"
    (broken,) = registry.broken()
    assert "fusionzoo-bar 0.2 has a fusion 'same' too (bar:Same)" in broken.reason
    assert "fusionzoo-foo 0.2 can't replace it" in broken.reason


def test_one_distribution_met_twice_is_no_conflict(plugins):
    plugins(*[("fusionzoo.fusions", "twice", "foo:Twice", "fusionzoo-foo")] * 2)
    assert "twice" in registry.names("fusion")
    assert registry.broken() == []


def test_a_plugin_with_a_name_that_no_spec_can_say(plugins):
    plugins(("fusionzoo.fusions", "My-Fusion", "foo:Fusion", None))
    (broken,) = registry.broken()
    assert broken.origin == "unknown"
    assert broken.reason.startswith("Spec strings can't say 'My-Fusion': names have lower-case")


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (None, "ModuleNotFoundError: No module named 'foreign_part'"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("Part = 3", "PluginError: A fusion is a subclass of AbstractFusion; this is 3."),
        ("class Part: pass", "this is a class 'Part'."),
        ("", "AttributeError: "),
    ],
)
def test_a_broken_plugin_is_set_aside_and_the_rest_works(
    plugins, tmp_path, monkeypatch, module, said
):
    if module is not None:
        (tmp_path / "foreign_part.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "foreign_part", raising=False)
    plugins(("fusionzoo.fusions", "broken", "foreign_part:Part", "fusionzoo-foo"))
    assert "broken" in registry.names("fusion")
    with pytest.raises(PluginError) as caught:
        registry.load("fusion", "broken")
    assert str(caught.value).startswith("The fusion 'broken' of fusionzoo-foo 0.2 can't be used: ")
    assert said in str(caught.value)
    assert str(caught.value).endswith(
        "It is set aside; 'fusionzoo plugins --traceback' shows where."
    )
    assert "broken" not in registry.names("fusion")
    (broken,) = registry.broken()
    assert broken.reason.startswith("Traceback")
    with pytest.raises(PluginError) as again:
        registry.load("fusion", "broken")
    assert str(again.value).startswith("The fusion 'broken' of fusionzoo-foo 0.2 is set aside: ")
    assert registry.load("fusion", "concat").__name__ == "Concat"
    monkeypatch.delitem(sys.modules, "foreign_part", raising=False)


def test_plugins_can_be_turned_off(plugins, monkeypatch):
    monkeypatch.setenv("FUSIONZOO_PLUGINS", "off")
    plugins(("fusionzoo.fusions", "foreign", HERE, "fusionzoo-foo"))
    assert "foreign" not in registry.names("fusion")


INSTALLED = """
import json
from fusionzoo import registry
part = registry.load("head", "foreign") if "foreign" in registry.names("head") else None
entry = part and registry.entry("head", "foreign")
print(json.dumps([part and part.__name__, entry and entry.origin,
                  [p.name for p in registry.broken()]]))
"""


@pytest.mark.parametrize(("setting", "expected"), [("", "Foreign"), ("off", None)])
def test_a_distribution_that_is_installed_is_found(tmp_path, monkeypatch, setting, expected):
    info = tmp_path / "fusionzoo_foo-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fusionzoo-foo\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(
        "[fusionzoo.heads]\nforeign = foreign_head:Foreign\nlinear = foreign_head:Foreign\n"
    )
    (tmp_path / "foreign_head.py").write_text(
        "from fusionzoo.interface import AbstractHead\nclass Foreign(AbstractHead): pass\n"
    )
    root = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{root}")
    monkeypatch.setenv("FUSIONZOO_PLUGINS", setting)
    done = subprocess.run(
        [sys.executable, "-c", INSTALLED], capture_output=True, text=True, check=True
    )
    name, origin, broken = json.loads(done.stdout)
    assert name == expected
    assert origin == (expected and "fusionzoo-foo 1.5")
    assert broken == (["linear"] if expected else [])
