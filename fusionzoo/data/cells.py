"""Turns cells into numbers, categories, class codes and voxel sizes, noting what doesn't fit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import TargetRole
from fusionzoo.data.rows import Rows
from fusionzoo.errors import nearest

#: Cells that mean "not known", in any case; a vocabulary that lists one keeps it as a value.
EMPTY = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>"})

_COMMA = re.compile(r"[-+]?\d+,\d+\Z")


def is_empty(cell: str) -> bool:
    """Whether a cell says that the value is not known."""
    return cell.lower() in EMPTY


def match(cell: str, values: Sequence[str]) -> str | None:
    """The value that a cell means: itself, `1` for `1.0`, `true` for `True`; None for none."""
    if cell in values:
        return cell
    if cell.lower() in ("true", "false"):
        return next((value for value in values if value.lower() == cell.lower()), None)
    try:
        number = float(cell)
    except ValueError:
        return None
    whole = str(int(number)) if math.isfinite(number) and number == int(number) else None
    return whole if whole in values else None


def numeric(rows: Rows, column: str, missing: str, problems: Problems) -> np.ndarray:
    """A column of numbers, float64 with NaN for empty cells; E08 for the rest."""
    found = np.full(len(rows), np.nan)
    for i, (cell, line) in enumerate(zip(rows.cells[column], rows.lines, strict=True)):
        if is_empty(cell):
            if missing == "refuse":
                _lacking("E08", column, line, problems)
            continue
        try:
            found[i] = float(cell)
        except ValueError:
            comma = "decimals take a point, not a comma" if _COMMA.match(cell) else "not a number"
            problems.add(
                "E08",
                comma,
                "Write a plain number, or leave the cell empty.",
                row=line,
                column=column,
                value=cell,
            )
            continue
        if not math.isfinite(found[i]):
            found[i] = np.nan
            problems.add(
                "E08",
                "not finite",
                "Write a finite number, or leave the cell empty.",
                row=line,
                column=column,
                value=cell,
            )
    return found


def categorical(
    rows: Rows, column: str, values: Sequence[str], missing: str, problems: Problems
) -> np.ndarray:
    """A column of declared values, as objects with None for empty cells; E09 for other values."""
    found = np.full(len(rows), None, dtype=object)
    for i, (cell, line) in enumerate(zip(rows.cells[column], rows.lines, strict=True)):
        found[i] = match(cell, values)
        if found[i] is not None:
            continue
        if not is_empty(cell):
            problems.add(
                "E09",
                "not one of the declared values",
                f"{nearest(cell, values)}Declared: {', '.join(values)}.",
                row=line,
                column=column,
                value=cell,
            )
        elif missing == "refuse":
            _lacking("E09", column, line, problems)
    return found


def _lacking(code: Literal["E08", "E09"], column: str, line: int, problems: Problems) -> None:
    problems.add(
        code,
        "empty, and the table says missing: refuse",
        "Fill it in, or say missing: median.",
        row=line,
        column=column,
    )


def target(rows: Rows, role: TargetRole, problems: Problems) -> np.ndarray:
    """Class codes, int64, -1 for empty cells of a target that ignores them; E10 for the rest."""
    codes = np.full(len(rows), -1, dtype=np.int64)
    declared = ", ".join(role.classes)
    for i, (cell, line) in enumerate(zip(rows.cells[role.column], rows.lines, strict=True)):
        value = match(cell, role.classes)
        if value is not None:
            codes[i] = role.classes.index(value)
        elif not is_empty(cell):
            problems.add(
                "E10",
                f"not a class of target {role.name!r}",
                f"{nearest(cell, role.classes)}Classes: {declared}.",
                row=line,
                column=role.column,
                value=cell,
            )
        elif role.missing == "refuse":
            problems.add(
                "E10",
                f"target {role.name!r} is empty",
                f"Fill it in, remove the row, or say missing: ignore under targets.{role.name}.",
                row=line,
                column=role.column,
            )
    unseen = [name for code, name in enumerate(role.classes) if not (codes == code).any()]
    if unseen:
        problems.add(
            "E10",
            f"no row of target {role.name!r} has the class {', '.join(unseen)}",
            "Remove it from classes, or check its spelling.",
            column=role.column,
        )
    return codes


def spacing(rows: Rows, column: str, problems: Problems) -> tuple[tuple[float, ...] | None, ...]:
    """Voxel sizes in mm (depth, height, width), None for empty cells; E07 for the rest."""
    found: list[tuple[float, ...] | None] = []
    for cell, line in zip(rows.cells[column], rows.lines, strict=True):
        words = re.split(r"[\s,;]+", cell.strip("[]() "))
        try:
            size = tuple(float(word) for word in words if word)
        except ValueError:
            size = (math.nan,)
        good = len(size) == 3 and all(math.isfinite(mm) and mm > 0 for mm in size)
        if not good and not is_empty(cell):
            problems.add(
                "E07",
                "not three positive numbers",
                "Write the voxel size in mm as 'depth height width', such as '2.5 1 1'.",
                row=line,
                column=column,
                value=cell,
            )
        found.append(size if good else None)
    return tuple(found)
