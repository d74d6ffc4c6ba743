"""Errors that a user can mend: one family, and the texts that are put together here."""

import inspect

import pytest

from fusionzoo import errors
from fusionzoo.errors import DataError, FusionZooError, SpecError, nearest


def test_all_errors_are_of_one_family():
    found = [cls for cls in vars(errors).values() if inspect.isclass(cls)]
    found = [cls for cls in found if cls.__module__ == errors.__name__]
    assert len(found) > 8
    assert all(issubclass(cls, FusionZooError) and issubclass(cls, ValueError) for cls in found)


def test_a_spec_error_shows_the_place():
    error = SpecError("Expected x.", "ab cd", 3)
    assert str(error) == "Expected x.\n  ab cd\n     ^"
    assert (error.message, error.text, error.column) == ("Expected x.", "ab cd", 3)


@pytest.mark.parametrize(
    ("problems", "text"),
    [
        (["one."], "1 problem in table.csv:\n  - one."),
        (["one.", "two."], "2 problems in table.csv:\n  - one.\n  - two."),
    ],
)
def test_a_data_error_lists_every_problem(problems, text):
    error = DataError(problems, "table.csv")
    assert str(error) == text
    assert error.problems == tuple(problems)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("msac", "Closest: msca, mscan. "),
        ("zzz", ""),
    ],
)
def test_nearest(name, text):
    assert nearest(name, ["msca", "mscan", "concat"]) == text
