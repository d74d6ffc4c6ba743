"""The engine of a Ray cluster: every cell is a task that runs the cell command on its node.

All nodes need this package, the data, and the store under the same paths. Ray itself starts a task
again whose node is lost; the cell then goes on from its checkpoints.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from fusionzoo.bench.attempt import Outcome
from fusionzoo.bench.engines.local import Resources, job_of
from fusionzoo.bench.engines.remote import ASK_EVERY, attempt_here, lost, outcome_of
from fusionzoo.bench.expand import Cell
from fusionzoo.errors import BadOption, MissingExtra

#: How often a task whose node was lost is started elsewhere.
LOST_NODES = 5


class RayEngine:
    """Runs cells on a Ray cluster.

    Args:
        store: Folder of all runs, on a file system that all nodes see.
        resources: What each cell gets.
        address: Of the cluster; `auto` for the one that this machine belongs to.

    Raises:
        MissingExtra: Ray is not installed.
        BadOption: There is no cluster at the address.
    """

    def __init__(self, store: str, resources: Resources, *, address: str = "auto"):
        try:
            import ray
        except ImportError as cause:
            raise MissingExtra(
                "The engine 'ray' needs Ray. Install it: pip install 'fusionzoo[ray]'."
            ) from cause
        self._ray: Any = ray
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError) as cause:
            raise BadOption(
                f"There is no Ray cluster at {address!r}. Start one with 'ray start --head', add "
                "nodes with 'ray start --address=HEAD:6379', and give its address."
            ) from cause
        self.store, self.resources = store, resources
        self._running = 0
        self._gpus = self._gpus_of_a_cell()
        self._task = ray.remote(attempt_here).options(
            num_cpus=resources.threads,
            num_gpus=self._gpus,
            max_retries=LOST_NODES,
            retry_exceptions=False,
        )

    def slots(self) -> int:
        """How many cells the cluster has room for now."""
        have = self._ray.cluster_resources()
        rooms = [int(have.get("CPU", 0) // self.resources.threads)]
        if self._gpus:
            rooms.append(int(have.get("GPU", 0) / self._gpus))
        return max(1, min([*rooms, self.resources.jobs or rooms[0]]))

    def free(self) -> int:
        """How many more cells it takes on: as many wait in Ray's queue as run."""
        if self.resources.jobs:
            return self.resources.jobs - self._running
        return 2 * self.slots() - self._running

    def start(self, cell: Cell) -> _RayTry:
        """Hand a cell to Ray."""
        job = job_of(cell, self.store, self.resources)
        limits = self.resources.limits
        self._running += 1
        return _RayTry(self, self._task.remote(job.dumps(), limits.seconds, limits.memory_mib))

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()

    def _gpus_of_a_cell(self) -> float:
        if self.resources.device not in ("auto", "cuda"):
            return 0.0
        if self._ray.cluster_resources().get("GPU", 0):
            return 1 / self.resources.jobs_per_gpu
        if self.resources.device == "cuda":
            raise BadOption("The Ray cluster has no GPU. Use --device cpu, or add a node with one.")
        return 0.0


class _RayTry:
    """A task of Ray's."""

    def __init__(self, engine: RayEngine, task: Any):
        self._engine, self._task = engine, task
        self._began = self._asked = time.monotonic()

    def poll(self) -> Outcome | None:
        now = time.monotonic()
        if now - self._asked < ASK_EVERY:
            return None
        self._asked = now
        ray = self._engine._ray
        ready, _ = ray.wait([self._task], timeout=0)
        if not ready:
            return None
        self._engine._running -= 1
        try:
            return outcome_of(ray.get(self._task))
        except ray.exceptions.RayError as error:
            return lost(f"Ray lost it: {str(error).strip().partition(chr(10))[0]}", self._began)

    def kill(self) -> None:
        self._engine._ray.cancel(self._task, force=True)


__all__ = ["LOST_NODES", "RayEngine"]
