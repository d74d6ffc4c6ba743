"""A data set under other names of its modalities, so that a spec written for another one fits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.errors import BadOption
from fusionzoo.grammar import is_name
from fusionzoo.schema import canonical


class Renamed(AbstractDataset):
    """The same cases; only what the modalities are called differs.

    Args:
        dataset: The data set.
        names: New name to old name; modalities that aren't mentioned keep theirs.

    Raises:
        BadOption: An old name that there isn't, or a new one that isn't free.
    """

    def __init__(self, dataset: AbstractDataset, names: Mapping[str, object]):
        self._inner, self._old = dataset, _checked(dataset, names)
        new = {old: name for name, old in self._old.items()}
        self.spec = replace(
            dataset.spec,
            modalities=tuple(replace(m, name=new[m.name]) for m in dataset.spec.modalities),
        )
        self.about = dataset.about  # type: ignore[misc]  # every other data set has one text
        self.cases, self.groups, self.targets = dataset.cases, dataset.groups, dataset.targets
        self.columns = {new[name]: columns for name, columns in dataset.columns.items()}
        self.given_split, self.given_folds = dataset.given_split, dataset.given_folds
        self.num_folds, self.fold_seed = dataset.num_folds, dataset.fold_seed
        self.warnings = dataset.warnings
        self.preparation = {new[name]: how for name, how in dataset.preparation.items()}
        self.options = {**dataset.options, "rename": dict(names)}

    @property
    def digest(self) -> str:
        """SHA-256 over the data set's own digest and the names."""
        return hashlib.sha256(canonical([self._inner.digest, self._old]).encode()).hexdigest()

    def image(self, modality: str, index: int) -> np.ndarray:
        """One image or volume, as the data set gives it."""
        return self._inner.image(self._old[modality], index)

    def table(self, modality: str) -> pd.DataFrame:
        """The raw table, as the data set gives it."""
        return self._inner.table(self._old[modality])

    def present(self, modality: str) -> np.ndarray:
        """Which cases have this modality."""
        return self._inner.present(self._old[modality])


def _checked(dataset: AbstractDataset, names: Mapping[str, object]) -> dict[str, str]:
    """Every modality's new name with its old one."""
    have = [modality.name for modality in dataset.spec.modalities]
    problems = [f"{new!r} is no name" for new in names if not is_name(new)]
    problems += [f"there is no {old!r}" for old in names.values() if old not in have]
    taken = [*names.values()]
    problems += [
        f"{old!r} gets two names" for old in sorted({*map(str, taken)}) if taken.count(old) > 1
    ]
    kept = [name for name in have if name not in taken]
    problems += [f"{new!r} is another modality already" for new in names if new in kept]
    if not names:
        problems.append("no name is given")
    if problems:
        raise BadOption(
            f"Modalities of data set {dataset.spec.name!r} can't be renamed: "
            f"{'; '.join(problems)}. Write new=old, as in rename({have[0]}_2={have[0]}); "
            f"it has: {', '.join(have)}."
        )
    return {name: name for name in kept} | {new: str(old) for new, old in names.items()}


__all__ = ["Renamed"]
