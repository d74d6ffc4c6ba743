import numpy as np
import pytest

from fusionzoo.data import cells
from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import TargetRole
from fusionzoo.data.rows import Rows


def rows(*words: str) -> Rows:
    return Rows(("x",), {"x": list(words)}, tuple(range(2, 2 + len(words))))


@pytest.mark.parametrize(
    ("cell", "values", "wanted"),
    [
        ("1", ("0", "1"), "1"),
        ("1.0", ("0", "1"), "1"),
        ("1.5", ("0", "1"), None),
        ("1.0", ("1.0", "1"), "1.0"),
        ("TRUE", ("false", "true"), "true"),
        ("inf", ("0", "1"), None),
        ("f", ("F", "M"), None),
        ("none", ("none", "mild"), "none"),
        ("", ("none", "mild"), None),
    ],
)
def test_match(cell, values, wanted):
    assert cells.match(cell, values) == wanted


def test_numbers():
    problems = Problems()
    found = cells.numeric(rows("1", "", "-2.5e1", "NA", "nan"), "x", "median", problems)
    np.testing.assert_array_equal(found, [1, np.nan, -25, np.nan, np.nan])
    assert found.dtype == np.float64
    assert problems.lines() == ()


@pytest.mark.parametrize(
    ("cell", "missing", "message"),
    [
        ("4O", "median", "E08 row 2, column 'x', value '4O': not a number. Write a plain number"),
        ("3,5", "median", "E08 row 2, column 'x', value '3,5': decimals take a point, not a comma"),
        ("inf", "median", "E08 row 2, column 'x', value 'inf': not finite"),
        ("", "refuse", "E08 row 2, column 'x': empty, and the table says missing: refuse. Fill it"),
    ],
)
def test_what_is_no_number_is_noted(cell, missing, message):
    problems = Problems()
    assert np.isnan(cells.numeric(rows(cell), "x", missing, problems)).all()
    assert problems.lines()[0].startswith(message)


def test_categories():
    problems = Problems()
    found = cells.categorical(rows("F", "n/a", "M"), "x", ("F", "M"), "median", problems)
    assert found.tolist() == ["F", None, "M"]
    assert problems.lines() == ()


@pytest.mark.parametrize(
    ("cell", "missing", "message"),
    [
        (
            "femal",
            "median",
            "E09 row 2, column 'x', value 'femal': not one of the declared values.",
        ),
        ("femal", "median", "Closest: female, male. Declared: female, male."),
        ("", "refuse", "E09 row 2, column 'x': empty, and the table says missing: refuse."),
    ],
)
def test_what_is_no_category_is_noted(cell, missing, message):
    problems = Problems()
    assert cells.categorical(rows(cell), "x", ("female", "male"), missing, problems)[0] is None
    assert message in problems.lines()[0]


def test_class_codes():
    problems = Problems()
    role = TargetRole("y", "x", ("low", "high"), "ignore")
    found = cells.target(rows("high", "", "low"), role, problems)
    assert found.tolist() == [1, -1, 0]
    assert found.dtype == np.int64
    assert problems.lines() == ()


@pytest.mark.parametrize(
    ("words", "missing", "message"),
    [
        (("low", "hihg", "high"), "refuse", "E10 row 3, column 'x', value 'hihg': not a class of"),
        (
            ("low", "", "high"),
            "refuse",
            "E10 row 3, column 'x': target 'y' is empty. Fill it in, remove",
        ),
        (("low", "low"), "refuse", "E10 column 'x': no row of target 'y' has the class high."),
        (
            ("low", "2", "high"),
            "ignore",
            "value '2': not a class of target 'y'. Classes: low, high.",
        ),
    ],
)
def test_what_is_no_class_is_noted(words, missing, message):
    problems = Problems()
    cells.target(rows(*words), TargetRole("y", "x", ("low", "high"), missing), problems)
    assert message in problems.lines()[0]


def test_voxel_sizes():
    problems = Problems()
    found = cells.spacing(rows("2.5 1 1", "[2.5, 1,1]", "2;1;0.5", ""), "x", problems)
    assert found == ((2.5, 1, 1), (2.5, 1, 1), (2, 1, 0.5), None)
    assert problems.lines() == ()
    for word in ("1 1", "1 1 0", "1 1 -1", "1 1 mm", "1 1 inf"):
        assert cells.spacing(rows(word), "x", problems) == (None,)
    assert "E07 row 2, column 'x', value '1 1': not three positive numbers" in problems.lines()[0]
    assert len(problems.found) == 5
