"""The engine of this machine: as many cells at once as it has cores, or places on its GPUs."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass, field
from pathlib import Path

from fusionzoo.bench.attempt import Attempt, Limits, Outcome
from fusionzoo.bench.expand import Cell
from fusionzoo.bench.job import Job
from fusionzoo.bench.process import CellProcess, may_fork
from fusionzoo.errors import BadOption
from fusionzoo.records.environment import usable_cores


@dataclass(frozen=True)
class Resources:
    """What each cell gets.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.
        threads: Threads that torch uses in a cell.
        jobs: Cells at once; None for as many as there is room for.
        jobs_per_gpu: Cells that share a GPU.
        limits: What a cell may take.
    """

    device: str = "auto"
    threads: int = 1
    jobs: int | None = None
    jobs_per_gpu: int = 1
    limits: Limits = field(default_factory=Limits)


def job_of(cell: Cell, store: str, resources: Resources, *, gpu: str = "") -> Job:
    """What the cell's process is told."""
    plan = cell.plan
    return Job(
        store=str(Path(store).absolute()),
        run_id=cell.run_id,
        spec=str(plan.combo),
        dataset=plan.dataset_text,
        fold=cell.fold,
        num_folds=plan.num_folds,
        seed=cell.seed,
        precision=plan.precision,
        threshold_rule=plan.scoring.threshold_rule,
        binary=plan.scoring.binary,
        training=plan.config.to_json(),
        device=resources.device,
        gpu=gpu,
        threads=resources.threads,
        folder=str(Path.cwd()),
    )


def visible_gpus() -> list[str]:
    """GPUs of this machine, as `CUDA_VISIBLE_DEVICES` names them, found without touching CUDA."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip() not in ("", "-1")]
    proc = Path("/proc/driver/nvidia/gpus")
    return [str(number) for number, _ in enumerate(proc.iterdir())] if proc.is_dir() else []


class LocalEngine:
    """Runs cells on this machine.

    Args:
        store: Folder of all runs.
        resources: What each cell gets.
        warm: Whether cells are forks of this process where that is safe.

    Raises:
        BadOption: CUDA is asked for and no GPU is there.
    """

    def __init__(self, store: str, resources: Resources, *, warm: bool = True):
        self.store, self.resources = store, resources
        self._places = _places(resources)
        self._free = list(self._places)
        self.cold_because = may_fork() if warm else "it was asked for"
        if not self.cold_because:
            gc.collect()
            gc.freeze()  # a collection in a fork would copy every page that it looks at

    def free(self) -> int:
        """How many more cells it takes on now."""
        return len(self._free)

    def slots(self) -> int:
        """How many cells run at once."""
        return len(self._places)

    def start(self, cell: Cell) -> _LocalTry:
        """Start a cell's process."""
        place = self._free.pop(0)
        job = job_of(cell, self.store, self.resources, gpu=place)
        warm = not self.cold_because and not may_fork()
        try:
            process = CellProcess(job, cell.plan if warm else None)
        except BaseException:
            self._free.append(place)
            raise
        return _LocalTry(self, place, Attempt(process, self.resources.limits))

    def close(self) -> None:
        """Nothing is held."""

    def _give_back(self, place: str) -> None:
        self._free.append(place)


class _LocalTry:
    """A cell's process on this machine and its place."""

    def __init__(self, engine: LocalEngine, place: str, attempt: Attempt):
        self._engine, self._place, self._attempt = engine, place, attempt

    def poll(self) -> Outcome | None:
        outcome = self._attempt.poll()
        if outcome is not None:
            self._engine._give_back(self._place)
        return outcome

    def kill(self) -> None:
        self._attempt.kill()


def _places(resources: Resources) -> list[str]:
    """One entry for each cell that may run at once: the GPU that it sees, or nothing."""
    gpus = visible_gpus() if resources.device in ("auto", "cuda") else []
    if resources.device == "cuda" and not gpus:
        raise BadOption(
            "No CUDA device is usable here. Use --device cpu, or --device auto for whatever "
            "there is."
        )
    if gpus:
        places = gpus * resources.jobs_per_gpu
        return places[: resources.jobs] if resources.jobs else places
    return [""] * (resources.jobs or max(1, usable_cores() // resources.threads))


__all__ = ["LocalEngine", "Resources", "job_of", "visible_gpus"]
