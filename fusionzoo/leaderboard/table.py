"""A board as data: typed columns and rows, each figure with what it is made of and judged by.

Renderers read a `Table` and nothing else, so that every format says the same, and a table that was
read back from a page can be compared with one made anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fusionzoo.leaderboard.options import BoardOptions

#: Version of the keys below; raised by every change of them.
SCHEMA = 1

Group = Literal["metrics", "tasks", "calibration", "cost"]
State = Literal["complete", "partial", "failed", "waiting", "refused"]
#: '' where there is nothing to judge.
Verdict = Literal["", "reproduced", "differs", "not testable here"]
Mark = Literal["", "best", "second"]
#: Headings of the groups of columns, in order.
GROUPS: dict[Group, str] = {
    "metrics": "Metrics",
    "tasks": "Each task",
    "calibration": "Calibration",
    "cost": "Cost",
}


@dataclass(frozen=True)
class Column:
    """One column of figures.

    Args:
        key: Its key in a row's figures.
        label: Its heading.
        group: The group that it is shown in.
        about: What the figure is, in a sentence.
        task: Task of a metric.
        metric: Name of a metric.
        unit: Unit, where it has one.
        decimals: Digits after the point.
        higher_is_better: Which direction is good; None where none is.
    """

    key: str
    label: str
    group: Group
    about: str
    task: str = ""
    metric: str = ""
    unit: str = ""
    decimals: int = 3
    higher_is_better: bool | None = True


@dataclass(frozen=True)
class Judged:
    """A printed number beside ours.

    Args:
        value: The printed number.
        sd: Its printed standard deviation; NaN where there is none.
        gap: Ours minus the printed one.
        low: Lower limit of the gap's interval; NaN where there is none.
        high: Upper limit.
        verdict: `reproduced`, `differs` or `not testable here`.
        reason: Why, in a sentence.
    """

    value: float
    sd: float
    gap: float
    low: float
    high: float
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Figure:
    """One cell.

    Args:
        value: The number; NaN where there is none.
        low: Lower limit of its interval; NaN where it has none.
        high: Upper limit.
        sd: Sample standard deviation over folds; NaN where there are fewer than two.
        mark: `best` or `second` among ranked rows.
        reason: Why something is undefined, or what to beware of.
        by_fold: The value of each test set; None for a cost.
        published: A printed number beside it, judged.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    sd: float = math.nan
    mark: Mark = ""
    reason: str = ""
    by_fold: dict[str, float] | None = None
    published: Judged | None = None


@dataclass(frozen=True)
class Missing:
    """A run of a row that isn't there.

    Args:
        run_id: Name that its folder would have.
        place: Its fold and seed.
        kind: `waiting`, or the kind of failure.
        reason: What happened.
    """

    run_id: str
    place: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Row:
    """One model.

    Args:
        label: What the board calls it.
        spec: Canonical spec string.
        position: Place in the sheet, from 1.
        tier: Rank, shared by rows that can't be told apart from the tier's best; 0 for none.
        gap: Ranking metric minus that of the board's best row.
        low: Lower limit of the gap's interval, not corrected for multiplicity.
        high: Upper limit.
        p: P-value of the gap, corrected over all pairs of rows; NaN where there is none.
        state: Whether its runs are there.
        remark: What is to be said of the state; empty for a complete row.
        category: Group of rows that it belongs to.
        basis: What rebuilding a published row rests on.
        note: What is in doubt, or was left open.
        figures: By key of the column.
        runs: Ids of its runs.
        missing: Runs that aren't there.
    """

    label: str
    spec: str
    position: int
    tier: int
    gap: float
    low: float
    high: float
    p: float
    state: State
    remark: str
    category: str
    basis: str
    note: str
    figures: dict[str, Figure]
    runs: tuple[str, ...]
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True)
class Fact:
    """One line about the whole board."""

    label: str
    value: str


@dataclass(frozen=True)
class Comparisons:
    """How rows were compared.

    Args:
        count: Pairs of ranked rows.
        method: In words.
        correction: In words.
        detectable: Smallest difference that a typical single comparison finds with 80% power.
        detectable_corrected: The same at the strictest corrected level.
    """

    count: int
    method: str
    correction: str
    detectable: float
    detectable_corrected: float


@dataclass(frozen=True)
class Curve:
    """One row's line in a panel.

    Args:
        label: The row.
        x: Horizontal values.
        y: Vertical values.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """Curves of rows that belong together: calibration, robustness.

    Args:
        kind: `calibration`, or a name of another kind of curve.
        title: What is shown.
        x_label: The horizontal axis.
        y_label: The vertical axis.
        curves: One per row that was measured.
    """

    kind: str
    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Table:
    """One board.

    Args:
        schema: Version of these keys, `SCHEMA`.
        name: Sheet's slug, or data set, scheme and protocol.
        sheet: Whether a sheet says what the rows are.
        title: What it is, in a line.
        source: Where published numbers are from; empty for none.
        options: How it was made.
        ranked_by: Key of the column that rows are ranked by.
        facts: What holds for the whole board.
        columns: The columns.
        rows: The rows, best tier first.
        comparisons: How they were compared.
        notes: What is to be said besides.
        panels: Curves.
        runs: Every run's facts, by id.
    """

    schema: int
    name: str
    sheet: bool
    title: str
    source: str
    options: BoardOptions
    ranked_by: str
    facts: tuple[Fact, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    comparisons: Comparisons
    notes: tuple[str, ...]
    panels: tuple[Panel, ...]
    runs: dict[str, dict[str, Any]]

    def column(self, key: str) -> Column:
        """The column of a key; KeyError where there is none."""
        return {column.key: column for column in self.columns}[key]

    def groups(self) -> dict[Group, list[Column]]:
        """Columns by group, in the order of `GROUPS`; empty groups left out."""
        found = {group: [c for c in self.columns if c.group == group] for group in GROUPS}
        return {group: columns for group, columns in found.items() if columns}

    @property
    def ranked(self) -> list[Row]:
        """Rows that have a rank."""
        return [row for row in self.rows if row.tier]

    @property
    def judged(self) -> list[Column]:
        """Columns with printed numbers."""
        return [
            column
            for column in self.columns
            if any(has_published(row.figures.get(column.key)) for row in self.rows)
        ]


def test_set_of(run: Mapping[str, Any]) -> str:
    """Name of the test set of a run's facts, as in `by_fold`."""
    return "test" if run["fold"] is None else f"fold {run['fold']}"


def has_published(figure: Figure | None) -> bool:
    """Whether a printed number stands beside a figure."""
    return figure is not None and figure.published is not None


def verdict_of(figures: Iterable[Figure]) -> tuple[Verdict, str]:
    """The verdict on a row from those on its figures: the worst of them, and how many say what."""
    judged = [figure.published for figure in figures if figure.published is not None]
    if not judged:
        return "", ""
    counts: dict[Verdict, int] = {}
    for one in judged:
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
    order: tuple[Verdict, ...] = ("differs", "reproduced", "not testable here")
    worst = next(verdict for verdict in order if verdict in counts)
    if len(counts) == 1:
        reasons = {one.reason for one in judged}
        return worst, reasons.pop() if len(reasons) == 1 else f"all {len(judged)} figures"
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if verdict in counts)
    return worst, told


__all__ = [
    "GROUPS",
    "SCHEMA",
    "Column",
    "Comparisons",
    "Curve",
    "Fact",
    "Figure",
    "Group",
    "Judged",
    "Mark",
    "Missing",
    "Panel",
    "Row",
    "State",
    "Table",
    "Verdict",
    "has_published",
    "test_set_of",
    "verdict_of",
]
