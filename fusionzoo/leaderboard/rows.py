"""A board's rows: figures, marks, verdicts, and what is to be said where runs are missing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, replace

from fusionzoo.leaderboard.columns import COSTS
from fusionzoo.leaderboard.facts import DIGITS, RunFacts
from fusionzoo.leaderboard.layout import Layout, LayoutRow
from fusionzoo.leaderboard.options import BoardOptions
from fusionzoo.leaderboard.rank import Standing, marks
from fusionzoo.leaderboard.scores import BoardScores, RowScores, Score
from fusionzoo.leaderboard.table import Column, Figure, Missing, Row, State
from fusionzoo.leaderboard.verdict import judge


def board_rows(
    layout: Layout,
    scores: BoardScores,
    columns: Sequence[Column],
    standings: Sequence[Standing],
    options: BoardOptions,
    ranked_by: str,
) -> tuple[Row, ...]:
    """Rows in the order of their tiers, then values; unranked ones last, in the sheet's order."""
    test_sets = {run.test_set for run in layout.runs}
    found = []
    for position, (row, own, standing) in enumerate(
        zip(layout.rows, scores.rows, standings, strict=True), 1
    ):
        state, remark = _state(row, standing, test_sets)
        found.append(
            Row(
                label=row.label,
                spec=row.spec,
                position=position,
                **asdict(standing),
                state=state,
                remark=remark,
                category=row.category,
                basis=row.basis,
                note=row.note,
                figures=_figures(row, own, columns, layout, options) if own else {},
                runs=tuple(run.run_id for run in row.runs),
                missing=_missing(row),
            )
        )
    higher = next(c for c in columns if c.key == ranked_by).higher_is_better is not False
    found.sort(key=lambda row: _order(row, ranked_by, higher))
    return _marked(found, columns)


def _order(row: Row, ranked_by: str, higher_is_better: bool) -> tuple[float, float, float]:
    if not row.tier:
        return (math.inf, 0.0, float(row.position))
    value = row.figures[ranked_by].value
    return (float(row.tier), -value if higher_is_better else value, float(row.position))


def _marked(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[Row, ...]:
    """Rows with the best and the second of each metric marked."""
    found: list[dict[str, Figure]] = [dict(row.figures) for row in rows]
    for column in columns:
        if column.higher_is_better is None or column.group == "cost":
            continue
        values = {
            index: row.figures[column.key].value
            for index, row in enumerate(rows)
            if row.tier and column.key in row.figures
        }
        told = marks(values, column.decimals, column.higher_is_better) if len(values) > 1 else {}
        for index, mark in told.items():
            found[index][column.key] = replace(found[index][column.key], mark=mark)
    return tuple(replace(row, figures=own) for row, own in zip(rows, found, strict=True))


def _state(row: LayoutRow, standing: Standing, test_sets: set[str]) -> tuple[State, str]:
    """Whether a row's runs are there, and what to say where they aren't."""
    if row.refusal:
        return "refused", " ".join(row.refusal.split())
    told = f"{len(row.runs)} of {len(row.cells)} runs"
    if not row.runs:
        return ("failed" if any(cell.failure for cell in row.cells) else "waiting"), told
    lacking = sorted(test_sets - {run.test_set for run in row.runs})
    if lacking:
        return "partial", f"{told}; not ranked, {', '.join(lacking)} missing"
    if not standing.tier:
        return "partial", f"{told}; not ranked, its ranking metric is undefined"
    return ("complete", "") if len(row.runs) == len(row.cells) else ("partial", told)


def _missing(row: LayoutRow) -> tuple[Missing, ...]:
    found = []
    for cell in row.cells:
        if cell.run is None and cell.failure is not None:
            told = f"{cell.failure.reason} (tried {cell.failure.attempts} times)"
            found.append(Missing(cell.run_id, cell.place, cell.failure.kind, told))
        elif cell.run is None:
            found.append(Missing(cell.run_id, cell.place, "waiting", "not run yet"))
    return tuple(found)


def _figures(
    row: LayoutRow,
    own: RowScores,
    columns: Sequence[Column],
    layout: Layout,
    options: BoardOptions,
) -> dict[str, Figure]:
    found = {}
    for column in columns:
        if column.group == "cost":
            found[column.key] = _cost(row.runs, column.key.removeprefix("cost/"))
        elif column.key in own.scores:
            found[column.key] = _figure(row, own.scores[column.key], column, layout, options)
    return found


def _figure(
    row: LayoutRow,
    score: Score,
    column: Column,
    layout: Layout,
    options: BoardOptions,
) -> Figure:
    judged = None
    if column.metric in row.published and column.group != "tasks":
        judged = judge(
            score,
            row.published[column.metric],
            row.published_sd.get(column.metric, math.nan),
            metric=column.metric,
            test=layout.test,
            why_not=_why_not(layout),
            level=options.level,
            margin=options.margin,
        )
    return Figure(
        score.value,
        score.low,
        score.high,
        score.sd,
        reason=score.reason,
        by_fold=score.by_fold,
        published=judged,
    )


def _cost(runs: Sequence[RunFacts], name: str) -> Figure:
    known = [run.cost[name] for run in runs if run.cost.get(name) is not None]
    if not known:
        return Figure(math.nan, reason="not measured")
    machines = {machine(run) for run in runs}
    beware = f"on {len(machines)} kinds of machine" if len(machines) > 1 else ""
    return Figure(round(statistics.median(known) * COSTS[name][2], DIGITS), reason=beware)


def machine(run: RunFacts) -> str:
    """The GPU of a run, or its processor."""
    hardware = run.environment["hardware"]
    return str(hardware["gpu"] or hardware["cpu"])


def _why_not(layout: Layout) -> str:
    """Why printed numbers can't be compared with ours; empty where they can."""
    ours = layout.runs[0].dataset
    if layout.published_dataset and layout.published_dataset != ours:
        return f"measured on {layout.published_dataset}"
    if layout.size:
        return f"these models have size {layout.size}, the paper's have full size"
    return ""


__all__ = ["board_rows", "machine"]
