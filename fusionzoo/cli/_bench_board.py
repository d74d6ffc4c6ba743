"""The ranking that a bench ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fusionzoo.errors import FusionZooError

if TYPE_CHECKING:
    from rich.console import Console

    from fusionzoo.leaderboard.table import Table


def print_boards(console: Console, store: str, slugs: Sequence[str]) -> None:
    """The ranking of each sheet, as far as its runs are there.

    What it takes to read the runs is kept in the store, so that boards made afterwards are quick
    however many runs there are. A board that can't be made yet is no failure of the bench.
    """
    from fusionzoo.cli._board_progress import board_progress
    from fusionzoo.leaderboard.build import build_boards

    try:
        with board_progress() as progress:
            tables = build_boards(store, sheets=slugs, progress=progress)
    except FusionZooError as error:
        console.print(f"No board yet: {error}", markup=False, style="yellow")
        return
    for table in tables:
        _print(console, table)


def _print(console: Console, board: Table) -> None:
    from rich.table import Table as Grid

    from fusionzoo.leaderboard.render import text

    ranking = board.column(board.ranked_by)
    grid = Grid(title=board.title, title_justify="left", box=None, title_style="bold")
    for heading in ("rank", "model", text.heading(ranking), "to the best", "p"):
        grid.add_column(heading, justify="left" if heading == "model" else "right")
    for row in board.rows:
        figure = row.figures.get(ranking.key)
        value = text.figure(figure, ranking) + text.interval(figure, ranking)
        cells = (str(row.tier or "-"), row.label, value, text.gap(row), text.p_value(row.p))
        grid.add_row(*cells)
    console.print(grid, markup=False)
    if board.ranked:
        console.print(text.TIERS, markup=False, style="dim")
