"""`fusionzoo plugins`: what is installed, what is set aside, and how to begin one."""

import sys

import pytest

from fusionzoo import registry
from tests.pretend_plugins import pretend


@pytest.fixture(autouse=True)
def as_before():
    yield
    registry.refresh()
    sys.modules.pop("a_broken_part", None)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Two parts that work, one whose import fails, one whose name is taken."""
    (tmp_path / "a_broken_part.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    pretend(
        monkeypatch,
        [
            ("fusions", "good", "tests.conformance.broken_parts:SoundFusion", "my-zoo"),
            ("heads", "better_head", "tests.conformance.broken_parts:SoundHead", "my-zoo"),
            ("fusions", "bad", "a_broken_part:Part", "their-zoo"),
            ("fusions", "msca", "tests.conformance.broken_parts:SoundFusion", "my-zoo"),
        ],
    )


def test_the_list_says_kind_name_origin_and_state(call, installed):
    code, out, _ = call("plugins")
    assert code == 0
    assert out.splitlines()[:4] == [
        "fusion  good         my-zoo 0.2     ok         tests.conformance.broken_parts:SoundFusion",
        "head    better_head  my-zoo 0.2     ok         tests.conformance.broken_parts:SoundHead",
        "fusion  msca         my-zoo 0.2     set aside  tests.conformance.broken_parts:SoundFusion",
        "fusion  bad          their-zoo 0.2  set aside  a_broken_part:Part",
    ]
    assert "Set aside: fusion bad of their-zoo 0.2 (a_broken_part:Part)" in out
    assert "  ModuleNotFoundError: No module named 'no_such_library'" in out
    assert "The name 'msca' is taken: fusionzoo has a fusion 'msca' too" in out
    assert "Traceback" not in out
    assert "'fusionzoo plugins --traceback' shows where." in out


def test_a_traceback_on_demand(call, installed):
    code, out, _ = call("plugins", "--traceback")
    assert code == 0
    assert "Traceback (most recent call last):" in out
    assert 'a_broken_part.py", line 1' in out


def test_the_rest_works(call, installed):
    code, out, err = call("list", "fusions")
    assert code == 0
    assert "  good " in out
    assert "Set aside: fusion msca of my-zoo 0.2; see 'fusionzoo plugins'." in err


def test_none(call, monkeypatch):
    pretend(monkeypatch, [])
    assert call("plugins")[1] == "No plugins are installed. 'fusionzoo plugins new' begins one.\n"
    monkeypatch.setenv("FUSIONZOO_PLUGINS", "off")
    assert call("plugins")[1] == "FUSIONZOO_PLUGINS=off: no plugin is looked for.\n"


def test_begin_one(call, tmp_path):
    asked = ("plugins", "new", "my-zoo", "--kind", "fusion", "--name", "gated", "--out", tmp_path)
    code, out, _ = call(*asked)
    assert code == 0
    assert f"Wrote {tmp_path / 'my-zoo'}:\n  README.md\n" in out
    assert f"  pip install --editable '{tmp_path / 'my-zoo'}[test]'\n" in out
    code, _, err = call(*asked)
    assert code == 2
    assert "exists already. Choose another name, or another --out." in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("my-zoo", "--kind", "trainer", "--name", "x"), "'trainer' is not one of"),
        (("my-zoo", "--kind", "fusion"), "Missing option '--name'"),
        (("My Zoo", "--kind", "fusion", "--name", "x"), "A package can't be called 'My Zoo'"),
    ],
)
def test_what_cannot_be_begun(call, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("plugins", "new", *arguments)
    assert code == 2
    assert words in err
    assert list(tmp_path.iterdir()) == []
