"""How long a bench will still take, from estimates that finished cells correct."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from fusionzoo.bench.estimate import Estimate
from fusionzoo.bench.expand import Cell


class TimeLeft:
    """Counts down.

    Args:
        cells: What is to be run.
        estimator: Estimates of single cells.
        slots: Cells that run at once.
    """

    def __init__(self, cells: Sequence[Cell], estimator: Callable[[Cell], Estimate], slots: int):
        self._slots = slots
        self._specs = {cell.run_id: str(cell.plan.combo) for cell in cells}
        self._expected = {cell.run_id: estimator(cell).seconds for cell in cells}
        self._todo = set(self._expected)
        self._began: dict[str, float] = {}
        self._took: dict[str, float] = {}

    def began(self, cell: Cell) -> None:
        """A cell is started."""
        self._began[cell.run_id] = time.monotonic()

    def ended(self, cell: Cell, seconds: float | None) -> None:
        """A cell needs no more time; `seconds` is what it took, None where another had it."""
        self._todo.discard(cell.run_id)
        if seconds is not None:
            self._took[cell.run_id] = seconds

    def seconds(self) -> float | None:
        """Wall time until all is done; None while nothing can be said."""
        if not self._todo:
            return 0.0
        now = time.monotonic()
        total = 0.0
        for run_id in self._todo:
            expected = self._expect(run_id)
            if expected is None:
                return None
            spent = now - self._began[run_id] if run_id in self._began else 0.0
            total += max(expected - spent, 0.0)
        return total / max(1, min(self._slots, len(self._todo)))

    def _expect(self, run_id: str) -> float | None:
        """What a cell will take by what is known now: as others of its row did, or as estimated."""
        spec = self._specs[run_id]
        alike = [seconds for done, seconds in self._took.items() if self._specs[done] == spec]
        if alike:
            return statistics.mean(alike)
        expected = self._expected[run_id]
        if not self._took or expected is None:
            return statistics.mean(self._took.values()) if self._took else expected
        pairs = [(seconds, self._expected[done] or 0.0) for done, seconds in self._took.items()]
        # Where training takes next to nothing, what a cell takes says nothing of the estimates.
        telling = [(seconds, before) for seconds, before in pairs if before > seconds / 10]
        ratio = sum(s for s, _ in telling) / sum(b for _, b in telling) if telling else 1.0
        return max(ratio * expected, min(self._took.values()))


__all__ = ["TimeLeft"]
