"""A folder of runs, each a folder with record, predictions, configuration, weights and figures.

The record is written last, so a folder with a record is a complete run and one without is
unfinished.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fusionzoo.errors import RunError
from fusionzoo.evaluation.predictions import Predictions, read_predictions, write_predictions
from fusionzoo.records.failure import clear_failure
from fusionzoo.records.record import RunRecord, load_record
from fusionzoo.schema import canonical, dumps
from fusionzoo.storage import check_writable, write_atomic

RECORD = "record.json"
PREDICTIONS = "predictions.parquet"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"

_log = logging.getLogger(__name__)


def make_run_id(identity: Mapping[str, Any], label: str = "") -> str:
    """A readable name with the hash of what defines a run, the same everywhere.

    Args:
        identity: What defines the run, JSON values: spec, data set, split, fold, seed, training
            settings, protocol.
        label: Words to begin the name with; they don't count for the hash.

    Raises:
        TypeError: A value has no JSON form.

    Example:
        >>> make_run_id({"spec": "ct=penet3d -> linear", "seed": 0}, "penet3d lidc")
        'penet3d-lidc-be6726e8303b'
    """
    digest = hashlib.sha256(canonical(identity).encode()).hexdigest()[:12]
    words = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:48].rstrip("-")
    return f"{words}-{digest}" if words else digest


class RunStore:
    """Runs under one folder.

    Args:
        root: The folder; created when the first run is prepared.
    """

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root)

    def folder(self, run_id: str) -> Path:
        """Folder of a run, whether it exists or not.

        Raises:
            RunError: The id is no plain name of a folder.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", run_id):
            raise RunError(
                f"{run_id!r} is no run id: letters, digits, '.', '_' and '-' only. "
                f"The runs are the folders in {self.root}."
            )
        return self.root / run_id

    def prepare(self, run_id: str) -> Path:
        """Create a run's folder and prove that it can be written, before training begins.

        Raises:
            RunError: It can't; names the path and the remedy.
        """
        return check_writable(self.folder(run_id))

    def is_complete(self, run_id: str) -> bool:
        """Whether the run has a record."""
        return (self.folder(run_id) / RECORD).is_file()

    def write_config(self, run_id: str, config: Mapping[str, Any]) -> Path:
        """Write what the run was asked to do."""
        return write_atomic(self.folder(run_id) / CONFIG, dumps(config) + "\n")

    def write_predictions(self, run_id: str, predictions: Predictions) -> str:
        """Write the predictions; returns their digest, which the record has to hold."""
        return write_predictions(self.folder(run_id) / PREDICTIONS, predictions)

    def write_record(self, record: RunRecord) -> Path:
        """Write the record, the last file of a run; an earlier failure of it is forgotten.

        Raises:
            RunError: The run has one already, its predictions are absent or others than the record
                says, or the file can't be written.
        """
        path = self.folder(record.run_id) / RECORD
        if path.exists():
            raise RunError(
                f"Run {record.run_id} has a record already: {path}. "
                "Delete its folder to run it again."
            )
        self.verify(record)
        write_atomic(path, record.dumps())
        clear_failure(self.root, record.run_id)
        return path

    def read_record(self, run_id: str) -> RunRecord:
        """The record of a run.

        Raises:
            RunError: There is none, or it can't be read.
        """
        path = self.folder(run_id) / RECORD
        if not path.is_file():
            state = "is not finished" if path.parent.is_dir() else "does not exist"
            raise RunError(
                f"Run {run_id} {state}: there is no {path}. Run it (again), or choose another run."
            )
        record = load_record(path)
        if record.run_id != run_id:
            raise RunError(
                f"{path} is the record of run {record.run_id}. Give its folder that name again."
            )
        return record

    def read_predictions(self, run_id: str) -> Predictions:
        """The predictions of a run.

        Raises:
            RunError: There are none, or they can't be read.
        """
        return read_predictions(self.folder(run_id) / PREDICTIONS)

    def verify(self, record: RunRecord) -> Predictions:
        """The predictions of a record, proven to be the ones that it was made from.

        Raises:
            RunError: They are absent or have changed.
        """
        return self.verified_predictions(record.run_id, record.predictions_digest)

    def verified_predictions(self, run_id: str, digest: str) -> Predictions:
        """The predictions of a run, proven to have the digest that its record says.

        Raises:
            RunError: They are absent or have changed.
        """
        path = self.folder(run_id) / PREDICTIONS
        predictions = read_predictions(path, digest=digest)
        if predictions.checked:
            return predictions
        if predictions.digest != digest:
            raise RunError(
                f"The predictions of run {run_id} have digest {predictions.digest[:12]}, "
                f"its record says {digest[:12]}. "
                "They are not what it was scored on: run it again."
            )
        return predictions

    def run_ids(self) -> list[str]:
        """Ids of the complete runs, sorted."""
        return sorted(path.parent.name for path in self.root.glob(f"*/{RECORD}"))

    def iter_records(self, *, strict: bool = True) -> Iterator[RunRecord]:
        """Records of the complete runs, in the order of their ids.

        Args:
            strict: Raise at a record that can't be read; otherwise log a warning and go on.

        Raises:
            RunError: A record can't be read, and `strict` is on.
        """
        for run_id in self.run_ids():
            try:
                yield self.read_record(run_id)
            except RunError as error:
                if strict:
                    raise
                _log.warning("A record is left out. %s", error)
