"""A small database of what a store's records cost, for questions about many of them at once.

It is made from the records and is never the truth: what changed is read again at every opening, and
a file that can't be used is thrown away.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionzoo.errors import RunError
from fusionzoo.records.record import RunRecord, load_record
from fusionzoo.records.store import RECORD

INDEX = "index.sqlite"
#: Raised by every change of the table; a file of another version is made anew.
VERSION = 1

_COLUMNS = {
    "run_id": "TEXT PRIMARY KEY",
    "changed": "INTEGER",
    "size": "INTEGER",
    "spec": "TEXT",
    "dataset": "TEXT",
    "fold": "INTEGER",
    "seed": "INTEGER",
    "train_cases": "INTEGER",
    "settings": "TEXT",
    "parameters": "INTEGER",
    "flops": "INTEGER",
    "train_seconds": "REAL",
    "peak_memory_mib": "REAL",
    "cpu": "TEXT",
    "gpu": "TEXT",
}


@dataclass(frozen=True)
class IndexRow:
    """What the index keeps of a record.

    Args:
        run_id: Name of the run's folder.
        spec: Canonical spec string.
        dataset: Name of the data set.
        fold: Fold that was tested; None for the data set's one split.
        seed: Its seed.
        train_cases: Cases that it was trained on.
        settings: Resolved settings of the trainer.
        parameters: Weights.
        flops: Floating-point operations of one case's prediction.
        train_seconds: Wall time of training.
        peak_memory_mib: Largest memory, MiB.
        cpu: Name of the processor.
        gpu: Name of the GPU, None where the run used none.
    """

    run_id: str
    spec: str
    dataset: str
    fold: int | None
    seed: int
    train_cases: int
    settings: dict[str, Any]
    parameters: int
    flops: int | None
    train_seconds: float | None
    peak_memory_mib: float | None
    cpu: str
    gpu: str | None


def read_index(store: str | os.PathLike[str]) -> list[IndexRow]:
    """What a store's readable records cost, in the order of their ids.

    Only records that are new or have changed since the last time are read. Where the database can't
    be written, or another process is writing it, everything is read and nothing kept.
    """
    root = Path(store)
    try:
        return _synced(root, str(root / INDEX))
    except sqlite3.OperationalError:
        return _synced(root, ":memory:")
    except sqlite3.DatabaseError:
        with suppress(OSError):
            (root / INDEX).unlink(missing_ok=True)
        return _synced(root, ":memory:")


def _synced(root: Path, where: str) -> list[IndexRow]:
    """The rows, after what changed was read."""
    if not root.is_dir():
        return []
    connection = sqlite3.connect(where, timeout=5)
    try:
        with connection:
            _prepare(connection)
            _update(connection, root)
        found = connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM runs ORDER BY run_id")
        return [_row(dict(zip(_COLUMNS, values, strict=True))) for values in found]
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        connection.execute("DROP TABLE IF EXISTS runs")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
    connection.execute(f"CREATE TABLE IF NOT EXISTS runs ({columns})")


def _update(connection: sqlite3.Connection, root: Path) -> None:
    """Read records that are new or changed; forget those that are gone."""
    known = {
        run_id: (changed, size)
        for run_id, changed, size in connection.execute("SELECT run_id, changed, size FROM runs")
    }
    there = dict(_stamps(root))
    gone = [(run_id,) for run_id in known if run_id not in there]
    connection.executemany("DELETE FROM runs WHERE run_id = ?", gone)
    places = ", ".join("?" * len(_COLUMNS))
    for run_id, stamp in there.items():
        if known.get(run_id) != stamp:
            try:
                record = load_record(root / run_id / RECORD)
            except RunError:
                connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
                continue
            connection.execute(
                f"INSERT OR REPLACE INTO runs VALUES ({places})", _values(run_id, stamp, record)
            )


def _stamps(root: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Time of change and size of each record's file."""
    for path in root.glob(f"*/{RECORD}"):
        with suppress(OSError):
            told = path.stat()
            yield path.parent.name, (told.st_mtime_ns, told.st_size)


def _values(run_id: str, stamp: tuple[int, int], record: RunRecord) -> tuple[Any, ...]:
    cost, hardware = record.cost, record.environment.hardware
    return (
        run_id,
        *stamp,
        record.spec,
        record.data.name,
        record.split.fold,
        record.seed,
        record.split.counts.get("train", 0),
        json.dumps(record.training.settings),
        cost.parameters,
        cost.flops,
        cost.train_seconds,
        cost.peak_memory_mib,
        hardware.cpu,
        hardware.gpu,
    )


def _row(found: dict[str, Any]) -> IndexRow:
    kept = {name: value for name, value in found.items() if name not in ("changed", "size")}
    return IndexRow(**{**kept, "settings": json.loads(found["settings"])})


__all__ = ["INDEX", "IndexRow", "read_index"]
