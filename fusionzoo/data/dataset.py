"""What a data set is: cases with patients, targets, images, table rows, and their origin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from fusionzoo.spec import DataSpec


@dataclass(frozen=True)
class TableColumns:
    """Roles of a table's columns; all that is fitted is fitted later, on the training part.

    Args:
        numeric: Columns that hold numbers.
        categorical: Columns that hold one of the listed values, one-hot encoded in this order.
        missing: What an empty cell becomes: the training median (or an all-zero one-hot), the same
            with one 0/1 flag column per numeric column, or an error.
        scale: `standard` to zero mean and unit deviation, `minmax` to [-1, 1], `none`; numeric
            columns only.
    """

    numeric: tuple[str, ...] = ()
    categorical: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Literal["median", "median+flag", "refuse"] = "median"
    scale: Literal["standard", "minmax", "none"] = "standard"

    @property
    def num_encoded(self) -> int:
        """Columns after encoding, known before anything is fitted."""
        flags = len(self.numeric) if self.missing == "median+flag" else 0
        return len(self.numeric) + flags + sum(len(values) for values in self.categorical.values())


class AbstractDataset(ABC):
    """Cases of one collection.

    A subclass takes keyword options (and a `root` where it reads user files), checks everything it
    can at construction and raises one `DataError` with all problems. Rows of all arrays are in the
    order of `cases`.
    """

    #: Where the data come from and what their licence asks, in a few lines.
    about: ClassVar[str] = ""

    spec: DataSpec
    cases: tuple[str, ...]
    #: Patient of each case; no patient is ever in two parts of a split.
    groups: np.ndarray
    #: Per task, int64 class codes; -1 where the label is missing.
    targets: Mapping[str, np.ndarray]
    #: Per table modality, its columns' roles.
    columns: Mapping[str, TableColumns]
    #: A split that comes with the data: 'train', 'val' or 'test' per case, or fold numbers; None
    #: where there is none.
    given_split: np.ndarray | None = None
    given_folds: np.ndarray | None = None
    #: Folds to make where the data come without, and the seed that draws them.
    num_folds: int = 5
    fold_seed: int = 0
    #: What looks odd but can be used.
    warnings: tuple[str, ...] = ()
    #: Per image, what a `dataset.yaml` says of it beside kind and size, so that pictures of new
    #: cases become the same; None where it can't say so.
    preparation: Mapping[str, Mapping[str, object] | None] = MappingProxyType({})
    #: Options that it was opened with.
    options: Mapping[str, object] = MappingProxyType({})

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 over everything the cases hold (content, not paths), as hex."""

    @abstractmethod
    def image(self, modality: str, index: int) -> np.ndarray:
        """One image or volume, float32 `(channels, *size)`, scaled, not augmented."""

    @abstractmethod
    def table(self, modality: str) -> pd.DataFrame:
        """The raw table, one row a case, empty cells as NaN or None."""

    def present(self, modality: str) -> np.ndarray:
        """Which cases have this modality; all of them, unless a data set says otherwise."""
        return np.ones(len(self.cases), dtype=bool)
