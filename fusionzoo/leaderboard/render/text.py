"""How numbers are written, the same in every format."""

from __future__ import annotations

import math

from fusionzoo.evaluation.results import format_p
from fusionzoo.leaderboard.table import Column, Comparisons, Figure, Row, Table

#: What a rank means, in words.
TIERS = (
    "Rows share a rank where they can't be told apart from the best row of that rank, which is no "
    "proof that they are equal."
)
#: Significant digits of a cost.
_COST_DIGITS = 3


def number(value: float, decimals: int = 3) -> str:
    """'0.954', or '-' where there is none."""
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"


def signed(value: float, decimals: int = 3) -> str:
    """'+0.012', '-0.012', or '-' where there is none."""
    return "-" if math.isnan(value) else f"{value:+.{decimals}f}"


def cost(value: float) -> str:
    """Three significant digits without an exponent: '0.0002', '0.145', '6.32', '1,440'."""
    if math.isnan(value):
        return "-"
    if value == 0:
        return "0"
    digits = _COST_DIGITS - 1 - math.floor(math.log10(abs(value)))
    told = f"{round(value, digits):,.{max(0, digits)}f}"
    return told.rstrip("0").rstrip(".") if abs(value) < 1 else told


def figure(told: Figure | None, column: Column) -> str:
    """The value alone: '0.954' or '6.32'."""
    if told is None:
        return "-"
    return cost(told.value) if column.group == "cost" else number(told.value, column.decimals)


def spread(told: Figure | None, column: Column) -> str:
    """' ± 0.014', or nothing where there is no deviation."""
    if told is None or math.isnan(told.sd):
        return ""
    return f" ± {number(told.sd, column.decimals)}"


def interval(told: Figure | None, column: Column) -> str:
    """' (0.930-0.970)', or nothing where there is no interval."""
    if told is None or math.isnan(told.low):
        return ""
    return f" ({number(told.low, column.decimals)}-{number(told.high, column.decimals)})"


def gap(row: Row) -> str:
    """'-0.094 (-0.143 to -0.045)', or nothing for the best row and rows without a rank."""
    if math.isnan(row.gap) or math.isnan(row.low):
        return ""
    return f"{signed(row.gap)} ({signed(row.low)} to {signed(row.high)})"


def p_value(p: float) -> str:
    """'0.034', '<0.001', or nothing where there is none."""
    return "" if math.isnan(p) else format_p(p)


def heading(column: Column) -> str:
    """'AUROC', 'Latency (ms)'."""
    return f"{column.label} ({column.unit})" if column.unit else column.label


def compared(table: Table) -> str:
    """How rows were compared, and what that could have found, in two sentences."""
    told = table.comparisons
    if told.count == 0:
        return "There is one ranked row at most, so nothing was compared."
    level = f"{table.options.alpha:g}"
    pairs = f"{told.count} pair{'s' * (told.count > 1)}"
    metric = table.column(table.ranked_by).label
    return (
        f"Ranked by {metric}. {told.method[0].upper()}{told.method[1:]}; p-values are "
        f"{told.correction}'s over all {pairs} of rows, and rows are told apart below {level}. "
        f"{detectable(told, metric)}"
    )


def detectable(told: Comparisons, metric: str) -> str:
    """The smallest difference that could have been found."""
    if math.isnan(told.detectable):
        return "These runs don't say how large a difference must be to be found."
    return (
        f"With these cases, two rows must truly differ by {told.detectable:.3f} {metric} for a "
        f"single comparison to find it four times in five, by {told.detectable_corrected:.3f} "
        "after the correction."
    )


__all__ = [
    "TIERS",
    "compared",
    "cost",
    "detectable",
    "figure",
    "gap",
    "heading",
    "interval",
    "number",
    "p_value",
    "signed",
    "spread",
]
