"""What boards worked out before, kept beside the runs so that only new runs cost time.

`board.sqlite` of the store holds the facts of records, by time of change and size of their files,
and the scores of rows, by the digests of the predictions that they are from. It is never the truth:
`fusionzoo leaderboard verify` doesn't read it, deleting it costs nothing but time, and where it
can't be written everything is worked out anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CACHE = "board.sqlite"
#: Raised by every change of what is kept or how it is worked out.
VERSION = 2
_TABLES = {
    "facts": "run_id TEXT PRIMARY KEY, changed INTEGER, size INTEGER, told TEXT",
    "scores": "key TEXT PRIMARY KEY, told TEXT, drawn BLOB",
}


class BoardCache:
    """Facts and scores of one store.

    Args:
        path: The database; ":memory:" keeps nothing.
    """

    def __init__(self, path: str = ":memory:"):
        self._connection = _opened(path)

    @classmethod
    @contextmanager
    def of_store(cls, root: Path) -> Iterator[BoardCache]:
        """The cache of a store, closed at the end."""
        found = cls(str(root / CACHE))
        try:
            yield found
        finally:
            found.close()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def facts(self) -> dict[str, tuple[int, int, str]]:
        """Time of change, size and text of every run that is known."""
        rows = self._connection.execute("SELECT run_id, changed, size, told FROM facts")
        return {run_id: (changed, size, told) for run_id, changed, size, told in rows}

    def put_facts(self, rows: Iterable[tuple[str, int, int, str]]) -> None:
        """Keep facts of runs: id, time of change, size, text."""
        with suppress(sqlite3.Error), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", rows)

    def scores(self, key: str) -> tuple[str, bytes] | None:
        """What was kept under a key."""
        found = self._connection.execute("SELECT told, drawn FROM scores WHERE key = ?", (key,))
        row = found.fetchone()
        return (row[0], row[1]) if row else None

    def put_scores(self, key: str, told: str, drawn: bytes) -> None:
        """Keep scores under a key."""
        with suppress(sqlite3.Error), self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", (key, told, drawn)
            )


def _opened(path: str) -> sqlite3.Connection:
    """The database, made anew where it is damaged; in memory where it can't be used."""
    try:
        return _prepared(path)
    except sqlite3.OperationalError:
        return _prepared(":memory:")
    except sqlite3.DatabaseError:
        with suppress(OSError):
            Path(path).unlink(missing_ok=True)
    try:
        return _prepared(path)
    except sqlite3.Error:
        return _prepared(":memory:")


def _prepared(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5)
    try:
        # A cache that a power cut damages is made anew.
        connection.execute("PRAGMA synchronous = OFF")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        with connection:
            if version != VERSION:
                for name in _TABLES:
                    connection.execute(f"DROP TABLE IF EXISTS {name}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            for name, columns in _TABLES.items():
                connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


__all__ = ["CACHE", "BoardCache"]
