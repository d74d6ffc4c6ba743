"""Results are counted, and a report reads as text."""

import pytest

from fusionzoo.conformance.report import Report, Result

REPORT = Report(
    "fusion",
    "gate",
    "fusionzoo-gate 0.1",
    ("image 3x32x32 + table 5",),
    (
        Result("name", "It has one.", "passed"),
        Result("features", "It keeps them.", "failed", "It gives\nothers."),
        Result("GPU", "It runs there.", "not run", "there is none"),
        Result("exceptions", "They are there.", "does not apply", "it has none"),
    ),
)


def test_counts():
    assert (REPORT.applicable, REPORT.ran, REPORT.ok) == (3, 2, False)
    assert [result.check for result in REPORT.failures] == ["features"]


def test_text():
    assert str(REPORT).splitlines() == [
        "fusion gate (fusionzoo-gate 0.1): 2 of 3 checks ran, 1 failed.",
        "  ok       name        It has one.",
        "  FAILED   features    It gives",
        "                      others.",
        "  not run  GPU         there is none",
        "  -        exceptions  it has none",
        "built for: image 3x32x32 + table 5",
    ]


def test_a_test_fails_where_a_check_does_or_too_few_ran():
    with pytest.raises(AssertionError, match="1 failed"):
        REPORT.require()
    passed = Report("fusion", "gate", "x", (), REPORT.results[:1])
    passed.require(at_least=1)
    with pytest.raises(AssertionError, match=r"Only 1 checks ran; 5 were expected\."):
        passed.require(at_least=5)
