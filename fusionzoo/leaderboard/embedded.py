"""Boards as the JSON that a page holds: what it was made from, and what it is verified against."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fusionzoo.errors import RunError
from fusionzoo.leaderboard.table import SCHEMA, Figure, Table
from fusionzoo.schema import canonical, from_json, to_json

#: What differs between the runs of one row; the rest of a run's facts is kept once for all.
_OWN = (
    "run_id",
    "fold",
    "split_scheme",
    "split_digest",
    "counts",
    "seed",
    "thresholds",
    "scores",
    "tested",
    "predictions_digest",
    "cost",
    "started",
    "finished",
)

#: A figure that has nothing but perhaps a value.
_NOTHING = to_json(Figure(math.nan))


def dumps_boards(tables: Sequence[Table]) -> str:
    """JSON of several boards; what runs have in common is written once.

    No '<' is in it, so that it can stand within a page.
    """
    shared: dict[str, int] = {}
    runs: dict[str, dict[str, Any]] = {}
    for table in tables:
        for run_id, facts in table.runs.items():
            common = canonical({name: facts[name] for name in facts if name not in _OWN})
            place = shared.setdefault(common, len(shared))
            runs[run_id] = {name: facts[name] for name in _OWN if name in facts} | {"shared": place}
    told = {
        "boards": [_plain(table) for table in tables],
        "runs": dict(sorted(runs.items())),
        "shared": [json.loads(common) for common in shared],
    }
    text = json.dumps(to_json(told), separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c")


def loads_boards(text: str, source: str) -> list[Table]:
    """The inverse of `dumps_boards`.

    Args:
        text: The JSON.
        source: What errors call it.

    Raises:
        RunError: It is damaged, or of another version.
    """
    remedy = "Make the board again: 'fusionzoo leaderboard'."
    try:
        told = json.loads(text)
        boards, runs, shared = told["boards"], told["runs"], told["shared"]
        schemas = {board["schema"] for board in boards}
        if schemas - {SCHEMA}:
            raise RunError(
                f"{source} holds boards of schema {schemas.pop()}; this fusionzoo reads schema "
                f"{SCHEMA}. {remedy}"
            )
        return [_table(board, runs, shared, source) for board in boards]
    except (ValueError, KeyError, TypeError, IndexError) as cause:
        if isinstance(cause, RunError):
            raise
        raise RunError(f"The boards in {source} are damaged ({cause!r}). {remedy}") from cause


def _table(board: Any, runs: Mapping[str, Any], shared: Sequence[Any], source: str) -> Table:
    facts = {}
    for run_id in board["runs"]:
        own = dict(runs[run_id])
        facts[run_id] = {**shared[own.pop("shared")], **own}
    rows = [{**row, "figures": _whole(row["figures"])} for row in board["rows"]]
    return from_json(Table, {**board, "rows": rows, "runs": facts}, source)


def _whole(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with what `_figure` left out."""
    return {key: {**_NOTHING, **figure} for key, figure in figures.items()}


def _plain(table: Table) -> dict[str, Any]:
    """A table with ids in place of its runs, and without what figures don't have."""
    told: dict[str, Any] = to_json(
        {name: value for name, value in vars(table).items() if name not in ("rows", "runs")}
    )
    rows = []
    for row in table.rows:
        plain = {name: value for name, value in vars(row).items() if name != "figures"}
        figures = {key: _figure(figure) for key, figure in row.figures.items()}
        rows.append({**to_json(plain), "figures": figures})
    return {**told, "rows": rows, "runs": sorted(table.runs)}


def _figure(figure: Figure) -> dict[str, Any]:
    told: dict[str, Any] = to_json(figure)
    return {key: value for key, value in told.items() if key == "value" or value not in (None, "")}


__all__ = ["dumps_boards", "loads_boards"]
