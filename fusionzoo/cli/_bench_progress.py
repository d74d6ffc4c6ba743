"""Progress of a bench in the terminal: a line a cell and, where there is one, what runs now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from fusionzoo.bench.attempt import Outcome
from fusionzoo.bench.conduct import BenchObserver
from fusionzoo.bench.estimate import in_words
from fusionzoo.bench.expand import Cell
from fusionzoo.bench.timing import TimeLeft
from fusionzoo.errors import RunError
from fusionzoo.evaluation.metrics import METRICS
from fusionzoo.records.lease import owners
from fusionzoo.records.store import RunStore

#: Seconds between looks at what running cells say.
_REFRESH = 1.0
#: Running cells that are shown.
_SHOWN = 12


class BenchProgress(BenchObserver):
    """Tells of cells.

    Args:
        console: Where to.
        store: Folder of all runs.
        total: Cells in all.
        todo: Those that were not done at the start.
        left: Knows how long it will take.
    """

    def __init__(self, console: Console, store: str, total: int, todo: int, left: TimeLeft):
        self.console, self.store, self.left = console, RunStore(store), left
        self.total, self.done = total, total - todo
        self._running: dict[str, tuple[Cell, float]] = {}
        self._refreshed = 0.0
        # Without a thread of its own, so that cells can be forked from this process.
        self._live = (
            Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> BenchProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the live part away."""
        if self._live:
            self._live.stop()

    def started(self, cell: Cell, attempt: int) -> None:
        self._running[cell.run_id] = (cell, time.monotonic())
        self.left.began(cell)

    def finished(self, cell: Cell, outcome: Outcome) -> None:
        self._end(cell, outcome.seconds)
        time_taken = in_words(outcome.seconds)
        self._tell(f"{escape(str(cell))}: {self._score(cell)} in {time_taken}{self._time_left()}")

    def found(self, cell: Cell) -> None:
        self._end(cell, None)
        self._tell(f"{escape(str(cell))}: done by another bench")

    def tried(self, cell: Cell, outcome: Outcome, again: bool) -> None:
        if again:
            self._running.pop(cell.run_id, None)
            self._tell(
                f"{escape(str(cell))}: [yellow]{outcome.ending}[/yellow]. "
                f"{escape(outcome.reason.rstrip('.'))}. It is tried again."
            )
        else:
            self._end(cell, None)
            self._tell(
                f"{escape(str(cell))}: [red]failed ({outcome.ending})[/red]. "
                f"{escape(outcome.reason)}"
            )

    def waiting(self, cells: Sequence[Cell]) -> None:
        for cell in cells:
            self._running.pop(cell.run_id, None)
        if cells:
            names = ", ".join(str(cell) for cell in cells[:3]) + ", ..." * (len(cells) > 3)
            self._tell(f"another bench is training: {escape(names)}")

    def looked(self) -> None:
        if self._live and time.monotonic() - self._refreshed > _REFRESH:
            self._refreshed = time.monotonic()
            self._live.update(self._picture(), refresh=True)

    def _end(self, cell: Cell, seconds: float | None) -> None:
        self._running.pop(cell.run_id, None)
        self.done += 1
        self.left.ended(cell, seconds)

    def _tell(self, text: str) -> None:
        width = len(str(self.total))
        self.console.print(f"[dim]\\[{self.done:>{width}}/{self.total}][/dim] {text}")

    def _time_left(self) -> str:
        seconds = self.left.seconds()
        return f"; about {in_words(seconds)} left" if seconds else ""

    def _score(self, cell: Cell) -> str:
        """The first result of a finished cell."""
        try:
            row = self.store.read_record(cell.run_id).evaluation.results[0]
        except RunError as error:
            return escape(str(error))
        name = next(iter(row.metrics))
        return f"{METRICS[name].label} {row.metrics[name]}"

    def _picture(self) -> Group:
        """What runs now."""
        told = owners(self.store.root)
        table = Table.grid(padding=(0, 2))
        for cell, since in list(self._running.values())[:_SHOWN]:
            owner = told.get(cell.run_id)
            doing = f"{owner.stage} {owner.done:.0%}" if owner and owner.stage else "starts"
            table.add_row("  ", str(cell), doing, in_words(time.monotonic() - since))
        bar = ProgressBar(total=self.total, completed=self.done, width=40)
        line = Table.grid(padding=(0, 2))
        line.add_row(f"{self.done}/{self.total}", bar, self._time_left().lstrip("; "))
        return Group(line, table)
