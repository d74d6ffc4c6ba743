"""Which column is the case id, the patient, the split and the target, by names and cells."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fusionzoo.data.cells import is_empty
from fusionzoo.data.guesses.said import NONE, Guess, Said
from fusionzoo.data.manifest import PARTS
from fusionzoo.data.rows import Rows
from fusionzoo.data.suspicions import NEGATIVE

#: Names, without spaces and marks, that say what a column is.
IDS = ("caseid", "case", "id", "sampleid", "imageid", "scanid", "noduleid", "lesionid", "name")
GROUPS = (
    *("patient", "patientid", "patientno", "patientname", "subject", "subjectid", "participant"),
    *("participantid", "person", "personid", "mrn", "pid", "group", "groupid"),
)
SPLITS = ("split", "fold", "part", "partition", "subset", "set", "phase")
TARGETS = (
    *("target", "label", "class", "y", "diagnosis", "dx", "outcome", "relapse", "recurrence"),
    *("malignancy", "malignant", "response", "metastasis", "histology", "subtype", "death"),
    *("mortality", "survival", "event", "disease", "grade", "prognosis", "pathology"),
)
#: Classes of a guessed target at most.
MOST_CLASSES = 10
#: Share of different values above which a column may hold ids with a few mistakes.
NEARLY = 0.95


def plain(name: str) -> str:
    """A column's name in lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def known_cells(rows: Rows, column: str) -> list[str]:
    """The cells of a column that hold something."""
    return [cell for cell in rows.cells[column] if not is_empty(cell)]


def is_unique(rows: Rows, column: str) -> bool:
    """Whether every row has a value of its own in a column."""
    known = known_cells(rows, column)
    return len(known) == len(set(known)) == len(rows)


def number(cell: str) -> float | None:
    """A cell as a number; None where it is none."""
    try:
        return float(cell)
    except ValueError:
        return None


def guess_id(rows: Rows, said: Said) -> Guess | None:
    """The column of the case id; None where no column has a value of its own on nearly every row.

    Where only some ids are there twice, which may be a mistake, the guess says so.
    """
    if said.id is not None:
        return Guess(said.id, "")
    free = [c for c in rows.columns if c not in said.columns]
    unique = [c for c in free if is_unique(rows, c)]
    for column in _named(unique, (*IDS, *GROUPS)):
        return Guess(column, "its name, and a value of its own on every row")
    words = [c for c in free if _looks_like_ids(rows, c)]
    for column in [*(c for c in words if c in unique), *_named(words, IDS), *words]:
        repeated = [c for c in dict.fromkeys(rows.cells[column]) if rows.cells[column].count(c) > 1]
        if not repeated:
            return Guess(column, "a value of its own on every row")
        return Guess(column, f"NOT SURE: {', '.join(map(repr, repeated[:3]))} is there twice")
    for column in [*unique, *(c for c in said.images.values() if is_unique(rows, c))]:
        return Guess(column, "a value of its own on every row")
    return None


def _looks_like_ids(rows: Rows, column: str) -> bool:
    """Whether a column holds single words, no paths and no numbers, nearly all different."""
    known = known_cells(rows, column)
    different = len(set(known)) >= NEARLY * len(rows)
    return different and all(
        number(cell) is None and len(cell) <= 40 and not re.search(r"[\s/\\]", cell)
        for cell in known
    )


def guess_group(rows: Rows, said: Said, case_id: str | None) -> Guess:
    """The column of the patient."""
    if said.group is not None:
        return Guess(None if said.group == NONE else said.group, "")
    free = [c for c in rows.columns if c not in said.columns and c != case_id]
    for column in _named(free, GROUPS):
        count = len(set(rows.cells[column]))
        several = "so some have several cases" if count < len(rows) else "each with one case"
        return Guess(column, f"its name; {count} patients in {len(rows)} rows, {several}")
    return Guess(
        None,
        "no column's name says patient or subject; if a patient can have several cases, name the "
        "column here, or they may be in two parts of a split",
    )


def guess_split(rows: Rows, said: Said) -> Guess:
    """The column of the split or the folds."""
    if said.split is not None:
        return Guess(None if said.split == NONE else said.split, "")
    for column in _named([c for c in rows.columns if c not in said.columns], SPLITS):
        words = sorted(set(map(str.lower, rows.cells[column])))
        if set(words) <= set(PARTS) or words == [str(n) for n in range(len(words))]:
            return Guess(column, f"it holds {', '.join(words)}")
    return Guess(None, "none; patients are split by a hash of their names, 70/15/15")


def guess_targets(rows: Rows, said: Said, taken: Iterable[str]) -> tuple[Guess, ...]:
    """The column to predict; none where no column could be it."""
    if said.targets:
        return tuple(Guess(column, "") for column in said.targets)
    free = [c for c in rows.columns if c not in {*said.columns, *taken}]
    able = [c for c in free if 2 <= len(classes_of(rows, c)) <= MOST_CLASSES]
    for column in _named(able, TARGETS):
        return (Guess(column, "its name"),)
    for column in reversed([c for c in able if _whole(rows, c)]):
        count = len(classes_of(rows, column))
        return (Guess(column, f"NOT SURE: the last column with few values ({count})"),)
    return ()


def names_an_outcome(column: str) -> bool:
    """Whether a column's name says that it is known only after the outcome."""
    return plain(column) in TARGETS


def names_a_case(column: str) -> bool:
    """Whether a column's name says that it names cases, patients or parts."""
    return plain(column) in {*IDS, *GROUPS, *SPLITS}


def classes_of(rows: Rows, column: str) -> list[str]:
    """The values of a column in ascending order, numbers by size."""
    found = set(known_cells(rows, column))
    if all(number(cell) is not None for cell in found):
        return sorted(found, key=lambda cell: (float(cell), cell))
    return sorted(found, key=lambda cell: (cell.casefold(), cell))


def once_only(rows: Rows, column: str) -> str:
    """Values that are there once, which may be slips of the pen, in words; empty for none."""
    known = known_cells(rows, column)
    rare = [value for value in classes_of(rows, column) if known.count(value) == 1]
    few = len(known) < 10 * max(1, len(set(known)))
    return "" if few or not rare else f"; once only: {', '.join(map(repr, rare[:3]))}"


def guess_positive(rows: Rows, column: str, said: Said) -> Guess:
    """The positive one of two classes."""
    classes = classes_of(rows, column)
    if said.positive is not None:
        return Guess(said.positive, "")
    negative = [name for name in classes if name.casefold() in NEGATIVE]
    if len(negative) == 1:
        (positive,) = (name for name in classes if name not in negative)
        return Guess(positive, f"the other is {negative[0]!r}")
    if all(number(name) is not None for name in classes):
        return Guess(classes[-1], "the larger number")
    counts = {name: rows.cells[column].count(name) for name in classes}
    rarer = min(reversed(classes), key=lambda name: counts[name])
    return Guess(rarer, f"NOT SURE: the rarer one ({counts[rarer]} of {sum(counts.values())})")


def _named(columns: Iterable[str], names: tuple[str, ...]) -> list[str]:
    """Columns whose names are among these, in the order of the names."""
    by_name = {plain(column): column for column in columns}
    return [by_name[name] for name in names if name in by_name]


def _whole(rows: Rows, column: str) -> bool:
    """Whether a column holds words or whole numbers only."""
    numbers = [number(cell) for cell in known_cells(rows, column)]
    return all(value is None or value == int(value) for value in numbers)
