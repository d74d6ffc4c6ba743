"""Progress of a board, on the error stream of a terminal and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusionzoo.leaderboard.build import Progress


@contextmanager
def board_progress() -> Iterator[Progress]:
    """A bar that shows how many rows are measured; gone at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("rows"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    tasks = {}
    with bars:

        def told(board: str, done: int, total: int) -> None:
            if board not in tasks:
                tasks[board] = bars.add_task(board, total=total)
            bars.update(tasks[board], completed=done)

        yield told


__all__ = ["board_progress"]
