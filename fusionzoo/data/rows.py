"""Reads a manifest (CSV, TSV, JSONL or Parquet) into text cells with the line of each row."""

from __future__ import annotations

import csv
import io
import json
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.data.problems import Problems
from fusionzoo.errors import MissingExtra, nearest

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_DELIMITERS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True)
class Rows:
    """A manifest as text.

    Args:
        columns: Column names, in order.
        cells: Per column, one cell a row without spaces around it; empty text where there is none.
        lines: Line of each row, from 1, where a CSV has its header; a Parquet file counts its rows.
    """

    columns: tuple[str, ...]
    cells: dict[str, list[str]]
    lines: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.lines)

    def has(self, column: str, problems: Problems, why: str) -> bool:
        """Whether a column is there; E02 with the nearest name where it isn't."""
        if column in self.cells:
            return True
        plain = unicodedata.normalize("NFKC", column).casefold().strip()
        same = [
            c for c in self.columns if unicodedata.normalize("NFKC", c).casefold().strip() == plain
        ]
        if same:
            remedy = (
                f"{same[0]!r} looks the same but is written with other characters: copy it exactly."
            )
        else:
            remedy = f"{nearest(column, self.columns)}Columns: {', '.join(self.columns)}."
        problems.add(
            "E02", f"the manifest has no such column, which is {why}", remedy, column=column
        )
        return False


def read_rows(path: Path, problems: Problems) -> Rows | None:
    """The rows of a manifest; None, with E01 or E03 noted, where they can't be read."""
    kind = path.suffix.lower().lstrip(".")
    if f".{kind}" not in SUFFIXES:
        problems.add("E01", f"{path.name} is no manifest", f"Known: {', '.join(SUFFIXES)}.")
        return None
    if not path.is_file():
        problems.add(
            "E01", f"there is no file {path}", "Write its name under manifest: in the dataset.yaml."
        )
        return None
    before = len(problems.found)
    if kind == "parquet":
        header, records, lines = _parquet(path, problems)
    else:
        text = _text(path, problems)
        if text is None:
            return None
        read = _jsonl(text, problems) if kind == "jsonl" else _separated(text, kind, problems)
        header, records, lines = read
    for column in sorted({name for name in header if name and header.count(name) > 1}):
        problems.add(
            "E03", "the header has this column more than once", "Rename one of them.", column=column
        )
    if len(problems.found) > before:
        return None
    if not lines:
        problems.add("E01", f"{path.name} has no rows", "Write one row a case.")
        return None
    cells = {name: [record[i] for record in records] for i, name in enumerate(header) if name}
    return Rows(tuple(cells), cells, tuple(lines))


def _text(path: Path, problems: Problems) -> str | None:
    content = path.read_bytes()
    remedy = "Save it as UTF-8."
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        problems.add("E01", f"{path.name} is written in UTF-16", remedy)
        return None
    if b"\0" in content:
        problems.add(
            "E01", f"{path.name} holds zero bytes and is no text", "Export it again as CSV."
        )
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{content[error.start]:02x} is not UTF-8"
        problems.add("E01", f"{path.name} can't be decoded, {byte}", remedy, row=line)
        return None


def _separated(
    text: str, kind: str, problems: Problems
) -> tuple[list[str], list[list[str]], list[int]]:
    """Header, rows and their lines of a CSV or TSV text."""
    delimiter = _DELIMITERS[kind]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    records, lines, line = [], [], 1
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if not header:
                header = cells
            elif any(cells):
                if len(cells) != len(header):
                    _uneven(len(cells), len(header), line, problems)
                records.append(cells)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        problems.add(
            "E01", f"broken {kind.upper()}: {error}", "Close the quotes of that row.", row=line
        )
    if len(header) == 1:
        others = [mark for mark in (",", ";", "\t", "|") if mark in header[0] and mark != delimiter]
        if others:
            named = {"\t": "tab"}.get(others[0], others[0])
            wanted = "commas" if kind == "csv" else "tabs"
            problems.add(
                "E01",
                f"the header has one column, {header[0]!r}",
                f"It seems to be separated by {named!r}: save it with {wanted}.",
                row=1,
            )
    return header, records, lines


def _uneven(found: int, wanted: int, line: int, problems: Problems) -> None:
    problems.add(
        "E01",
        f"{found} cells where the header has {wanted}",
        "Quote cells that hold the delimiter.",
        row=line,
    )


def _jsonl(text: str, problems: Problems) -> tuple[list[str], list[list[str]], list[int]]:
    """Columns, rows and their lines of a text with one JSON object a line."""
    objects, lines = [], []
    for line, word in enumerate(text.splitlines(), start=1):
        if not word.strip():
            continue
        try:
            pairs = json.loads(word, object_pairs_hook=list)
        except json.JSONDecodeError as error:
            problems.add("E01", f"not JSON: {error.msg}", "Write one {...} a line.", row=line)
            continue
        if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
            problems.add("E01", "not a JSON object", "Write one {...} a line.", row=line)
            continue
        keys = [key for key, _ in pairs]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            problems.add("E03", "the key is there twice", "Keep one of them.", row=line, column=key)
        objects.append(dict(pairs))
        lines.append(line)
    header = list(dict.fromkeys(key for row in objects for key in row))
    return header, [[_cell(row.get(key)) for key in header] for row in objects], lines


def _parquet(path: Path, problems: Problems) -> tuple[list[str], list[list[str]], list[int]]:
    """Columns, rows and row numbers of a Parquet file."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra(
            f"Reading {path.name} needs pyarrow, which is not installed. "
            f"Install it: pip install pyarrow, or save the manifest as CSV."
        ) from None
    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (OSError, pyarrow.ArrowException) as error:
        problems.add("E01", f"{path.name} is not Parquet: {error}", "Write it again.")
        return [], [], []
    columns = [column.to_pylist() for column in table.columns]
    records = [[_cell(value) for value in row] for row in zip(*columns, strict=True)]
    return table.column_names, records, list(range(1, table.num_rows + 1))


def _cell(value: object) -> str:
    """A typed cell as the text that a CSV would hold; lists are joined by spaces."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_cell(item) for item in value)
    return str(value).strip()
