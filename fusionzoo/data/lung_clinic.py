"""The clinical table of Lung-PET-CT-Dx: seven columns a patient, with its vocabularies.

Source: statistics-clinical-20201221.xlsx of the collection, and public descriptions of its values.
Stages outside the TNM vocabulary are not coerced: the cell counts as empty and is reported.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fusionzoo.data.dataset import TableColumns
from fusionzoo.errors import DataError, MissingExtra, nearest

#: Values of each column in their clinical order, and the number that stands for it. A stage that
#: is not subdivided lies in the middle of its subdivisions.
VOCABULARIES: Mapping[str, Mapping[str, float]] = {
    "sex": {"F": 0, "M": 1},
    "t_stage": {
        **{"is": 0, "1a": 1, "1b": 2, "1": 2, "1c": 3, "2a": 4, "2": 4.5},
        **{"2b": 5, "3": 6, "4": 7},
    },
    "n_stage": {"0": 0, "1": 1, "2": 2, "3": 3},
    "m_stage": {"0": 0, "1a": 1, "1b": 2, "1": 2, "1c": 3},
    "smoking": {"0": 0, "1": 1},
}
#: The seven columns, in the order of the sheet.
COLUMNS = ("sex", "age", "weight_kg", "t_stage", "n_stage", "m_stage", "smoking")
#: What headers of the sheet become, once they are normalised.
HEADERS = {
    "newpatientid": "patient",
    "sex": "sex",
    "age": "age",
    "weight (kg)": "weight_kg",
    "t-stage": "t_stage",
    "n-stage": "n_stage",
    "m-stage": "m_stage",
    "smoking history": "smoking",
}
_RANGES = {"age": (0.0, 120.0), "weight_kg": (2.0, 400.0)}
_WORDS = {"male": "M", "female": "F", "yes": "1", "no": "0"}
_EMPTY = ("", "na", "n/a", "nan", "none", "null", "-", "unknown")


@dataclass(frozen=True)
class Clinic:
    """The table.

    Args:
        table: One row a patient, indexed by ids such as `A0001`; vocabulary words or None, numbers
            or NaN.
        flagged: Cells whose value is in no vocabulary or no plausible range, and so counts as
            empty.
    """

    table: pd.DataFrame
    flagged: tuple[str, ...]


def read_clinic(path: Path) -> Clinic:
    """Read the sheet, xlsx or CSV.

    Raises:
        DataError: The file can't be read, a column is missing, or a patient is there twice.
        MissingExtra: openpyxl is not installed.
    """
    sheet = _sheet(path)
    sheet = sheet.rename(columns={name: HEADERS.get(_plain(name), name) for name in sheet.columns})
    problems = [
        f"there is no column {header!r}. {nearest(header, map(_plain, sheet.columns))}"
        f"Columns: {', '.join(map(str, sheet.columns))}."
        for header, name in HEADERS.items()
        if name not in sheet.columns
    ]
    if problems:
        raise DataError(problems, str(path))
    sheet = sheet[~sheet["patient"].map(_is_empty)]
    patients = [_word(cell).upper().removeprefix("LUNG_DX-") for cell in sheet["patient"]]
    twice = sorted({name for name in patients if patients.count(name) > 1})
    if twice:
        text = f"patient {twice[0]!r} has several rows. Keep one row a patient."
        raise DataError([text], str(path))
    flagged: list[str] = []
    columns = {
        name: [
            _cell(name, cell, patient, flagged)
            for cell, patient in zip(sheet[name], patients, strict=True)
        ]
        for name in COLUMNS
    }
    kinds = {name: object if name in VOCABULARIES else float for name in COLUMNS}
    table = pd.DataFrame(
        {n: pd.Series(cells, dtype=kinds[n], index=patients) for n, cells in columns.items()}
    )
    return Clinic(table, tuple(flagged))


def as_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the number of each word: seven numeric columns."""
    coded = {
        name: [VOCABULARIES[name].get(word, np.nan) for word in table[name]]
        for name in VOCABULARIES
    }
    return table.assign(**coded).astype(float)[list(COLUMNS)]


def roles(stages: str) -> TableColumns:
    """Columns' roles: `ordinal` seven numbers, `categories` one-hot words; scaled to [-1, 1]."""
    if stages == "ordinal":
        return TableColumns(numeric=COLUMNS, scale="minmax")
    words = {name: tuple(values) for name, values in VOCABULARIES.items()}
    return TableColumns(numeric=tuple(_RANGES), categorical=words, scale="minmax")


def _sheet(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DataError([f"there is no file {path}. Check the path."], str(path))
    try:
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path, dtype=object)
        return pd.read_excel(path, dtype=object)
    except ImportError:
        raise MissingExtra(
            f"Reading {path.name} needs openpyxl, which is not installed. "
            "Install it: pip install openpyxl, or save the sheet as CSV."
        ) from None
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise DataError(
            [f"the sheet can't be read ({reason}). Download it again."], str(path)
        ) from error


def _plain(header: object) -> str:
    """A header without the full-width letters, spaces and cases that it may be written with."""
    return " ".join(unicodedata.normalize("NFKC", str(header)).lower().split())


def _word(cell: object) -> str:
    """A cell as text, `2` for 2.0."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return unicodedata.normalize("NFKC", str(cell)).strip()


def _is_empty(cell: object) -> bool:
    return cell is None or _word(cell).lower() in _EMPTY


def _cell(column: str, cell: object, patient: str, flagged: list[str]) -> str | float | None:
    """A cell as a word of its vocabulary, or as a number; what is neither is flagged and empty."""
    if _is_empty(cell):
        return None
    word = _word(cell)
    if column in VOCABULARIES:
        known = VOCABULARIES[column]
        word = _WORDS.get(word.lower(), word)
        found = next((value for value in known if value.lower() == word.lower()), None)
        if found is None:
            flagged.append(
                f"{patient}: {column} {word!r} is none of {', '.join(known)}; it counts as empty"
            )
        return found
    match = re.fullmatch(r"0*(\d+(?:\.\d+)?)\s*(?:y|kg)?", word.lower())
    low, high = _RANGES[column]
    if match is None or not low <= float(match[1]) <= high:
        text = f"{column} {word!r} is no number from {low:g} to {high:g}"
        flagged.append(f"{patient}: {text}; it counts as empty")
        return None
    return float(match[1])
