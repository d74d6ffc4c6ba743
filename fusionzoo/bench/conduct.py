"""Runs what is not done yet: starts cells, tries failed ones once more, waits for those of others.

The store alone says what is done. Any number of benches may work on one store: each cell's process
takes the run's lease, and a cell that somebody else has is looked at again until its record is
there or its owner is gone.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import cast

from fusionzoo.bench.attempt import Outcome
from fusionzoo.bench.engines.engine import Engine, Try
from fusionzoo.bench.expand import Cell
from fusionzoo.errors import RunError
from fusionzoo.records.failure import SCHEMA, Failure, Kind, write_failure
from fusionzoo.records.lease import is_taken, remove_dead
from fusionzoo.records.record import utc_now
from fusionzoo.records.store import RunStore

#: Seconds between looks at running cells, and at cells that others have.
_LOOK, _LOOK_AT_OTHERS = 0.05, 2.0
#: Seconds that ended cells have to be gone.
_TO_DIE = 10.0


@dataclass
class Summary:
    """What became of a bench.

    Args:
        done: Cells that this bench ran.
        found: Cells that were done already, or that another bench did meanwhile.
        failed: Failures of cells.
        left: Cells that were not run, because the bench was stopped.
    """

    done: list[Cell] = field(default_factory=list)
    found: list[Cell] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)
    left: list[Cell] = field(default_factory=list)


class BenchObserver:
    """Hears of cells; does nothing."""

    def started(self, cell: Cell, attempt: int) -> None:
        """A try begins."""

    def finished(self, cell: Cell, outcome: Outcome) -> None:
        """A cell is done, by this bench."""

    def found(self, cell: Cell) -> None:
        """A cell is done, by another bench."""

    def tried(self, cell: Cell, outcome: Outcome, again: bool) -> None:
        """A try failed; `again` says whether there is another one."""

    def waiting(self, cells: Sequence[Cell]) -> None:
        """Other benches have these cells; told when that changes."""

    def looked(self) -> None:
        """A moment has passed."""


def conduct(
    cells: Sequence[Cell],
    engine: Engine,
    store: str,
    *,
    retries: int = 1,
    fail_fast: bool = False,
    observer: BenchObserver | None = None,
) -> Summary:
    """Run cells until each is done or has failed.

    Args:
        cells: What to run, in order; those with a record are done.
        engine: Where.
        store: Folder of all runs.
        retries: How often a cell is tried again after a crash, or when it took too much time or
            memory. What a user has to mend is not tried again.
        fail_fast: Whether the first failure stops everything.
        observer: Hears of it.

    Raises:
        RunError: The store can't be written; nothing that was done is lost.
        KeyboardInterrupt: It was stopped, by Ctrl-C or SIGTERM; running cells were ended.
    """
    return _Conductor(cells, engine, store, retries, fail_fast, observer or BenchObserver()).run()


class _Conductor:
    """One bench while it runs."""

    def __init__(
        self,
        cells: Sequence[Cell],
        engine: Engine,
        store: str,
        retries: int,
        fail_fast: bool,
        observer: BenchObserver,
    ):
        self.engine, self.store, self.observer = engine, RunStore(store), observer
        self.retries, self.fail_fast = retries, fail_fast
        self.summary = Summary()
        self.pending: deque[Cell] = deque()
        for cell in cells:
            done = self.store.is_complete(cell.run_id)
            (self.summary.found if done else self.pending).append(cell)
        self.running: dict[str, tuple[Cell, Try]] = {}
        self.others: list[Cell] = []
        self.tries: Counter[str] = Counter()
        self._looked = time.monotonic()

    def run(self) -> Summary:
        """Until nothing is left."""
        try:
            with _terminable():
                while self.pending or self.running or self.others:
                    self._start()
                    self._collect()
                    self._look_at_others()
                    self.observer.looked()
                    time.sleep(_LOOK)
        finally:
            self._stop()
            self.engine.close()
        remove_dead(self.store.root, self.store.is_complete)
        return self.summary

    def _start(self) -> None:
        """Fill the engine; what others have is set aside."""
        while self.pending and self.engine.free():
            cell = self.pending.popleft()
            if self.store.is_complete(cell.run_id):
                self._found(cell)
            elif is_taken(self.store.root, cell.run_id):
                self._set_aside(cell)
            else:
                self.tries[cell.run_id] += 1
                self.observer.started(cell, self.tries[cell.run_id])
                self.running[cell.run_id] = (cell, self.engine.start(cell))

    def _collect(self) -> None:
        """See what has ended."""
        for run_id, (cell, running) in list(self.running.items()):
            outcome = running.poll()
            if outcome is not None:
                del self.running[run_id]
                self._ended(cell, outcome)

    def _ended(self, cell: Cell, outcome: Outcome) -> None:
        if outcome.ending == "done":
            self.summary.done.append(cell)
            self.observer.finished(cell, outcome)
        elif outcome.ending == "taken":
            self.tries[cell.run_id] -= 1
            self._set_aside(cell)
        elif outcome.ending == "store":
            self.pending.appendleft(cell)
            raise RunError(outcome.reason)
        else:
            again = outcome.again and self.tries[cell.run_id] <= self.retries
            self.observer.tried(cell, outcome, again)
            if again:
                self.pending.append(cell)
            else:
                self._failed(cell, outcome)

    def _failed(self, cell: Cell, outcome: Outcome) -> None:
        failure = Failure(
            schema=SCHEMA,
            run_id=cell.run_id,
            spec=str(cell.plan.combo),
            fold=cell.fold,
            seed=cell.seed,
            kind=cast(Kind, outcome.ending),
            reason=outcome.reason,
            attempts=self.tries[cell.run_id],
            log_tail=outcome.log_tail,
            environment=outcome.environment,
            when=utc_now(),
        )
        self.summary.failed[cell.run_id] = failure
        write_failure(self.store.root, failure)
        if self.fail_fast:
            self._stop()

    def _found(self, cell: Cell) -> None:
        self.summary.found.append(cell)
        self.observer.found(cell)

    def _set_aside(self, cell: Cell) -> None:
        self.others.append(cell)
        self.observer.waiting(self.others)

    def _look_at_others(self) -> None:
        """Whether cells that others had are done by now, or free again."""
        now = time.monotonic()
        if not self.others or now - self._looked < _LOOK_AT_OTHERS:
            return
        self._looked = now
        still = []
        for cell in self.others:
            if self.store.is_complete(cell.run_id):
                self._found(cell)
            elif is_taken(self.store.root, cell.run_id):
                still.append(cell)
            else:
                self.pending.appendleft(cell)
        changed = len(still) != len(self.others)
        self.others = still
        if changed:
            self.observer.waiting(self.others)

    def _stop(self) -> None:
        """End what runs; what isn't done is left."""
        for cell, running in self.running.values():
            running.kill()
            self.pending.append(cell)
        deadline = time.monotonic() + _TO_DIE
        for _, running in self.running.values():
            while running.poll() is None and time.monotonic() < deadline:
                time.sleep(_LOOK)
        self.running.clear()
        self.summary.left += [*self.pending, *self.others]
        self.pending.clear()
        self.others.clear()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, which schedulers send before they kill, is taken like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


__all__ = ["BenchObserver", "Summary", "conduct"]
