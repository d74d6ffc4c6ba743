"""One CT series, wherever its values are: in DICOM files or in a prepared cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fusionzoo.data.dicom_geometry import Stack, normal_of
from fusionzoo.data.dicom_pixels import rescale, rescaling, stored_values
from fusionzoo.schema import canonical


@dataclass(frozen=True)
class SeriesFacts:
    """Everything about a series but its values; slices go along the normal.

    Args:
        patient_id: Whose series it is; with `study_uid`, `series_uid`, `frame_uid` (frame of
            reference), `description` and `manufacturer`.
        transfer_syntax: UID of how the first slice was encoded.
        shape: (depth, height, width).
        spacing_mm: Voxel size in the same order.
        orientation: Directions of a row and of a column.
        positions_mm: Centre of the first pixel of each slice.
        sop_uids: Identity of each slice.
        slopes: HU = slope * stored + intercept, per slice.
        intercepts: The other half of it.
        file_order: Slices in the order of their files' names.
    """

    patient_id: str
    study_uid: str
    series_uid: str
    frame_uid: str
    description: str
    manufacturer: str
    transfer_syntax: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    positions_mm: tuple[tuple[float, ...], ...]
    sop_uids: tuple[str, ...]
    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]
    file_order: tuple[int, ...]

    @cached_property
    def places_mm(self) -> np.ndarray:
        """Distance of each slice from the origin along the normal, ascending."""
        return np.asarray(self.positions_mm) @ normal_of(self.orientation)

    @property
    def axial(self) -> bool:
        """Whether slices follow each other from feet to head, with x to the left, y to the back."""
        straight = np.abs(np.asarray(self.orientation) - (1, 0, 0, 0, 1, 0)).max()
        return bool(straight < 0.2)


@dataclass(frozen=True)
class Series:
    """A series whose values are read when they are asked for.

    Args:
        facts: What is known of it.
        read: Gives the stored values of some slices, integers `(slices, height, width)`.
        values_sha256: Digest of all stored values, where it is known without reading them.
    """

    facts: SeriesFacts
    read: Callable[[Sequence[int]], np.ndarray]
    values_sha256: str | None = None

    def hounsfield(self, chosen: Sequence[int] | None = None) -> np.ndarray:
        """HU of some slices, or of all, float32 `(slices, height, width)`."""
        chosen = range(self.facts.shape[0]) if chosen is None else chosen
        stored = self.read(chosen)
        values = np.empty(stored.shape, dtype=np.float32)
        for k, before, after in zip(chosen, stored, values, strict=True):
            rescale(before, self.facts.slopes[k], self.facts.intercepts[k], out=after)
        return values

    def raw(self, chosen: Sequence[int]) -> np.ndarray:
        """Stored values in the order of file names, float32, as the released preprocessing has."""
        order = self.facts.file_order
        return self.read([order[k] for k in chosen]).astype(np.float32)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over values, geometry and identity, the same for files and cache."""
        values = self.values_sha256 or sha256_of(self.read(range(self.facts.shape[0])))
        return hashlib.sha256(f"{canonical(self.facts)}\n{values}".encode()).hexdigest()


def series_of(found: Stack) -> Series:
    """The series of some DICOM files."""
    return Series(facts_of(found), lambda chosen: stored_values(found, chosen))


def facts_of(found: Stack) -> SeriesFacts:
    """What a series' files say of it."""
    first = found.slices[0]
    rescalings = [rescaling(header) for header in found.slices]
    return SeriesFacts(
        patient_id=first.patient_id,
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        frame_uid=first.frame_uid,
        description=first.description,
        manufacturer=first.manufacturer,
        transfer_syntax=first.transfer_syntax,
        shape=found.shape,
        spacing_mm=found.spacing_mm,
        orientation=found.orientation,
        positions_mm=found.positions_mm,
        sop_uids=tuple(header.sop_uid for header in found.slices),
        slopes=tuple(slope for slope, _ in rescalings),
        intercepts=tuple(intercept for _, intercept in rescalings),
        file_order=tuple(found.in_file_order()),
    )


def sha256_of(values: np.ndarray) -> str:
    """Digest of stored values: their type and bytes, little-endian, row by row."""
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    told = hashlib.sha256(plain.dtype.str.encode())
    told.update(plain.data.cast("B"))
    return told.hexdigest()
