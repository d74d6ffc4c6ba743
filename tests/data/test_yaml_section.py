import pytest

from fusionzoo.data.problems import Problems
from fusionzoo.data.yaml_section import Section, read_yaml


def read(text: str) -> tuple[Section, Problems]:
    problems = Problems()
    section = read_yaml(text, "d.yaml", problems)
    assert section is not None
    return section, problems


def test_words_stay_as_they_are_written():
    section, problems = read("classes: [no, yes, 1e5, 2020-01-01, 1.0]\nflag: True\nk: 3")
    assert section.texts("classes") == ("no", "yes", "1e5", "2020-01-01", "1.0")
    assert section.flag("flag") is True
    assert section.integer("k", 5) == 3
    assert section.integer("seed", 7) == 7
    assert section.numbers("mean", 2) is None
    assert problems.lines() == ()


def test_one_number_is_spread():
    section, problems = read("size: 4\nspacing: [2.5, 1, 1]")
    assert section.numbers("size", 3, spread=True) == (4.0, 4.0, 4.0)
    assert section.numbers("spacing", 3) == (2.5, 1.0, 1.0)
    assert problems.lines() == ()


@pytest.mark.parametrize(
    ("text", "ask", "message"),
    [
        ("a: {b: 1}", lambda s: s.text("a"), "line 1, a: a mapping where a word is wanted"),
        ("a: [1]", lambda s: s.integer("a", 0), "[1] where a whole number of 0 or more is wanted"),
        ("a: -1", lambda s: s.integer("a", 0), "'-1' where a whole number"),
        ("a: maybe", lambda s: s.flag("a"), "'maybe' where true or false is wanted"),
        ("a: x", lambda s: s.texts("a"), "'x' where a list is wanted"),
        ("a: [x, y, x]", lambda s: s.texts("a"), "x more than once"),
        ("a: [1, .inf]", lambda s: s.numbers("a", 2), "[1, .inf] where 2 numbers are wanted"),
        ("a: [1, 0]", lambda s: s.numbers("a", 2, positive=True), "2 positive numbers"),
        ("b: 1", lambda s: s.numbers("a", 2, required=True), "a: the key is missing"),
        ("b: 1", lambda s: s.text("a", required=True), "a: the key is missing"),
        ("a:", lambda s: s.text("a"), "it has no value"),
        ("a: 1", lambda s: s.section("a"), "'1' where keys are wanted"),
        ("a: blu", lambda s: s.choice("a", ("red", "blue")), "Closest: blue. Known: red, blue."),
        ("b:\n  a: 1\n  a: 2", lambda s: s.section("b"), "line 3, b.a: the key is there twice"),
    ],
)
def test_mistakes_are_noted_with_their_line(text, ask, message):
    section, problems = read(text)
    ask(section)
    (line,) = problems.lines()
    assert line.startswith("E00: d.yaml line ")
    assert message in line


def test_unknown_keys_are_reported_with_the_nearest():
    section, problems = read("\nwindw: 1\nkind: 2")
    section.text("window")
    section.text("kind")
    section.finish()
    assert problems.lines() == (
        "E00: d.yaml line 2, windw: no such key. Closest: window, kind. Known here: window, kind.",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "d.yaml is not YAML"),
        ("", "holds no 'key: value'"),
        ("- a", "holds no 'key: value'"),
    ],
)
def test_what_is_no_mapping_is_refused(text, message):
    problems = Problems()
    assert read_yaml(text, "d.yaml", problems) is None
    assert message in problems.lines()[0]
