"""What a logger is: an observer that writes what it hears where another program shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any

from fusionzoo.training.observer import EpochReport, Observer

#: Values of an epoch's report that are logged.
VALUES = tuple(field.name for field in fields(EpochReport) if field.type is float)


class AbstractLogger(Observer):
    """Logs every epoch of every stage, and what came out at the end.

    A subclass implements `scalars`, `results` and maybe `close`. It is a context manager that
    closes what it holds, also after a crash; a resumed run goes on where it was.

    Args:
        folder: The run's folder.
        run_id: Its name.
        settings: What defines the run.
    """

    def __init__(self, folder: Path, run_id: str, settings: Mapping[str, Any]):
        self.folder, self.run_id, self.settings = folder, run_id, settings

    def scalars(self, stage: str, epoch: int, values: Mapping[str, float]) -> None:
        """Values of one epoch of one stage; epochs are counted from 1."""
        raise NotImplementedError

    def results(self, values: Mapping[str, float]) -> None:
        """Metrics of the test part, by `task/output/metric`."""
        raise NotImplementedError

    def close(self) -> None:
        """Write what is not written yet; nothing is logged afterwards."""

    def epoch(self, stage: str, report: EpochReport) -> None:
        """Log the finite values of an epoch."""
        values = {name: float(getattr(report, name)) for name in VALUES}
        self.scalars(stage, report.epoch, {n: x for n, x in values.items() if math.isfinite(x)})

    def __enter__(self) -> AbstractLogger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Observers(Observer):
    """Several observers that all hear the same."""

    def __init__(self, observers: Sequence[Observer]):
        self.observers = tuple(observers)

    def stage_started(self, stage: str, epochs: int, steps: int, done: int) -> None:
        """Tell all of them."""
        for observer in self.observers:
            observer.stage_started(stage, epochs, steps, done)

    def step(self, stage: str) -> None:
        """Tell all of them."""
        for observer in self.observers:
            observer.step(stage)

    def epoch(self, stage: str, report: EpochReport) -> None:
        """Tell all of them."""
        for observer in self.observers:
            observer.epoch(stage, report)

    def stage_finished(self, stage: str, best: EpochReport) -> None:
        """Tell all of them."""
        for observer in self.observers:
            observer.stage_finished(stage, best)

    def note(self, text: str) -> None:
        """Tell all of them."""
        for observer in self.observers:
            observer.note(text)
