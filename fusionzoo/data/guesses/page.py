"""Writes guesses as a `dataset.yaml`, each with its reason as a comment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fusionzoo.data.guesses.columns import classes_of, once_only
from fusionzoo.data.guesses.files import ImageGuess
from fusionzoo.data.guesses.said import Guess
from fusionzoo.data.guesses.table import TableGuess
from fusionzoo.data.rows import Rows

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*\Z|-?\d+(\.\d+)?\Z")
_SPECIAL = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})
#: Column where comments begin, where the line leaves room.
_MARGIN = 30


@dataclass(frozen=True)
class Roles:
    """All guesses together, in the order of the page."""

    name: Guess
    manifest: str
    root: Guess
    id: Guess
    group: Guess
    split: Guess
    images: tuple[ImageGuess, ...]
    table: TableGuess
    targets: tuple[tuple[Guess, Guess | None], ...]


def word(value: object) -> str:
    """A value as YAML: in quotes where it could be read as something else."""
    if isinstance(value, list):
        words = [word(item) for item in value]
        if all(isinstance(item, str) for item in value) and any(w[0] == '"' for w in words):
            words = [_quoted(item) for item in value]
        return f"[{', '.join(words)}]"
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if _PLAIN.match(text) and text.lower() not in _SPECIAL:
        return text
    return _quoted(text)


def _quoted(text: str) -> str:
    return _printable(json.dumps(text, ensure_ascii=False))


def _printable(text: str) -> str:
    """A text in one line, with escapes for characters that YAML takes only so."""
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)


def write_page(roles: Roles, rows: Rows, name: str) -> str:
    """The text of the `dataset.yaml`, which will be called `name`."""
    lines = [
        f"# A first description of {roles.manifest}, written by 'fusionzoo data init'.",
        "# Each comment 'guess:' is one, with its reason. Review them all, then check the data:",
        f"#   fusionzoo data check {name}",
        "schema: 1",
        _line(0, "name", word(roles.name.value), roles.name.reason),
        f"manifest: {word(roles.manifest)}",
    ]
    if roles.root.value is not None:
        lines.append(_line(0, "root", word(roles.root.value), roles.root.reason))
    lines.append(_line(0, "id", word(roles.id.value), roles.id.reason))
    lines.append(_optional("group", roles.group, word))
    lines.append(_optional("split", roles.split, lambda column: f"{{column: {word(column)}}}"))
    lines += _images(roles.images)
    lines += _table(roles.table)
    lines += _targets(roles, rows)
    if roles.table.unused:
        lines += ["", "# Columns with no role, which are not used:"]
        unused = roles.table.unused.items()
        lines += [_printable(f"#   {column}: {reason}") for column, reason in unused]
    return "\n".join(lines) + "\n"


def _line(depth: int, key: str, value: str, reason: str = "") -> str:
    return _commented(f"{'  ' * depth}{word(key)}: {value}".rstrip(), reason)


def _commented(text: str, reason: str) -> str:
    return f"{text:<{_MARGIN}}  # guess: {_printable(reason)}" if reason else text


def _optional(key: str, guess: Guess, value: Callable[[str], str]) -> str:
    if guess.value is None:
        return f"# {key}: {guess.reason}" if guess.reason else f"# {key}: none"
    return _line(0, key, value(guess.value), guess.reason)


def _images(images: Sequence[ImageGuess]) -> Iterator[str]:
    if images:
        yield "images:"
    for image in images:
        yield f"  {image.name}:"
        for key, value in image.keys.items():
            yield _line(2, key, word(value), image.reasons.get(key, ""))


def _table(table: TableGuess) -> Iterator[str]:
    if not table.numeric and not table.categorical:
        return
    yield "table:"
    if table.numeric:
        yield "  numeric:"
        for column, reason in table.numeric.items():
            yield _commented(f"    - {word(column)}", reason)
    if table.categorical:
        yield "  categorical:  # every value that a case can have, in new data too"
        for column, reason in table.categorical.items():
            yield _line(2, column, word(table.values[column]), reason)
    if table.has_empty:
        yield _line(
            1, "missing", "median+flag", "some cells are empty; docs say what else there is"
        )


def _targets(roles: Roles, rows: Rows) -> Iterator[str]:
    yield "targets:"
    for target, positive in roles.targets:
        column = str(target.value)
        classes = classes_of(rows, column)
        name = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
        yield f"  {name if name[:1].isalpha() else f'target_{name}'}:"
        yield _line(2, "column", word(column), target.reason)
        if positive is None:
            yield "    type: multiclass"
            once = once_only(rows, column)
            why = f"{'NOT SURE: ' if once else ''}the values found{once}"
            yield _line(2, "classes", word(classes), why)
        else:
            chosen = str(positive.value)
            ordered = [*(value for value in classes if value != chosen), chosen]
            yield "    type: binary"
            why = f"the second is positive: {positive.reason}" if positive.reason else ""
            yield _line(2, "classes", word(ordered), why)
        lacking = sum(cell not in classes for cell in rows.cells[column])
        if lacking:
            yield _line(2, "missing", "ignore", f"{lacking} rows have no label")
