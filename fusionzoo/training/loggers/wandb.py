"""Weights & Biases: a run of the project `fusionzoo`; `WANDB_MODE=offline` sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionzoo.errors import MissingExtra
from fusionzoo.training.loggers.logger import AbstractLogger

PROJECT = "fusionzoo"


class Logger(AbstractLogger):
    """One chart a stage and value, over the stage's epochs, and the results as the summary.

    Where it goes is W&B's own configuration: `WANDB_PROJECT`, `WANDB_MODE` and the like. Files are
    kept in the run's folder.

    Raises:
        MissingExtra: W&B is not installed.
    """

    def __init__(self, folder: Path, run_id: str, settings: Mapping[str, Any]):
        super().__init__(folder, run_id, settings)
        try:
            import wandb
        except ImportError:
            raise MissingExtra(
                "Logging to Weights & Biases needs it to be installed: pip install "
                "'fusionzoo[wandb]'."
            ) from None
        import os

        folder.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run_id,
            id=run_id,
            resume="allow",
            dir=str(folder),
            config=dict(settings),
        )

    def stage_started(self, stage: str, epochs: int, steps: int, done: int) -> None:
        """Begin the charts of a stage."""
        self.run.define_metric(f"{stage}/*", step_metric=f"{stage}/epoch")

    def scalars(self, stage: str, epoch: int, values: Mapping[str, float]) -> None:
        """One point a value, at its epoch."""
        named = {f"{stage}/{name}": value for name, value in values.items()}
        self.run.log({f"{stage}/epoch": epoch, **named})

    def results(self, values: Mapping[str, float]) -> None:
        """What came out at the end."""
        for name, value in values.items():
            self.run.summary[f"test/{name}"] = value

    def close(self) -> None:
        """Write what is not written yet."""
        self.run.finish()
