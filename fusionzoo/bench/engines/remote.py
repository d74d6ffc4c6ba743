"""What runs on another machine: the cell command within its bounds, and its outcome as text."""

from __future__ import annotations

import json
import time

from fusionzoo.bench.attempt import Attempt, Limits, Outcome
from fusionzoo.bench.job import Job, environment_line
from fusionzoo.bench.process import CellProcess
from fusionzoo.errors import RunError
from fusionzoo.schema import dumps, from_json

#: Seconds between questions about one job.
ASK_EVERY = 1.0


def attempt_here(job: str, seconds: float | None, memory_mib: float | None) -> str:
    """Run a job's cell command on this machine; job and outcome as JSON."""
    try:
        process = CellProcess(Job.loads(job))
    except RunError as error:
        return dumps(Outcome("store", str(error), False, 0.0, "", environment_line()))
    attempt = Attempt(process, Limits(seconds, memory_mib))
    try:
        return dumps(attempt.wait())
    finally:
        attempt.kill()


def outcome_of(text: str) -> Outcome:
    """The outcome that `attempt_here` gave."""
    return from_json(Outcome, json.loads(text), "the outcome")


def lost(reason: str, began: float) -> Outcome:
    """The outcome of a job whose machine or scheduler gave up on it."""
    return Outcome("crash", reason, True, time.monotonic() - began, "", environment_line())


__all__ = ["ASK_EVERY", "attempt_here", "lost", "outcome_of"]
