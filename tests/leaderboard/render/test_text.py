import math

import pytest

from fusionzoo.leaderboard.render import text
from fusionzoo.leaderboard.table import Column, Comparisons, Figure

METRIC = Column("t/auroc", "AUROC", "metrics", "about")
COST = Column("cost/x", "Latency", "cost", "about", unit="ms")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3.4, "3.40"),
        (901.0, "901"),
        (1437.3, "1,440"),
        (12_345_678.0, "12,300,000"),
        (0.145, "0.145"),
        (0.9, "0.9"),
        (0.00018, "0.00018"),
        (0.0, "0"),
        (math.nan, "-"),
    ],
)
def test_costs_have_three_digits(value, told):
    assert text.cost(value) == told


def test_figures():
    told = Figure(0.95, 0.9, 0.98, 0.012)
    assert text.figure(told, METRIC) == "0.950"
    assert text.spread(told, METRIC) == " ± 0.012"
    assert text.interval(told, METRIC) == " (0.900-0.980)"
    assert (text.figure(None, METRIC), text.spread(None, METRIC)) == ("-", "")
    assert text.interval(Figure(0.5), METRIC) == ""
    assert text.figure(Figure(6.321), COST) == "6.32"
    assert (text.heading(COST), text.heading(METRIC)) == ("Latency (ms)", "AUROC")
    assert (text.p_value(0.0002), text.p_value(0.5), text.p_value(math.nan)) == (
        "<0.001",
        "0.500",
        "",
    )


def test_how_rows_were_compared(table):
    told = text.compared(table)
    assert told.startswith("Ranked by AUROC. Paired bootstrap by patient; p-values are Holm's over")
    assert "all 6 pairs of rows, and rows are told apart below 0.05." in told
    alone = table.__class__(
        **{**vars(table), "comparisons": Comparisons(0, "", "", math.nan, math.nan)}
    )
    assert text.compared(alone) == "There is one ranked row at most, so nothing was compared."
    unknown = Comparisons(1, "", "", math.nan, math.nan)
    assert "don't say how large" in text.detectable(unknown, "AUROC")


def test_gaps(table):
    assert text.gap(table.rows[0]) == ""
    assert text.gap(table.rows[3]).startswith("-0.")
    assert " to -0." in text.gap(table.rows[3])
