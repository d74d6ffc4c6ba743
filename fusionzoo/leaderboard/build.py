"""From a store to boards: layout, refusal of mixtures, figures, ranks, verdicts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from fusionzoo.errors import RunError
from fusionzoo.leaderboard.about import board_facts, board_notes, board_panels
from fusionzoo.leaderboard.cache import BoardCache
from fusionzoo.leaderboard.columns import board_columns, ranking_task
from fusionzoo.leaderboard.comparable import check_comparable
from fusionzoo.leaderboard.facts import RunFacts, read_facts
from fusionzoo.leaderboard.layout import Layout, grouped_layouts, sheet_layout
from fusionzoo.leaderboard.options import BoardOptions
from fusionzoo.leaderboard.rank import rank_rows
from fusionzoo.leaderboard.robust import robustness_panels
from fusionzoo.leaderboard.rows import board_rows
from fusionzoo.leaderboard.scores import key, scores_from_predictions, scores_from_records
from fusionzoo.leaderboard.sides import named_sheet
from fusionzoo.leaderboard.table import SCHEMA, Table
from fusionzoo.records.failure import read_failures
from fusionzoo.records.sheet import read_sheets
from fusionzoo.records.store import RunStore

Progress = Callable[[str, int, int], None]
_log = logging.getLogger(__name__)


def silent(board: str, done: int, total: int) -> None:
    """Hears of progress and says nothing."""


def build_boards(
    store: str | Path,
    options: BoardOptions | None = None,
    *,
    sheets: Sequence[str] = (),
    runs: Sequence[str] = (),
    cached: bool = True,
    progress: Progress = silent,
) -> list[Table]:
    """The boards of a store.

    One for each sheet, and one for each data set, scheme of folds and protocol of other runs.

    Args:
        store: Folder of runs.
        options: How boards are made.
        sheets: Only these sheets, by slug or name.
        runs: Only runs whose id fits one of these patterns (`*fold0*`).
        cached: Whether to use and keep what was worked out before.
        progress: Called with a board's title, and its rows done and in all.

    Raises:
        RunError: There is nothing to show, no such sheet, or a record or its predictions can't be
            read.
        MixedRuns: Runs of one board differ in protocol, data or split.
        BadOption: A board has no such task or metric.
    """
    root = Path(store)
    if not root.is_dir():
        raise RunError(f"There is no folder {str(root)!r}. Name the folder that runs were put in.")
    chosen = options or BoardOptions()
    if not cached:
        return _boards(root, chosen, sheets, runs, BoardCache(), progress)
    with BoardCache.of_store(root) as cache:
        return _boards(root, chosen, sheets, runs, cache, progress)


def _boards(
    root: Path,
    options: BoardOptions,
    sheets: Sequence[str],
    patterns: Sequence[str],
    cache: BoardCache,
    progress: Progress,
) -> list[Table]:
    facts = read_facts(RunStore(root), cache)
    if patterns:
        facts = {
            run_id: run
            for run_id, run in facts.items()
            if any(fnmatchcase(run_id, pattern) for pattern in patterns)
        }
    layouts = _layouts(root, facts, sheets)
    unready = [_unready(layout) for layout in layouts if not layout.runs]
    if len(unready) == len(layouts):
        raise RunError(_nothing(root, sheets, patterns, unready))
    for told in unready:
        _log.warning("%s", told)
    return [
        build_board(RunStore(root), layout, options, cache, progress)
        for layout in layouts
        if layout.runs
    ]


def _layouts(root: Path, facts: Mapping[str, RunFacts], sheets: Sequence[str]) -> list[Layout]:
    known = read_sheets(root)
    failures = read_failures(root)
    chosen = [named_sheet(known, name) for name in sheets] if sheets else known
    found = [sheet_layout(sheet, facts, failures) for sheet in chosen]
    if sheets:
        return found
    placed = {run_id for sheet in known for run_id in sheet.run_ids}
    others = [run for run_id, run in facts.items() if run_id not in placed]
    lost = [failure for run_id, failure in failures.items() if run_id not in placed]
    return found + grouped_layouts(others, lost)


def _unready(layout: Layout) -> str:
    """What to say of a sheet without a finished run."""
    cells = [(row.label, cell) for row in layout.rows for cell in row.cells]
    failed = [(label, cell.place, cell.failure) for label, cell in cells if cell.failure]
    told = f"Sheet {layout.name!r} is left out: none of its {len(cells)} runs is finished"
    if not failed:
        return f"{told}."
    label, place, failure = failed[0]
    return f"{told}, {len(failed)} failed. {label}, {place}: {failure.reason}"


def _nothing(
    root: Path, sheets: Sequence[str], patterns: Sequence[str], unready: Sequence[str]
) -> str:
    asked = [f"sheet {name}" for name in sheets] + [f"runs {pattern}" for pattern in patterns]
    of = f" of {' and '.join(asked)}" if asked else ""
    return " ".join(
        [
            f"{str(root)!r} has no finished run{of}.",
            *unready,
            "Run 'fusionzoo run' or 'fusionzoo bench' with --out there, or name another folder.",
        ]
    )


def build_board(
    store: RunStore,
    layout: Layout,
    options: BoardOptions,
    cache: BoardCache,
    progress: Progress = silent,
) -> Table:
    """One board.

    Args:
        store: Where the predictions are.
        layout: Its rows, one run at least.
        options: How it is made.
        cache: What was worked out before.
        progress: Called with the title, and rows done and in all.

    Raises:
        MixedRuns: Its runs differ in protocol, data or split.
        RunError: Predictions can't be read or are not those of their record.
        BadOption: Its runs have no such task or metric.
    """
    check_comparable(layout)
    ranked_by = key(ranking_task(layout, options), options.metric)
    columns = board_columns(layout, options)
    if options.test == "folds":
        scores = scores_from_records(layout, options)
    else:
        scores = scores_from_predictions(
            store,
            layout,
            options,
            cache,
            ranked_by,
            sorted({column.metric for column in columns if column.metric}),
            lambda done, total: progress(layout.title, done, total),
        )
    column = next(one for one in columns if one.key == ranked_by)
    standings, comparisons = rank_rows(
        layout, scores, options, ranked_by, higher_is_better=column.higher_is_better is not False
    )
    rows = board_rows(layout, scores, columns, standings, options, ranked_by)
    ordered = [layout.rows[row.position - 1] for row in rows]
    robustness = robustness_panels(store.root, ordered, column.task, column.metric)
    return Table(
        schema=SCHEMA,
        name=layout.name,
        sheet=layout.sheet,
        title=layout.title,
        source=layout.source,
        options=options,
        ranked_by=ranked_by,
        facts=board_facts(layout, scores, ranked_by),
        columns=columns,
        rows=rows,
        comparisons=comparisons,
        notes=board_notes(layout, options),
        panels=board_panels(rows, layout, scores) + robustness,
        runs={run.run_id: dict(vars(run)) for run in layout.runs},
    )


__all__ = ["Progress", "build_board", "build_boards", "silent"]
