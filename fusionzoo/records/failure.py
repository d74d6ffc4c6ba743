"""A run that failed: why, how often, and the end of its log.

It stands in `failures/<run_id>.json` of the store until the run succeeds.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fusionzoo.errors import RunError
from fusionzoo.schema import dumps, from_json
from fusionzoo.storage import write_atomic

#: Version of the keys below; raised by every change of them.
SCHEMA = 1
#: Folder of a store that failures are in.
FAILURES = "failures"
#: The process died; it took more memory or time than it was given; the run can't be as it was
#: asked for; or its code raised an error.
Kind = Literal["crash", "memory", "timeout", "refused", "error"]


@dataclass(frozen=True)
class Failure:
    """Why a run has no record.

    Args:
        schema: Version of these keys, `SCHEMA`.
        run_id: Name of the run's folder.
        spec: Its spec string.
        fold: Fold that it was to be tested on; None for the data set's one split.
        seed: Its seed.
        kind: `crash`, `memory`, `timeout`, `refused` or `error`.
        reason: What happened, in a sentence or two.
        attempts: How often it was tried.
        log_tail: The last lines that the run wrote.
        environment: Where it was tried: host, Python, torch, in a line.
        when: Of the last attempt's end, UTC, ISO 8601.
    """

    schema: int
    run_id: str
    spec: str
    fold: int | None
    seed: int
    kind: Kind
    reason: str
    attempts: int
    log_tail: str
    environment: str
    when: str


def write_failure(store: str | os.PathLike[str], failure: Failure) -> Path:
    """Write a failure into a store, over an earlier one of the same run.

    Raises:
        RunError: It can't be written.
    """
    return write_atomic(_path(store, failure.run_id), dumps(failure) + "\n")


def load_failure(path: str | os.PathLike[str]) -> Failure:
    """Read and check a failure's file.

    Raises:
        RunError: The file is absent, damaged, of another schema, or a key is missing, unknown or of
            the wrong type.
    """
    remedy = "Delete it: the run is tried again by the next 'fusionzoo bench'."
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as cause:
        raise RunError(f"Can't read the failure {path} ({cause.strerror}). {remedy}") from cause
    except ValueError as cause:
        raise RunError(f"The failure {path} is not complete JSON ({cause}). {remedy}") from cause
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise RunError(
            f"The failure {path} has schema {schema}; this fusionzoo reads schema {SCHEMA}. "
            f"{remedy}"
        )
    return from_json(Failure, data, str(path))


def read_failures(store: str | os.PathLike[str]) -> dict[str, Failure]:
    """Failures of a store by run id, those of runs that have a record by now left out.

    Raises:
        RunError: One of them can't be read.
    """
    root = Path(store)
    paths = sorted((root / FAILURES).glob("[!.]*.json"))
    open_ones = (path for path in paths if not (root / path.stem / "record.json").is_file())
    return {path.stem: load_failure(path) for path in open_ones}


def clear_failure(store: str | os.PathLike[str], run_id: str) -> None:
    """Forget a run's failure; nothing where there is none."""
    _path(store, run_id).unlink(missing_ok=True)


def _path(store: str | os.PathLike[str], run_id: str) -> Path:
    return Path(store) / FAILURES / f"{run_id}.json"


__all__ = [
    "FAILURES",
    "SCHEMA",
    "Failure",
    "Kind",
    "clear_failure",
    "load_failure",
    "read_failures",
    "write_failure",
]
