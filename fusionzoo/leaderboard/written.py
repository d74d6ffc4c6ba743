"""What a written board shows: its cells as text, by where they stand, and what it is made from."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser

from fusionzoo.errors import RunError
from fusionzoo.leaderboard.embedded import loads_boards
from fusionzoo.leaderboard.origin import Origin, Origins
from fusionzoo.leaderboard.render.markdown import COMMENT
from fusionzoo.leaderboard.table import Table

#: Where a cell stands, outermost first: board, part of it, row, column.
Place = tuple[str, ...]
_SCRIPT = re.compile(r'<script type="application/json" id="boards">(.*?)</script>', re.DOTALL)
#: Columns of a CSV that are figures; others say where they stand or what is to be said.
_FIGURES = (
    "rank",
    "p",
    "value",
    "low",
    "high",
    "sd",
    "mark",
    "printed",
    "printed_sd",
    "gap",
    "verdict",
)


@dataclass(frozen=True)
class Written:
    """A board file, read.

    Args:
        origins: What its boards can be made again from.
        cells: Its cells as text.
        tables: Its boards as data, where the format holds them.
    """

    origins: tuple[Origin, ...]
    cells: Mapping[Place, str]
    tables: tuple[Table, ...] = ()


def read_html(text: str, source: str) -> Written:
    """A page.

    Raises:
        RunError: It holds no boards.
    """
    found = _SCRIPT.search(text)
    if found is None:
        raise RunError(_not_a_board(source))
    tables = loads_boards(found[1], source)
    return Written(tuple(map(Origin.of, tables)), html_cells(text), tuple(tables))


def read_markdown(text: str, source: str) -> Written:
    """A Markdown file.

    Raises:
        RunError: It holds no boards.
    """
    lines = [line for line in text.splitlines() if line.startswith(COMMENT)]
    if not lines:
        raise RunError(_not_a_board(source))
    told = lines[-1].removeprefix(COMMENT).removesuffix(" -->")
    return Written(Origins.loads(told, source).boards, markdown_cells(text))


def read_csv(text: str, source: str) -> Written:
    """A CSV file.

    Raises:
        RunError: It holds no boards.
    """
    lines = list(csv.DictReader(io.StringIO(text)))
    made_by = [line["made_by"] for line in lines if line.get("made_by")]
    if not made_by:
        raise RunError(_not_a_board(source))
    return Written(tuple(Origin.loads(told, source) for told in made_by), csv_cells(text))


#: How each format is read, by the ending of its files.
READERS: Mapping[str, Callable[[str, str], Written]] = {
    ".html": read_html,
    ".htm": read_html,
    ".md": read_markdown,
    ".csv": read_csv,
}


def markdown_cells(text: str) -> dict[Place, str]:
    """Cells of all grids, by title of the board, heading, row and column."""
    found: dict[Place, str] = {}
    title = part = ""
    head: list[str] = []
    titles: list[str] = []
    for line in text.splitlines():
        if line.startswith("# "):
            title, part, head = _numbered(line[2:], titles), "", []
        elif line.startswith("## "):
            part, head = line[3:], []
        elif not line.startswith("| "):
            head = []
        elif not head:
            head = _split(line)
        elif not set(line) <= set("| -:"):
            cells = dict(zip(head, _split(line), strict=False))
            found |= {
                tuple(filter(None, (title, part, cells["model"], column))): told
                for column, told in cells.items()
                if column != "model"
            }
    return found


def _numbered(title: str, titles: list[str]) -> str:
    """The title, with a number where an earlier board has the same; it is added to `titles`."""
    titles.append(title)
    count = titles.count(title)
    return f"{title} ({count})" if count > 1 else title


def _split(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]


def csv_cells(text: str) -> dict[Place, str]:
    """Figures of all lines, by board, model, task, metric, fold and column."""
    found: dict[Place, str] = {}
    for line in csv.DictReader(io.StringIO(text)):
        where = (line["board"], line["model"], line["task"], line["metric"], line["fold"])
        for name in _FIGURES:
            found[(*filter(None, where), name)] = line[name]
    return found


def html_cells(text: str) -> dict[Place, str]:
    """Cells of the boards' tables, by title of the board, row and column."""
    parser = _Cells()
    parser.feed(text)
    return parser.found


class _Cells(HTMLParser):
    """Reads the tables of a page's boards; rows that wait in a template too."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[Place, str] = {}
        self._title = ""
        self._titles: list[str] = []
        self._in_head = False
        self._head: list[str] = []
        self._line: list[str] = []
        self._kind = ""
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "thead":
            self._head, self._in_head = [], True
        elif tag == "tr":
            self._line = []
        if tag in ("h1", "td", "th"):
            self._kind, self._text = tag, []
            if tag == "th" and given.get("scope") == "col":
                self._head.append(given.get("data-key") or "")
        elif self._kind == "th" and given.get("class") not in ("name", "nb") and self._text:
            self._kind = ""  # the model's name is read, what follows is about it
        elif self._text:
            self._text.append(" ")

    def handle_data(self, data: str) -> None:
        if self._kind:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "h1":
            self._title = _numbered(self._told(), self._titles)
        elif tag == "thead":
            self._in_head = False
        elif tag in ("td", "th"):
            self._line.append(self._told())
        elif tag == "tr" and not self._in_head and len(self._line) == len(self._head):
            model = self._line[self._head.index("model")]
            self.found |= {
                (self._title, model, column): told
                for column, told in zip(self._head, self._line, strict=True)
                if column != "model"
            }
        if tag in ("h1", "td", "th", "tr"):
            self._kind = ""

    def _told(self) -> str:
        return " ".join("".join(self._text).split())


def _not_a_board(source: str) -> str:
    return (
        f"{source} is no board that 'fusionzoo leaderboard' wrote: it doesn't say which runs it is "
        "from. Give a .html, .md or .csv file as it was written."
    )


__all__ = ["READERS", "Place", "Written", "csv_cells", "html_cells", "markdown_cells"]
