"""What the conductor asks of an engine."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from fusionzoo.bench.attempt import Outcome
from fusionzoo.bench.expand import Cell


@runtime_checkable
class Try(Protocol):
    """One try of a cell that an engine has taken on."""

    def poll(self) -> Outcome | None:
        """What became of it; None while it waits or runs."""
        ...

    def kill(self) -> None:
        """End it now, wherever it is."""
        ...


@runtime_checkable
class Engine(Protocol):
    """Runs cells; `close` gives back what it holds."""

    def free(self) -> int:
        """How many more tries it takes on now."""
        ...

    def start(self, cell: Cell) -> Try:
        """Take on one try of a cell.

        Raises:
            RunError: The store can't be written.
        """
        ...

    def slots(self) -> int:
        """How many cells run at once, for estimates of time."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...
