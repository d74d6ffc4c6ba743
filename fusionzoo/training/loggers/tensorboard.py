"""TensorBoard: event files in the run's folder; `tensorboard --logdir runs` shows all runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionzoo.errors import MissingExtra
from fusionzoo.training.loggers.logger import AbstractLogger

FOLDER = "tensorboard"


class Logger(AbstractLogger):
    """One series of events a stage, `RUN/tensorboard/<stage>`, and one for the results.

    A stage that is resumed hides what an interrupted process logged after its last checkpoint.

    Raises:
        MissingExtra: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, run_id: str, settings: Mapping[str, Any]):
        super().__init__(folder, run_id, settings)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtra(
                "Logging to TensorBoard needs it to be installed: pip install "
                "'fusionzoo[tensorboard]'."
            ) from None
        self._open = SummaryWriter
        self._writers: dict[str, Any] = {}

    def stage_started(self, stage: str, epochs: int, steps: int, done: int) -> None:
        """Begin the charts of a stage."""
        self._writers[stage] = self._open(str(self.folder / FOLDER / stage), purge_step=done + 1)

    def scalars(self, stage: str, epoch: int, values: Mapping[str, float]) -> None:
        """One point a value, at its epoch."""
        for name, value in values.items():
            self._writers[stage].add_scalar(name, value, epoch)

    def results(self, values: Mapping[str, float]) -> None:
        """What came out at the end."""
        writer = self._writers["results"] = self._open(
            str(self.folder / FOLDER / "results"), purge_step=0
        )
        told = json.dumps(self.settings, indent=2, default=str)
        writer.add_text("settings", f"    {told}".replace("\n", "\n    "), 0)
        for name, value in values.items():
            writer.add_scalar(name, value, 0)

    def close(self) -> None:
        """Write what is not written yet."""
        for writer in self._writers.values():
            writer.close()
