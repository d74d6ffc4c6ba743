import pytest

from fusionzoo.data.problems import SHOWN, Problem, Problems
from fusionzoo.errors import DataError


def test_a_problem_says_where_what_and_what_to_do():
    problem = Problem("E08", "not a number", "Write one.", row=5, column="age", value="4O")
    assert str(problem) == "E08 row 5, column 'age', value '4O': not a number. Write one."
    assert str(Problem("W11", "odd", "Look.")) == "W11: odd. Look."


def test_problems_are_told_by_code_and_row():
    problems = Problems()
    problems.add("E08", "b", "x.", row=9)
    problems.add("E08", "a", "x.", row=2)
    problems.add("E03", "c", "y.", row=30)
    assert problems.lines() == ("E03 row 30: c. y.", "E08 row 2: a. x.", "E08 row 9: b. x.")


def test_many_alike_are_counted():
    problems = Problems()
    for row in range(100):
        problems.add("E04", "no file", "Copy it.", row=row, column="ct_path")
    problems.add("E04", "no file", "Copy it.", row=3, column="derm_path")
    lines = problems.lines()
    assert len(lines) == SHOWN + 2
    assert "E04, column 'ct_path': and 95 more like these." in lines


def test_refuse_raises_all_at_once_or_nothing():
    problems = Problems()
    problems.refuse("my.csv")
    problems.add("E01", "empty", "Fill it.")
    problems.add("E02", "absent", "Add it.")
    with pytest.raises(
        DataError, match=r"2 problems in my\.csv:\n  - E01: empty\. Fill it\.\n  - E02"
    ):
        problems.refuse("my.csv")
