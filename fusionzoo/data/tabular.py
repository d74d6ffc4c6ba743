"""From table rows to numbers: imputation, scaling and one-hot columns, fitted on training rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from fusionzoo.data.dataset import AbstractDataset, TableColumns
from fusionzoo.errors import DataError, nearest

#: Problems that one error lists before it counts the rest.
MAX_LISTED = 20


@dataclass(frozen=True)
class TableEncoder:
    """A table's columns as numbers, by what the training rows say.

    `(x - offset) / scale` of numeric columns comes first, then flags of missing numbers, then
    one-hot columns. Built by `fit`. An empty number becomes the training median, an empty category
    a one-hot of zeros. A number that never changes in the training rows is encoded with scale 1.
    Numbers outside the training range are not clipped.

    Args:
        columns: Roles of the columns.
        median: Per numeric column, the median of the training rows.
        offset: Per numeric column, what becomes 0: mean (`standard`) or middle of the range
            (`minmax`).
        scale: Per numeric column, what becomes 1: deviation (`standard`) or half of the range
            (`minmax`).
    """

    columns: TableColumns
    median: tuple[float, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, frame: pd.DataFrame, columns: TableColumns) -> TableEncoder:
        """Learn medians, offsets and scales from training rows.

        Offset and scale are taken after empty cells became the median.

        Raises:
            DataError: A column is absent or has no number at all, or a cell can't be read.
        """
        numbers, _ = _read(frame, columns)
        empty = [
            f"column {name!r} has no number in the {len(frame)} training rows. Leave it out."
            for name, values in zip(columns.numeric, numbers.T, strict=True)
            if np.isnan(values).all()
        ]
        if empty:
            raise DataError(empty, "the table")
        if not columns.numeric:
            return cls(columns, (), (), ())
        median = np.nanmedian(numbers, axis=0)
        filled = np.where(np.isnan(numbers), median, numbers)
        low, high = filled.min(axis=0), filled.max(axis=0)
        offset, scale = np.zeros_like(median), np.ones_like(median)
        if columns.scale == "standard":
            offset, scale = filled.mean(axis=0), filled.std(axis=0)
        elif columns.scale == "minmax":
            offset, scale = (low + high) / 2, (high - low) / 2
        scale = np.where((low == high) | (scale == 0), 1.0, scale)
        return cls(columns, *(tuple(values.tolist()) for values in (median, offset, scale)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the encoded columns: `age`, `age:missing`, `sex=F`."""
        flags = self.columns.numeric if self.columns.missing == "median+flag" else ()
        one_hot = [
            f"{name}={value}"
            for name, values in self.columns.categorical.items()
            for value in values
        ]
        return (*self.columns.numeric, *(f"{name}:missing" for name in flags), *one_hot)

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode rows: float32 `(cases, columns.num_encoded)`.

        Raises:
            DataError: A column is absent, or a cell is a word where a number is wanted, infinite,
            of an unknown
                category, or empty where `missing` is `refuse`; all of them with row, column and
                value.
        """
        numbers, codes = _read(frame, self.columns)
        missing = np.isnan(numbers)
        scaled = (np.where(missing, self.median, numbers) - self.offset) / np.asarray(self.scale)
        parts = [scaled]
        if self.columns.missing == "median+flag":
            parts.append(missing.astype(np.float64))
        for values, code in zip(self.columns.categorical.values(), codes.T, strict=True):
            parts.append((code[:, None] == np.arange(len(values))).astype(np.float64))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def to_json(self) -> str:
        """Everything that was fitted, as JSON; `from_json` gives an equal encoder."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> TableEncoder:
        """The encoder that `to_json` wrote.

        Raises:
            DataError: The text is something else.
        """
        try:
            read = json.loads(text)
            columns = dict(read["columns"])
            columns["numeric"] = tuple(columns["numeric"])
            columns["categorical"] = {name: tuple(v) for name, v in columns["categorical"].items()}
            fitted = [tuple(float(x) for x in read[name]) for name in ("median", "offset", "scale")]
            return cls(TableColumns(**columns), *fitted)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                [f"no table encoder can be read from {text[:60]!r}: {error}"]
            ) from error


def fit_encoders(dataset: AbstractDataset, train: np.ndarray) -> dict[str, TableEncoder]:
    """One encoder per table modality, fitted on the rows `train` that have this modality."""
    encoders = {}
    for name, columns in dataset.columns.items():
        rows = train[dataset.present(name)[train]]
        encoders[name] = TableEncoder.fit(dataset.table(name).iloc[rows], columns)
    return encoders


def _read(frame: pd.DataFrame, columns: TableColumns) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (NaN where empty) and category codes (-1 where empty)."""
    wanted = (*columns.numeric, *columns.categorical)
    absent = [
        f"column {name!r} is not in the table. {nearest(name, map(str, frame.columns))}"
        f"It has: {', '.join(map(str, frame.columns))}."
        for name in wanted
        if name not in frame.columns
    ]
    if absent:
        raise DataError(absent, "the table")
    problems: list[str] = []
    numbers = np.full((len(frame), len(columns.numeric)), np.nan)
    codes = np.full((len(frame), len(columns.categorical)), -1)
    for k, name in enumerate(columns.numeric):
        numbers[:, k] = _numbers(frame[name], problems)
    for k, (name, values) in enumerate(columns.categorical.items()):
        codes[:, k] = _codes(frame[name], values, problems)
    if columns.missing == "refuse":
        for name in wanted:
            problems += [
                f"row {row}, column {name!r}: the cell is empty. Fill it in, or let the table have "
                "missing: median."
                for row in frame.index[frame[name].isna()]
            ]
    if problems:
        rest = len(problems) - MAX_LISTED
        problems[MAX_LISTED:] = [f"and {rest} more like these"] if rest > 0 else []
        raise DataError(problems, "the table")
    return numbers, codes


def _numbers(column: pd.Series, problems: list[str]) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = (np.isnan(numbers) & ~column.isna().to_numpy()) | np.isinf(numbers)
    problems += [
        f"row {row}, column {column.name!r}: {value!r} is not a finite number. "
        "Write a number, or leave the cell empty."
        for row, value in column[wrong].items()
    ]
    return numbers


def _codes(column: pd.Series, values: Sequence[str], problems: list[str]) -> np.ndarray:
    code = {value: k for k, value in enumerate(values)}
    words = [
        None if empty else _word(cell) for cell, empty in zip(column, column.isna(), strict=True)
    ]
    problems += [
        f"row {row}, column {column.name!r}: {word!r} is no known category. {nearest(word, values)}"
        f"Known: {', '.join(values)}."
        for row, word in zip(column.index, words, strict=True)
        if word is not None and word not in code
    ]
    return np.array([-1 if word is None else code.get(word, -1) for word in words], dtype=np.int64)


def _word(cell: object) -> str:
    """A category as text: '2' for 2.0, which a column of whole numbers with empty cells holds."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


__all__ = ["TableEncoder", "fit_encoders"]
