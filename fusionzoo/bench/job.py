"""What a cell's process is told, and what it answers: plain JSON, the same on every engine."""

from __future__ import annotations

import json
import platform
import socket
import sys
from dataclasses import dataclass
from typing import Any, Literal

from fusionzoo.records.failure import Kind
from fusionzoo.schema import dumps, from_json

#: How a cell's process ends: its record is there; another process has the lease; the store can't
#: be written; or a kind of failure.
Ending = Literal["done", "taken", "store", Kind]
#: Exit statuses of the cell command.
STATUS: dict[str, int] = {"done": 0, "error": 1, "refused": 2, "memory": 3, "store": 4, "taken": 5}
#: Folder of a store that logs are in, one a run; they may be deleted at any time.
LOGS = "logs"
#: Folder of a store that trained branches are in, for runs that share them; it may be deleted too.
BRANCHES = "branches"


@dataclass(frozen=True)
class Job:
    """All that the cell command needs.

    Args:
        store: Folder of all runs.
        run_id: Name that the run must have; the command refuses where data, code or weights make
            another run of it.
        spec: Spec string.
        dataset: How to open the data set.
        fold: Fold to test on; None for the data set's one split.
        num_folds: Number of folds.
        seed: Seed of the run.
        precision: Precision.
        threshold_rule: How thresholds are chosen.
        binary: How two-class tasks enter the mean over tasks.
        training: Resolved settings of the trainer.
        device: `auto`, `cpu`, `cuda` or `mps`.
        gpu: What `CUDA_VISIBLE_DEVICES` is set to; empty to leave it alone.
        threads: Threads that torch uses.
        folder: Working directory, against which paths in spec and data set are read.
    """

    store: str
    run_id: str
    spec: str
    dataset: str
    fold: int | None
    num_folds: int
    seed: int
    precision: str
    threshold_rule: str
    binary: str
    training: dict[str, Any]
    device: str
    gpu: str
    threads: int
    folder: str

    def dumps(self) -> str:
        """As one line of JSON."""
        return dumps(self, indent=None)

    @classmethod
    def loads(cls, text: str) -> Job:
        """From JSON.

        Raises:
            RunError: It is no job.
        """
        return from_json(cls, json.loads(text), "the job")


@dataclass(frozen=True)
class Answer:
    """How a cell's process ended.

    Args:
        ending: One of `Ending`.
        reason: What happened, for people; empty where all went well.
        again: Whether another try may end better.
        environment: Where it ran, in a line.
    """

    ending: Ending
    reason: str = ""
    again: bool = False
    environment: str = ""

    def dumps(self) -> str:
        """As one line of JSON."""
        return dumps(self, indent=None)

    @classmethod
    def loads(cls, text: str) -> Answer:
        """From JSON.

        Raises:
            RunError: It is no answer.
        """
        return from_json(cls, json.loads(text), "the answer")


def environment_line() -> str:
    """Where this process runs, for people."""
    torch = sys.modules.get("torch")
    version = f", torch {torch.__version__}" if torch is not None else ""
    return f"{socket.gethostname()}, Python {platform.python_version()}{version}"


__all__ = ["BRANCHES", "LOGS", "STATUS", "Answer", "Ending", "Job", "environment_line"]
