"""What a card is made of, before it is written as Markdown or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 or 2."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table; all columns but the first hold numbers, unless `words` names them.

    Args:
        header: Headings of the columns.
        rows: Cells as text.
        words: Columns, from 0, that are aligned to the left beside the first.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = ()

    @property
    def left(self) -> frozenset[int]:
        """Columns that are aligned to the left."""
        return frozenset({0, *self.words})


@dataclass(frozen=True)
class Picture:
    """A PNG.

    Args:
        name: Name of its file in the run's folder.
        alt: What it shows.
        content: Its bytes.
        wide: Whether it needs the whole width of a page.
    """

    name: str
    alt: str
    content: bytes
    wide: bool = False


Block: TypeAlias = Heading | Text | Bullets | Table | Picture


def facts(pairs: Sequence[tuple[str, str]]) -> Table:
    """A table of names and what they are."""
    return Table(("", ""), tuple(pairs), words=(1,))
