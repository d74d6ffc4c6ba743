"""Your own data: a manifest with one row a case, and a `dataset.yaml` that says what it holds.

Source: the data's owner; docs/own_data.md shows the format and lists every error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fusionzoo.data.checked import Check, read_checked
from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import Roles
from fusionzoo.data.rows import Rows
from fusionzoo.spec import DataSpec, Modality


class Manifest(AbstractDataset):
    """Cases of a CSV, TSV, JSONL or Parquet file, with the roles of a `dataset.yaml`.

    Nothing is guessed: a column without a role is not used, and a volume without a voxel size is
    not resampled. What looks odd but can be used is in `warnings`. `roles` holds the yaml, its text
    included, and `num_folds` and `fold_seed` follow it where it says how folds are to be made.

    Args:
        path: The `dataset.yaml`, or the manifest with a `dataset.yaml` beside it.
        roles: The yaml, where it is not beside the manifest.
        root: Folder that the files' paths are relative to and may not leave; the yaml's `root:`, or
            else the manifest's own folder, where not given.
        predict: Read new cases: no targets, no split, and all else as strictly as ever.
        check: `full` decodes every image at once; `headers` reads what stands in front of the
            values, and values when they are used; `auto` is `full` up to 2 GiB of files.
        cache_gib: Prepared images are kept in memory where all of them need no more than this.
        optional: Images that a case may be without, beside those that the yaml calls optional.

    Raises:
        DataError: Everything that is wrong, each with its row, column, value and remedy.
        MissingExtra: A package that reads a format is not installed.
    """

    about: ClassVar[str] = "Your own data. Its terms are yours to know."

    def __init__(
        self,
        *,
        path: str | Path,
        roles: str | Path | None = None,
        root: str | Path | None = None,
        predict: bool = False,
        check: Check = "auto",
        cache_gib: float = 1.0,
        optional: Sequence[str] = (),
    ):
        problems, warnings = Problems(), Problems()
        read = read_checked(
            Path(path),
            problems,
            warnings,
            roles=None if roles is None else Path(roles),
            root=None if root is None else Path(root),
            predict=predict,
            check=check,
            cache_gib=cache_gib,
            optional=optional,
        )
        problems.refuse(str(path if read is None else read.manifest))
        assert read is not None
        self.roles, self._cases, self._images = read.roles, read.cases, read.images
        self.warnings: tuple[str, ...] = warnings.lines()
        self._describe(read.manifest, read.rows, predict)

    def _describe(self, manifest: Path, rows: Rows, predict: bool) -> None:
        cases, roles = self._cases, self.roles
        tables = [
            Modality(name, "table", columns.num_encoded) for name, columns in roles.tables.items()
        ]
        self.spec = DataSpec(
            name=roles.name or manifest.absolute().parent.name,
            modalities=(*(role.modality for role in roles.images), *tables),
            tasks=tuple(role.task for role in roles.targets),
        )
        self.cases = cases.ids
        self.groups = cases.groups
        self.columns = roles.tables
        self.given_split, self.given_folds = cases.split, cases.folds
        if roles.split is not None and roles.split.scheme is not None:
            self.num_folds, self.fold_seed = roles.split.num_folds, roles.split.seed
        unknown = np.full(len(rows), -1, dtype=np.int64)
        self.targets = {
            r.name: unknown if predict else cases.targets[r.name] for r in roles.targets
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 over cases, groups, targets, split, tables, files and their preparation.

        The order of rows, the names of files and columns that no role uses don't change it.
        """
        hashes = {name: files.hashes for name, files in self._images.items()}
        tables = {name: frame.to_dict("list") for name, frame in self._cases.tables.items()}
        whole = hashlib.sha256(_preparation(self.roles).encode())
        for index in sorted(range(len(self.cases)), key=lambda i: self.cases[i]):
            entry = {
                "case": self.cases[index],
                "group": str(self.groups[index]),
                "part": None if self._cases.parts is None else str(self._cases.parts[index]),
                "targets": {name: int(codes[index]) for name, codes in self.targets.items()},
                "tables": {
                    name: {column: _plain(values[index]) for column, values in columns.items()}
                    for name, columns in tables.items()
                },
                "images": {name: found[index] for name, found in hashes.items()},
                "spacing": {n: found[index] for n, found in self._cases.spacings.items()},
            }
            whole.update(json.dumps(entry, sort_keys=True).encode())
        return whole.hexdigest()

    def image(self, modality: str, index: int) -> np.ndarray:
        """One image or volume, float32 `(channels, *size)`; zeros where the case has none."""
        return self._images[modality].image(index)

    def table(self, modality: str) -> pd.DataFrame:
        """The raw table: columns of float64 or objects, NaN or None where a cell is empty."""
        return self._cases.tables[modality].copy()

    def present(self, modality: str) -> np.ndarray:
        """Which cases have this modality: an optional image is absent where its cell is empty."""
        if modality not in self._images:
            return super().present(modality)
        return np.array([path is not None for path in self._images[modality].paths], dtype=bool)


def _preparation(roles: Roles) -> str:
    """What the roles do to the content of the cases, without the columns' names of files."""
    images = [asdict(role) for role in roles.images]
    for image in images:
        for name in ("column", "spacing_column", "optional"):
            del image[name]
    tables = {name: asdict(columns) for name, columns in roles.tables.items()}
    targets = [[role.name, role.classes] for role in roles.targets]
    return json.dumps([images, tables, targets], sort_keys=True)


def _plain(cell: object) -> object:
    """A cell as JSON: None for an empty one."""
    return None if isinstance(cell, float) and np.isnan(cell) else cell
