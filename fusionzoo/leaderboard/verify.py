"""Whether a written board is what its runs' predictions give.

Every run is scored again from its saved predictions, thresholds included, and its record is
compared with that; then the board is made anew, without anything that was worked out before, and
compared with the file cell by cell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fusionzoo.errors import BadOption, RunError
from fusionzoo.evaluation.report import evaluate
from fusionzoo.leaderboard.build import Progress, build_board, silent
from fusionzoo.leaderboard.cache import BoardCache
from fusionzoo.leaderboard.facts import RunFacts
from fusionzoo.leaderboard.layout import Layout, grouped_layouts, sheet_layout
from fusionzoo.leaderboard.origin import Origin
from fusionzoo.leaderboard.render import csv, html, markdown
from fusionzoo.leaderboard.table import Table
from fusionzoo.leaderboard.written import (
    READERS,
    Place,
    Written,
    csv_cells,
    html_cells,
    markdown_cells,
)
from fusionzoo.records.sheet import read_sheet
from fusionzoo.records.store import RunStore
from fusionzoo.schema import to_json

#: Numbers that differ by less are equal: other processors round sums differently.
TOLERANCE = 2e-6
#: What a board says of runs that aren't there; it may have changed since and is no figure.
_NO_FIGURES = ("state", "remark", "missing", "note", "notes", "basis", "category", "source")


@dataclass(frozen=True)
class Difference:
    """A cell that doesn't hold.

    Args:
        where: Where it stands.
        written: What is written there.
        found: What the predictions give.
    """

    where: Place
    written: str
    found: str

    def __str__(self) -> str:
        """'paper/table1, MSCA, AUROC: written 0.964, the predictions give 0.954'."""
        return (
            f"{', '.join(self.where)}: written {self.written or 'nothing'}, the predictions give "
            f"{self.found or 'nothing'}"
        )


@dataclass(frozen=True)
class Report:
    """What verifying a board found.

    Args:
        source: The file.
        cells: Figures that were compared.
        runs: Runs that were scored again.
        differences: Those that don't hold.
    """

    source: str
    cells: int
    runs: int
    differences: tuple[Difference, ...]

    @property
    def summary(self) -> str:
        """One line."""
        told = f"{self.cells} figures from the predictions of {self.runs} runs"
        if not self.differences:
            return f"{self.source} holds: {told}."
        return f"{self.source} does not hold: {len(self.differences)} of {told} differ."


def verify_board(path: str | Path, store: str | Path, *, progress: Progress = silent) -> Report:
    """Recompute every figure of a written board.

    Args:
        path: A .html, .md or .csv file that `fusionzoo leaderboard` wrote.
        store: Folder of the runs that it is from.
        progress: Called with a board's title, and its rows done and in all.

    Raises:
        BadOption: The file has another ending.
        RunError: The file is no board, or a run of it is absent or damaged.
    """
    source = Path(path)
    written = _read(source)
    runs = RunStore(store)
    names = sorted({run_id for origin in written.origins for run_id in origin.runs})
    facts, odd = _scored_again(runs, names)
    tables = [_rebuilt(runs, origin, facts, progress) for origin in written.origins]
    cells, differences = _compared(source, written, tables)
    return Report(str(source), cells, len(names), (*odd, *differences))


def _read(source: Path) -> Written:
    reader = READERS.get(source.suffix.lower())
    if reader is None:
        raise BadOption(
            f"{str(source)!r} can't be verified. Give a board that was written as .html, .md or "
            ".csv."
        )
    try:
        return reader(source.read_text(encoding="utf-8"), str(source))
    except (OSError, UnicodeDecodeError) as cause:
        raise RunError(f"Can't read the board {str(source)!r} ({cause}).") from cause


def _scored_again(
    store: RunStore, names: Sequence[str]
) -> tuple[dict[str, RunFacts], list[Difference]]:
    """Facts of each run as its predictions give them, and where its record says something else."""
    absent = [name for name in names if not store.is_complete(name)]
    if absent:
        shown = ", ".join(absent[:3]) + ", ..." * (len(absent) > 3)
        raise RunError(
            f"{len(absent)} of the board's {len(names)} runs are not in {str(store.root)!r} "
            f"({shown}). Name the store that the board was made from."
        )
    found, odd = {}, []
    for name in names:
        record = store.read_record(name)
        told = record.evaluation
        again = evaluate(
            store.verify(record),
            threshold_rule=told.threshold_rule,
            replicates=told.replicates,
            seed=told.seed,
            level=told.level,
            reference=told.main,
            part=told.part,
            binary=told.binary,
        )
        before, after = RunFacts.of(record), RunFacts.of(replace(record, evaluation=again))
        odd += _differences(
            ("record", name),
            {"thresholds": before.thresholds, "scores": before.scores, "tested": before.tested},
            {"thresholds": after.thresholds, "scores": after.scores, "tested": after.tested},
        )
        found[name] = after
    return found, odd


def _rebuilt(
    store: RunStore, origin: Origin, facts: Mapping[str, RunFacts], progress: Progress
) -> Table:
    own = {name: facts[name] for name in origin.runs}
    layout = _layout(store, origin, own)
    return build_board(store, layout, origin.options, BoardCache(), progress)


def _layout(store: RunStore, origin: Origin, facts: Mapping[str, RunFacts]) -> Layout:
    if origin.sheet:
        return sheet_layout(read_sheet(store.root, origin.name), facts, {})
    layouts = grouped_layouts(facts.values())
    if len(layouts) != 1:
        raise RunError(
            f"The runs of board {origin.name!r} are of {len(layouts)} boards by now: "
            f"{'; '.join(layout.name for layout in layouts)}. Make the board again."
        )
    return layouts[0]


def _compared(
    source: Path, written: Written, tables: Sequence[Table]
) -> tuple[int, list[Difference]]:
    """Number of figures compared, and those that differ."""
    ending = source.suffix.lower()
    if written.tables:
        odd = []
        count = 0
        for old, new in zip(written.tables, tables, strict=True):
            before, after = _figures(old), _figures(new)
            count += sum(1 for _ in _leaves((), after))
            odd += _differences((old.title,), before, after)
        # The page shows what it holds: compared with the page that its own boards give.
        cells = html_cells(html.render(written.tables))
        return count + len(cells), odd + _differences((), dict(written.cells), cells)
    cells = (
        csv_cells(csv.render(tables))
        if ending == ".csv"
        else markdown_cells(markdown.render(tables))
    )
    return len(cells), _differences((), dict(written.cells), cells)


def _figures(table: Table) -> dict[str, Any]:
    """All that a board says, rows and columns by their names, without what is no figure."""
    told = to_json(table)
    columns = {column.key: column.label for column in table.columns}
    rows = {}
    for row in told["rows"]:
        figures = {columns[key]: figure for key, figure in row.pop("figures").items()}
        rows[row["label"]] = {k: v for k, v in row.items() if k not in _NO_FIGURES} | figures
    rest = {k: v for k, v in told.items() if k not in (*_NO_FIGURES, "rows", "schema")}
    return {**rest, **rows}


def _differences(where: Place, written: Any, found: Any) -> list[Difference]:
    old, new = dict(_leaves(where, written)), dict(_leaves(where, found))
    return [
        Difference(place, _shown(old.get(place)), _shown(new.get(place)))
        for place in {**new, **old}
        if not _equal(old.get(place), new.get(place))
    ]


def _leaves(where: Place, told: Any) -> Iterator[tuple[Place, Any]]:
    """Every single value, by where it stands."""
    if isinstance(told, Mapping):
        for key, value in told.items():
            yield from _leaves((*where, *(key if isinstance(key, tuple) else (str(key),))), value)
    elif isinstance(told, list | tuple):
        for index, value in enumerate(told):
            yield from _leaves((*where, str(index)), value)
    else:
        yield where, told


def _equal(old: Any, new: Any) -> bool:
    if isinstance(old, str) and isinstance(new, str) and old != new:
        a, b = _as_number(old), _as_number(new)
        return not math.isnan(a) and abs(a - b) <= TOLERANCE
    if isinstance(old, float | int) and isinstance(new, float | int):
        return abs(old - new) <= TOLERANCE
    return bool(old == new) or (old in (None, "") and new in (None, ""))


def _as_number(told: str) -> float:
    # Printed numbers have few digits and must be equal; a CSV's have many.
    return float(told) if re.fullmatch(r"-?\d+(\.\d{5,})?(e-?\d+)?", told) else math.nan


def _shown(told: Any) -> str:
    return "" if told is None else str(told)


__all__ = ["Difference", "Report", "verify_board"]
