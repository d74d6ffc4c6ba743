"""Reads one DICOM series, a folder or a file, as a volume in HU with its geometry.

What a volume needs and the files don't say is refused, never made up: `dicom_rules` and
`dicom_geometry` hold the reasons.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusionzoo.data.dicom_geometry import Stack
from fusionzoo.data.dicom_header import SliceHeader, UnusableDicom, read_slice_header
from fusionzoo.data.dicom_pixels import hounsfield, stored_values
from fusionzoo.data.dicom_rules import check_slice
from fusionzoo.data.dicom_series import find_files, sort_into_series

#: Suffixes of DICOM files that have one.
SUFFIXES = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True)
class Volume:
    """One series.

    Args:
        values: float32 `(depth, height, width)`, in HU for CT.
        spacing_mm: Voxel size (depth, height, width).
        orientation: Directions of a row and of a column, six cosines: x to the left, y to the
            back, z to the head.
        position_mm: Centre of the first voxel.
    """

    values: np.ndarray
    spacing_mm: tuple[float, float, float]
    orientation: tuple[float, ...]
    position_mm: tuple[float, ...]


def read_series(
    path: Path | str, *, modality: str | None = "CT", raw_stored_values: bool = False
) -> Volume:
    """The one series in a folder (at any depth), or the one that a file belongs to.

    Args:
        path: A folder, or a file, whose series is searched in the same folder.
        modality: The only modality to take; None takes any, without asking for HU.
        raw_stored_values: Give stored values without slope and intercept, in the order of the file
            names, as the released preprocessing of MMCAF-Net does. This is not CT in HU, and the
            volume may stand on its head.

    Raises:
        UnusableDicom: There is no series, or several, or it can't be used.
        MissingExtra: pydicom is not installed.
    """
    found = open_series(Path(path), modality=modality)
    order = found.in_file_order() if raw_stored_values else list(range(len(found.slices)))
    values = stored_values(found, order) if raw_stored_values else hounsfield(found)
    return Volume(
        values.astype(np.float32, copy=False),
        found.spacing_mm,
        found.orientation,
        found.positions_mm[order[0]],
    )


def open_series(path: Path, *, modality: str | None = "CT", derived: bool = True) -> Stack:
    """The one series in a folder or around a file, with its values unread.

    Raises:
        UnusableDicom: There is no series, or several, or it can't be used.
    """
    if path.is_dir():
        headers = _headers(path)
        _refuse_several(path, headers)
    else:
        own = read_slice_header(path)
        check_slice(own, modality=modality, derived=derived)
        near = _headers(path.parent)
        headers = [h for h in near if h.series_uid == own.series_uid]
    stacks, aside = sort_into_series(headers, modality=modality, derived=derived, min_slices=2)
    if stacks:
        return stacks[0]
    why = next((a for a in aside if a.kind != "incomplete series"), None)
    if why is None:
        text = "the folder holds no DICOM image"
        raise UnusableDicom(path, "no DICOM file", text, "Name the folder of one series.")
    place = "" if why.where == path else f"{why.where.name}: "
    raise UnusableDicom(path, why.kind, f"{place}{why.text}", why.remedy)


def turned_to_head(values: np.ndarray, found: Stack) -> tuple[np.ndarray, tuple[float, ...]]:
    """A volume with z to the head, y to the back and x to the left, and its voxel size.

    Axes are swapped and flipped, never resampled: an oblique volume keeps its axes, named after
    the nearest ones. Axial series of a patient who lies on the back stay as they are.
    """
    row, column = np.reshape(found.orientation, (2, 3))
    axes = np.stack([found.normal, column, row])[:, ::-1]  # of depth, height, width in (z, y, x)
    order = _nearest_axes(axes)
    values = values.transpose(order)
    flips = tuple(k for k, axis in enumerate(order) if axes[axis, k] < 0)
    return np.flip(values, flips), tuple(found.spacing_mm[axis] for axis in order)


def is_dicom(path: Path) -> bool:
    """Whether a path is to be read as DICOM: a folder, or a file that begins as DICOM files do."""
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def dicom_header(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Size and voxel size in mm of a series of any modality, (depth, height, width).

    Raises:
        UnusableDicom: There is no series, or several, or it can't be used.
        MissingExtra: pydicom is not installed.
    """
    found = open_series(path, modality=None)
    unread = np.broadcast_to(np.int8(0), found.shape)
    turned, spacing_mm = turned_to_head(unread, found)
    return turned.shape, spacing_mm


def dicom_values(path: Path) -> np.ndarray:
    """The values of a series, float32 `(depth, height, width)`, turned to the head."""
    found = open_series(path, modality=None)
    return turned_to_head(hounsfield(found), found)[0]


def dicom_sha256(path: Path) -> str:
    """Digest of a series' values and voxel size: the same whatever names and identities it has."""
    found = open_series(path, modality=None)
    told = hashlib.sha256(repr(found.spacing_mm).encode())
    told.update(hounsfield(found).astype("<f4", copy=False).data.cast("B"))
    return told.hexdigest()


def _nearest_axes(axes: np.ndarray) -> list[int]:
    """Which axis of the volume is nearest to each of z, y, x; each is used once."""
    sizes = np.abs(axes)
    order = [-1, -1, -1]
    for _ in range(3):
        axis, direction = np.unravel_index(int(sizes.argmax()), sizes.shape)
        order[int(direction)] = int(axis)
        sizes[axis, :] = sizes[:, direction] = -1
    return order


def _headers(folder: Path) -> list[SliceHeader]:
    headers = []
    for path in find_files(folder):
        try:
            headers.append(read_slice_header(path))
        except UnusableDicom as error:
            if error.kind != "no DICOM file":
                raise
    return headers


def _refuse_several(path: Path, headers: list[SliceHeader]) -> None:
    counts: dict[str, int] = {}
    for header in headers:
        counts[header.series_uid] = counts.get(header.series_uid, 0) + 1
    if len(counts) > 1:
        told = ", ".join(f"{uid} with {n} files" for uid, n in list(counts.items())[:3])
        more = ", ..." if len(counts) > 3 else ""
        text = f"the folder holds {len(counts)} series ({told}{more})"
        remedy = "Name the folder of one series, or one of its files."
        raise UnusableDicom(path, "several series", text, remedy)
