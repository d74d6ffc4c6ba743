"""A data set in memory: a DataFrame with columns of numbers, categories and paths."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fusionzoo.data.cells import is_empty
from fusionzoo.data.dataset import AbstractDataset, TableColumns
from fusionzoo.data.image_files import ImageFiles
from fusionzoo.data.paths import Folder
from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import ImageRole
from fusionzoo.spec import DataSpec, Modality, TaskSpec

#: Name of the table modality.
TABLE = "table"


class FrameDataset(AbstractDataset):
    """Cases of a DataFrame, one a row, with one task.

    Args:
        frame: The columns that the roles name; its index names the cases.
        columns: Roles of the table's columns; None where there is no table.
        images: Image modalities, whose columns hold paths.
        root: Folder that paths are relative to and may not leave.
        task: What is predicted.
        codes: Class code of each row; None where it isn't known.
        groups: Patient of each row; each row its own where not given.

    Raises:
        DataError: Files that are absent or can't be read, all at once, by the place of their row.
    """

    about: ClassVar[str] = "A DataFrame in memory."

    def __init__(
        self,
        frame: pd.DataFrame,
        *,
        columns: TableColumns | None,
        images: Sequence[ImageRole],
        root: Path,
        task: TaskSpec,
        codes: np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ):
        count = len(frame)
        self._frame = frame.reset_index(drop=True)
        self.cases = tuple(map(str, range(count)))
        self.groups = np.asarray(self.cases if groups is None else groups).astype(str)
        self.columns = {} if columns is None else {TABLE: columns}
        self.targets = {
            task.name: np.full(count, -1, dtype=np.int64) if codes is None else np.asarray(codes)
        }
        self._images = self._opened(images, root)
        table = [] if columns is None else [Modality(TABLE, "table", columns.num_encoded)]
        self.spec = DataSpec("frame", (*(role.modality for role in images), *table), (task,))

    @cached_property
    def digest(self) -> str:
        """Not defined: a run that is recorded needs a manifest."""
        raise NotImplementedError("a DataFrame in memory has no digest")

    def image(self, modality: str, index: int) -> np.ndarray:
        """One image or volume, float32 `(channels, *size)`; zeros where the row has none."""
        return self._images[modality].image(index)

    def table(self, modality: str) -> pd.DataFrame:
        """The table's columns as they were given."""
        columns = self.columns[modality]
        return self._frame[[*columns.numeric, *columns.categorical]].copy()

    def present(self, modality: str) -> np.ndarray:
        """Which rows have this modality: an image is absent where its cell is empty."""
        if modality not in self._images:
            return super().present(modality)
        return np.array([path is not None for path in self._images[modality].paths], dtype=bool)

    def _opened(self, images: Sequence[ImageRole], root: Path) -> dict[str, ImageFiles]:
        problems, folder = Problems(), Folder(root)
        found = {}
        for role in images:
            cells = ["" if pd.isna(cell) else str(cell) for cell in self._frame[role.column]]
            paths = [
                None
                if is_empty(cell)
                else folder.find(cell, role.column, row, problems, folders=role.kind == "volume")
                for row, cell in enumerate(cells)
            ]
            files = ImageFiles(role, self.cases, range(len(cells)), paths, None)
            files.check(problems, Problems(), full=False)
            found[role.name] = files
        problems.refuse("the DataFrame (rows are counted from 0)")
        return found
