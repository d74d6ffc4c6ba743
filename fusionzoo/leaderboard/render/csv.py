"""Boards as one tidy CSV: a line for each figure, and for each of its folds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

from fusionzoo.leaderboard.origin import Origin
from fusionzoo.leaderboard.table import Column, Row, Table, test_set_of
from fusionzoo.schema import dumps

HEAD = (
    "board",
    "position",
    "model",
    "spec",
    "state",
    "rank",
    "p",
    "group",
    "task",
    "metric",
    "unit",
    "fold",
    "value",
    "low",
    "high",
    "sd",
    "mark",
    "printed",
    "printed_sd",
    "gap",
    "verdict",
    "reason",
    "runs",
    "made_by",
)


def render(tables: Sequence[Table]) -> str:
    """All boards; `fold` is empty for the mean over folds, numbers have up to nine digits.

    `made_by` holds what the board can be made again from, in each board's first line.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, HEAD, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for index, line in enumerate(_lines(table)):
            origin = dumps(Origin.of(table), indent=None) if index == 0 else ""
            writer.writerow({"board": table.name, **line, "made_by": origin})
    return buffer.getvalue()


def _lines(table: Table) -> Iterator[dict[str, Any]]:
    for row in table.rows:
        about = {
            "position": row.position,
            "model": row.label,
            "spec": row.spec,
            "state": row.state,
            "rank": row.tier or "",
            "p": _number(row.p),
            "runs": " ".join(row.runs),
        }
        if not row.figures:
            yield {**about, "reason": row.remark}
        for column in table.columns:
            if column.key in row.figures:
                yield from _figure_lines(table, row, column, about)


def _figure_lines(
    table: Table, row: Row, column: Column, about: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    figure = row.figures[column.key]
    named = {
        "group": column.group,
        "task": column.task,
        "metric": column.metric or column.key.removeprefix("cost/"),
        "unit": column.unit,
    }
    printed = figure.published
    judged = (
        {
            "printed": _number(printed.value),
            "printed_sd": _number(printed.sd),
            "gap": _number(printed.gap),
            "verdict": printed.verdict,
            "reason": printed.reason,
        }
        if printed
        else {"reason": figure.reason}
    )
    yield {
        **about,
        **named,
        "value": _number(figure.value),
        "low": _number(figure.low),
        "high": _number(figure.high),
        "sd": _number(figure.sd),
        "mark": figure.mark,
        **judged,
    }
    for fold, value in (figure.by_fold or {}).items():
        runs = " ".join(run for run in row.runs if test_set_of(table.runs[run]) == fold)
        yield {**about, **named, "fold": fold, "value": _number(value), "runs": runs}


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


__all__ = ["HEAD", "render"]
