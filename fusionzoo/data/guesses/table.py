"""Which of the remaining columns are numbers or categories for a model, and which are neither."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fusionzoo.data.association import one_to_one, separation
from fusionzoo.data.cells import is_empty
from fusionzoo.data.guesses.columns import (
    classes_of,
    is_unique,
    known_cells,
    names_a_case,
    names_an_outcome,
    number,
    once_only,
    plain,
)
from fusionzoo.data.guesses.said import Said
from fusionzoo.data.rows import Rows
from fusionzoo.data.suspicions import PREDICTS

#: Values of a guessed category at most, and share of cells that must be numbers.
MOST_VALUES, NUMBERS = 20, 0.9
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d\d?[./]\d\d?[./]\d{2,4}")


@dataclass(frozen=True)
class TableGuess:
    """Columns by role, each with the reason.

    Args:
        numeric: Columns of numbers.
        categorical: Columns of categories.
        values: Per category, its values.
        unused: Columns with no role.
        has_empty: Whether a used column has an empty cell.
    """

    numeric: dict[str, str]
    categorical: dict[str, str]
    values: dict[str, list[str]]
    unused: dict[str, str]
    has_empty: bool


def guess_table(rows: Rows, said: Said, taken: Iterable[str], targets: Iterable[str]) -> TableGuess:
    """The roles of all columns that have none yet.

    Args:
        rows: The manifest.
        said: What the owner said.
        taken: Columns that have a role already.
        targets: Columns to predict; a column that says one of them alone is left out.
    """
    numeric = dict.fromkeys(said.numeric, "")
    categorical = dict.fromkeys(said.categorical, "")
    unused = dict.fromkeys(said.ignore, "said to be ignored")
    for column in rows.columns:
        if column in {*taken, *said.columns}:
            continue
        role, reason = _role(rows, column)
        told = _answer(rows, column, targets) if role != "unused" else None
        if told:
            role, reason = "unused", told
        {"numeric": numeric, "categorical": categorical, "unused": unused}[role][column] = reason
    used = [*numeric, *categorical]
    empty = any(is_empty(cell) for column in used for cell in rows.cells[column])
    values = {column: classes_of(rows, column) for column in categorical}
    return TableGuess(numeric, categorical, values, unused, empty)


def _role(rows: Rows, column: str) -> tuple[str, str]:
    known = known_cells(rows, column)
    values = Counter(known)
    if len(values) < 2:
        return "unused", f"it is {next(iter(values))!r} throughout" if values else "it is empty"
    if names_an_outcome(column):
        return "unused", "its name says an outcome: a target, or not known beforehand"
    if names_a_case(column):
        return "unused", "its name says an id or a split, which no model may see"
    numbers = [number(cell) for cell in known]
    words = [cell for cell, value in zip(known, numbers, strict=True) if value is None]
    if len(words) <= (1 - NUMBERS) * len(known):
        if is_unique(rows, column) and re.search(r"id|no|nr|index|number", plain(column)):
            return "unused", "it seems to number the rows"
        wrong = f", but for {len(words)} such as {words[0]!r}" if words else ""
        return "numeric", f"{len(values)} numbers{wrong}"
    if all(_DATE.match(cell) for cell in known):
        return "unused", "dates; turn them into a number, such as days or an age"
    if len(values) > MOST_VALUES or (len(values) > 2 and 2 * len(values) > len(known)):
        return "unused", f"{len(values)} different texts in {len(known)} cells"
    return "categorical", f"the {len(values)} values found{once_only(rows, column)}"


def _answer(rows: Rows, column: str, targets: Iterable[str]) -> str | None:
    """Why a column says a target; None where it doesn't."""
    cells = [None if is_empty(cell) else cell for cell in rows.cells[column]]
    numbers = [None if cell is None else number(cell) for cell in cells]
    numeric = all(value is not None for value, cell in zip(numbers, cells, strict=True) if cell)
    values = pd.Series(numbers, dtype=float) if numeric else pd.Series(cells, dtype=object)
    for target in targets:
        classes = classes_of(rows, target)
        place = {name: code for code, name in enumerate(classes)}
        codes = np.array([place.get(cell, -1) for cell in rows.cells[target]])
        labelled = codes >= 0
        areas = [
            separation(values[labelled], codes[labelled] == code) for code in range(len(classes))
        ]
        best = max((area for area in areas if area is not None), default=0.0)
        if best > PREDICTS or (best and one_to_one(values, codes)):
            return f"alone it says {target!r} (AUROC {best:.2f}): was it known beforehand?"
    return None
