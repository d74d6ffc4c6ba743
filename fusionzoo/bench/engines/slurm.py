"""The engine of a Slurm cluster: every cell is a job that runs the cell command, by submitit.

The nodes need this package, the data, and the store under the same paths.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionzoo.bench.attempt import Outcome
from fusionzoo.bench.engines.local import Resources, job_of
from fusionzoo.bench.engines.remote import ASK_EVERY, attempt_here, lost, outcome_of
from fusionzoo.bench.expand import Cell
from fusionzoo.errors import BadOption, MissingExtra

#: Folder of the store for what submitit writes.
SUBMITTED = "slurm"
#: Jobs that are in Slurm's queue at once, where nothing else is said; and minutes on top of a
#: cell's own time, so that the cell's bound is met first.
QUEUED, SPARE_MINUTES = 200, 10


class SlurmEngine:
    """Runs cells as Slurm jobs.

    Args:
        store: Folder of all runs, on a file system that all nodes see.
        resources: What each cell gets.
        asked: What else Slurm is asked for, by the names of sbatch's options: partition, account.
        local: Run the jobs on this machine instead, to try the same path without Slurm.

    Raises:
        MissingExtra: submitit is not installed.
        BadOption: There is no Slurm here, or it doesn't know what is asked for.
    """

    def __init__(
        self,
        store: str,
        resources: Resources,
        *,
        asked: Mapping[str, str] | None = None,
        local: bool = False,
    ):
        try:
            import submitit
        except ImportError as cause:
            raise MissingExtra(
                "The engine 'slurm' needs submitit. Install it: pip install 'fusionzoo[slurm]'."
            ) from cause
        self._submitit: Any = submitit
        self.store, self.resources = store, resources
        self._running = 0
        folder = Path(store).absolute() / SUBMITTED
        try:
            self._executor = submitit.AutoExecutor(folder, cluster="local" if local else "slurm")
            self._executor.update_parameters(**self._parameters(dict(asked or {})))
        except (RuntimeError, NameError, ValueError) as cause:
            raise BadOption(
                f"Slurm can't be asked: {cause} Run this where 'sbatch' is, or try it out with "
                "--address local."
            ) from cause

    def slots(self) -> int:
        """How many cells may be in the queue at once."""
        return self.resources.jobs or QUEUED

    def free(self) -> int:
        """How many more cells it takes on now."""
        return self.slots() - self._running

    def start(self, cell: Cell) -> _SlurmTry:
        """Submit a cell."""
        job = job_of(cell, self.store, self.resources)
        limits = self.resources.limits
        submitted = self._executor.submit(
            attempt_here, job.dumps(), limits.seconds, limits.memory_mib
        )
        self._running += 1
        return _SlurmTry(self, submitted)

    def close(self) -> None:
        """Nothing is held."""

    def _parameters(self, asked: dict[str, str]) -> dict[str, Any]:
        limits, told = self.resources.limits, {f"slurm_{k}": v for k, v in asked.items()}
        parameters: dict[str, Any] = {
            "name": "fusionzoo",
            "cpus_per_task": self.resources.threads,
            **told,
        }
        if limits.seconds:
            parameters["timeout_min"] = math.ceil(limits.seconds / 60) + SPARE_MINUTES
        if limits.memory_mib:
            parameters["mem_gb"] = math.ceil(limits.memory_mib / 1024) + 1
        if self.resources.device == "cuda":
            parameters["gpus_per_node"] = 1
        return parameters


class _SlurmTry:
    """A submitted job."""

    def __init__(self, engine: SlurmEngine, job: Any):
        self._engine, self._job = engine, job
        self._began = self._asked = time.monotonic()

    def poll(self) -> Outcome | None:
        now = time.monotonic()
        if now - self._asked < ASK_EVERY:
            return None
        self._asked = now
        if not self._job.done():
            return None
        self._engine._running -= 1
        try:
            return outcome_of(self._job.result())
        except self._engine._submitit.core.utils.UncompletedJobError as error:
            return lost(
                f"Slurm gave it up: {str(error).strip().partition(chr(10))[0]}", self._began
            )

    def kill(self) -> None:
        self._job.cancel(check=False)


__all__ = ["SUBMITTED", "SlurmEngine"]
