"""A board as Markdown that reads well as it is: padded columns, one line a row."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.leaderboard.origin import Origin, Origins
from fusionzoo.leaderboard.render import text
from fusionzoo.leaderboard.table import Column, Figure, Row, Table, verdict_of

#: Begins the comment that `fusionzoo leaderboard verify` reads.
COMMENT = "<!-- fusionzoo board: "
_RANKS = {"best": ("**", "**"), "second": ("<u>", "</u>"), "": ("", "")}


def render(tables: Sequence[Table]) -> str:
    """All boards, one after the other, and what they can be made again from."""
    pages = ["\n\n".join(_board(table)) for table in tables]
    origins = Origins(tuple(Origin.of(table) for table in tables))
    return "\n\n".join([*pages, f"{COMMENT}{origins.dumps()} -->"]) + "\n"


def _board(table: Table) -> list[str]:
    found = [f"# {table.title}"]
    if table.source:
        found.append(f"Printed numbers: {table.source}.")
    found.append("\n".join(f"- {fact.label}: {fact.value}" for fact in table.facts))
    found.append(_main(table))
    found.append(f"{text.compared(table)} {text.TIERS}")
    found += _printed(table) + _groups(table)
    found += [*_absent(table), *_models(table), *table.notes]
    return found


def _main(table: Table) -> str:
    """Rank, model, ranking metric with interval, gap to the best row and its p-value."""
    ranking = table.column(table.ranked_by)
    head = ["rank", "model", text.heading(ranking), "to the best", "p"]
    lines = [
        [
            str(row.tier or "-"),
            _escape(row.label),
            _cell(row, ranking) + text.interval(row.figures.get(ranking.key), ranking),
            text.gap(row),
            text.p_value(row.p),
        ]
        for row in table.rows
    ]
    return _grid(head, lines)


def _printed(table: Table) -> list[str]:
    """Ours beside the printed numbers, with verdicts."""
    judged = table.judged
    if not judged:
        return []
    head = ["model", "basis", *(f"{text.heading(c)}: ours, printed, gap" for c in judged)]
    lines = []
    for row in table.rows:
        verdict, reason = verdict_of(row.figures.values())
        if verdict:
            cells = (_beside(row.figures.get(column.key), column) for column in judged)
            told = f"{verdict}: {reason}" if reason else verdict
            lines.append([_escape(row.label), row.basis, *cells, _escape(told)])
    return ["## Ours and the printed numbers", _grid([*head, "verdict"], lines)]


def _beside(figure: Figure | None, column: Column) -> str:
    if figure is None or figure.published is None:
        return "-"
    printed = text.number(figure.published.value, column.decimals)
    gap = text.signed(figure.published.gap, column.decimals)
    return f"{text.figure(figure, column)}, {printed}, {gap}"


def _groups(table: Table) -> list[str]:
    """Tables of the other groups of columns."""
    groups = table.groups()
    found = []
    calibrated = [*groups.get("calibration", []), *groups.get("cost", [])]
    for title, columns in (
        ("All metrics", groups["metrics"]),
        ("Each task", groups.get("tasks", [])),
        ("Calibration and cost", calibrated),
    ):
        rows = [row for row in table.rows if row.figures]
        if columns and rows:
            lines = [[_escape(row.label), *(_cell(row, c) for c in columns)] for row in rows]
            found += [f"## {title}", _grid(["model", *map(text.heading, columns)], lines)]
    return found


def _absent(table: Table) -> list[str]:
    """Rows that aren't complete, with every run that isn't there and why."""
    lines = []
    for row in table.rows:
        if row.remark:
            lines.append(f"- {row.label}: {row.state}, {row.remark}")
            lines += [f"  - {one.place}: {one.kind}, {one.reason}" for one in row.missing]
    return ["## Not complete", "\n".join(lines)] if lines else []


def _models(table: Table) -> list[str]:
    """What each row is."""
    lines = []
    for row in table.rows:
        about = ", ".join(filter(None, (row.category, row.basis)))
        told = f" ({about})" if about else ""
        note = f". {row.note}" if row.note else ""
        lines.append(f"- {row.label}{told}: `{row.spec}`{note}")
    return ["## Models", "\n".join(lines)]


def _cell(row: Row, column: Column) -> str:
    figure = row.figures.get(column.key)
    before, after = _RANKS[figure.mark if figure else ""]
    return f"{before}{text.figure(figure, column)}{after}{text.spread(figure, column)}"


def _escape(told: str) -> str:
    return told.replace("|", "\\|")


def _grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table with padded columns; text to the left, numbers to the right."""
    widths = [max(3, *(len(line[k]) for line in (head, *lines))) for k in range(len(head))]
    left = [name in ("model", "basis", "verdict") for name in head]

    def drawn(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(cells, widths, left, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = " | ".join(
        "-" * width if is_left else "-" * (width - 1) + ":"
        for width, is_left in zip(widths, left, strict=True)
    )
    return "\n".join([drawn(head), f"| {rule} |", *map(drawn, lines)])


__all__ = ["COMMENT", "render"]
