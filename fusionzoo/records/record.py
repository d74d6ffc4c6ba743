"""The record of one run: everything needed to trust its numbers, compare them and make them again.

A record is written once, when the run is complete, and never edited. Its schema has a number; a
file with another number, with missing or unknown keys or with values of the wrong type is refused.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fusionzoo.errors import RunError
from fusionzoo.evaluation.results import Evaluation
from fusionzoo.records.environment import Environment
from fusionzoo.schema import dumps, from_json

#: Version of the keys below; raised by every change of them.
SCHEMA = 1


@dataclass(frozen=True)
class DataFacts:
    """The data set of a run.

    Args:
        name: Name of the data set.
        options: Its options.
        digest: SHA-256 over what its cases hold.
    """

    name: str
    options: dict[str, Any]
    digest: str


@dataclass(frozen=True)
class SplitFacts:
    """How patients were parted.

    Args:
        scheme: Name and options of the scheme, as text.
        fold: Which fold was tested; None where there is one split only.
        digest: SHA-256 over which case is in which part.
        counts: Cases of each part.
    """

    scheme: str
    fold: int | None
    digest: str
    counts: dict[str, int]


@dataclass(frozen=True)
class TrainingFacts:
    """How the model was trained.

    Args:
        settings: Resolved settings of the trainer.
        history: One mapping per epoch, as the trainer reports it.
    """

    settings: dict[str, Any]
    history: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Cost:
    """What the model costs; None where it was not measured.

    Args:
        parameters: Trainable and frozen parameters.
        flops: Floating-point operations of one case's prediction.
        peak_memory_mib: Largest memory of the process or GPU while training, MiB.
        train_seconds: Wall time of training.
        latency_ms: Median time of one case's prediction, ms.
    """

    parameters: int
    flops: int | None = None
    peak_memory_mib: float | None = None
    train_seconds: float | None = None
    latency_ms: float | None = None


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Args:
        schema: Version of these keys, `SCHEMA`.
        protocol: Version of how runs are trained and scored; boards don't mix protocols.
        run_id: Name of the run's folder, from the hash of what defines it.
        spec: Canonical spec string.
        spec_hash: Its hash.
        options: Per component, its options with all defaults.
        conversions: What assembly put between the components, as text.
        data: The data set.
        split: How patients were parted.
        seed: Seed of initialisation, order and augmentation.
        training: How the model was trained.
        evaluation: Thresholds, metrics with intervals, comparisons.
        predictions_digest: SHA-256 over the predictions that the evaluation was made from.
        cost: What the model costs.
        environment: What the run ran on.
        started: When, UTC, ISO 8601.
        finished: When, UTC, ISO 8601.
    """

    schema: int
    protocol: str
    run_id: str
    spec: str
    spec_hash: str
    options: dict[str, dict[str, Any]]
    conversions: tuple[str, ...]
    data: DataFacts
    split: SplitFacts
    seed: int
    training: TrainingFacts
    evaluation: Evaluation
    predictions_digest: str
    cost: Cost
    environment: Environment
    started: str
    finished: str

    def dumps(self) -> str:
        """The record as JSON text."""
        return dumps(self) + "\n"


def load_record(path: str | os.PathLike[str]) -> RunRecord:
    """Read and check a record.

    Raises:
        RunError: The file is absent, truncated, of another schema, or a key is missing, unknown or
            of the wrong type.
    """
    remedy = "Delete its folder and run again, or restore it from a copy."
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as cause:
        raise RunError(f"Can't read the record {path} ({cause.strerror}). {remedy}") from cause
    except ValueError as cause:
        raise RunError(f"The record {path} is not complete JSON ({cause}). {remedy}") from cause
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise RunError(
            f"The record {path} has schema {schema}; this fusionzoo reads schema {SCHEMA}. "
            "Read it with the version that wrote it, or run again."
        )
    return from_json(RunRecord, data, str(path))


def utc_now() -> str:
    """The time now, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
