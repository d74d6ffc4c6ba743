"""What a written board carries so that it can be made again: options, sheet and run ids."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fusionzoo.errors import RunError
from fusionzoo.leaderboard.options import BoardOptions
from fusionzoo.leaderboard.table import Table
from fusionzoo.schema import dumps, from_json


@dataclass(frozen=True)
class Origin:
    """One board's way back.

    Args:
        name: Name of the board.
        sheet: Whether that is a sheet's slug.
        options: How it was made.
        runs: Ids of its runs.
    """

    name: str
    sheet: bool
    options: BoardOptions
    runs: tuple[str, ...]

    @classmethod
    def of(cls, table: Table) -> Origin:
        """The origin of a board."""
        return cls(table.name, table.sheet, table.options, tuple(sorted(table.runs)))

    @classmethod
    def loads(cls, text: str, source: str) -> Origin:
        """One origin from JSON text.

        Raises:
            RunError: It can't be read; `source` is what the error calls it.
        """
        return from_json(cls, _parsed(text, source), source)


@dataclass(frozen=True)
class Origins:
    """The boards of one file."""

    boards: tuple[Origin, ...]

    def dumps(self) -> str:
        """JSON text in one line."""
        return dumps(self, indent=None)

    @classmethod
    def loads(cls, text: str, source: str) -> Origins:
        """The inverse of `dumps`.

        Raises:
            RunError: It can't be read; `source` is what the error calls it.
        """
        return from_json(cls, _parsed(text, source), source)


def _parsed(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as cause:
        raise RunError(
            f"What {source} says of its runs is damaged ({cause}). Make the board again: "
            "'fusionzoo leaderboard'."
        ) from cause


__all__ = ["Origin", "Origins"]
