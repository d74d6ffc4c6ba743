"""Boards in a format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fusionzoo.errors import BadOption
from fusionzoo.leaderboard.render import csv, html, latex, markdown
from fusionzoo.leaderboard.table import Table

#: How each format is written.
FORMATS: Mapping[str, Callable[[Sequence[Table]], str]] = {
    "md": markdown.render,
    "html": html.render,
    "csv": csv.render,
    "latex": latex.render,
}
_ENDINGS = {".tex": "latex", ".htm": "html", ".markdown": "md"}


def format_of(path: str) -> str:
    """The format that a file's name asks for.

    Raises:
        BadOption: It asks for none.

    Example:
        >>> format_of("board.tex")
        'latex'
    """
    ending = Path(path).suffix.lower()
    name = _ENDINGS.get(ending, ending.removeprefix("."))
    if name not in FORMATS:
        raise BadOption(
            f"{path!r} doesn't say which format to write. Give --format {'|'.join(FORMATS)}, or a "
            "name that ends with .md, .html, .csv or .tex."
        )
    return name


def write_boards(tables: Sequence[Table], name: str) -> str:
    """Boards as text.

    Args:
        tables: The boards.
        name: One of `FORMATS`.

    Raises:
        BadOption: There is no such format.
    """
    if name not in FORMATS:
        raise BadOption(f"There is no format {name!r}. Use one of: {', '.join(FORMATS)}.")
    return FORMATS[name](tables)


__all__ = ["FORMATS", "format_of", "write_boards"]
