"""Slices in the order of their place, as one volume with a voxel size, or the reason why not.

A slice's place is the dot product of ImagePositionPatient with the normal, the cross product of the
directions of a row and of a column (DICOM PS3.3 C.7.6.2.1.1). File names and InstanceNumber order
nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fusionzoo.data.dicom_header import SliceHeader, UnusableDicom

#: Distances between neighbours may differ from their median by the larger of these.
SPACING_TOLERANCE_MM, SPACING_TOLERANCE = 0.1, 0.02
#: A distance from here on, in medians, is a gap: a slice is missing.
GAP = 1.5
_COSINES, _PIXELS = 1e-3, 1e-3
#: Raises for a kind, a text and a remedy.
Refuse = Callable[[str, str, str], None]


@dataclass(frozen=True)
class Stack:
    """One series as a volume, whose values are still in the files.

    Args:
        slices: The files, along the normal; for axial slices of a patient from the feet to the
            head.
        spacing_mm: Voxel size (depth, height, width).
        orientation: Directions of a row and of a column.
        positions_mm: Centre of the first pixel of each slice.
    """

    slices: tuple[SliceHeader, ...]
    spacing_mm: tuple[float, float, float]
    orientation: tuple[float, ...]
    positions_mm: tuple[tuple[float, ...], ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(depth, height, width)."""
        return len(self.slices), self.slices[0].rows, self.slices[0].columns

    @property
    def normal(self) -> np.ndarray:
        """Unit vector along which the slices follow each other."""
        return normal_of(self.orientation)

    @cached_property
    def places_mm(self) -> np.ndarray:
        """Distance of each slice from the origin along the normal, ascending."""
        return np.asarray(self.positions_mm) @ self.normal

    def in_file_order(self) -> list[int]:
        """Slices in the order of their paths, as a directory listing gives them."""
        return sorted(range(len(self.slices)), key=lambda k: self.slices[k].path.as_posix())


def normal_of(orientation: Sequence[float]) -> np.ndarray:
    """Cross product of the directions of a row and of a column."""
    return np.cross(orientation[:3], orientation[3:])


def stack(headers: Sequence[SliceHeader], *, min_slices: int = 2) -> Stack:
    """Order the slices of one series, all of which `check_slice` let pass.

    Args:
        headers: Files of one series, in any order.
        min_slices: Fewest slices of a volume.

    Raises:
        UnusableDicom: Slices differ in size, orientation or pixel spacing, lie in one place, leave
            a gap, or are not parallel and evenly spaced; or there are too few.
    """
    headers = _without_copies(headers)
    where = headers[0].path.parent

    def refuse(kind: str, text: str, remedy: str) -> None:
        raise UnusableDicom(where, kind, text, remedy)

    if len(headers) < min_slices:
        text = f"the series has {_slices(len(headers))}, and {min_slices} or more are needed"
        refuse("few slices", text, "Leave it out, or add the missing slices.")
    _refuse_mixture(headers, refuse)
    first = headers[0]
    assert first.orientation is not None
    assert first.pixel_spacing is not None
    positions = np.array([header.position for header in headers])
    places = positions @ normal_of(first.orientation)
    order = sorted(range(len(headers)), key=lambda k: (places[k], headers[k].instance_number or 0))
    positions, places = positions[order], places[order]
    depth_mm = _step(places, refuse)
    _refuse_tilt(positions, places, first, refuse)
    return Stack(
        slices=tuple(headers[k] for k in order),
        spacing_mm=(depth_mm, first.pixel_spacing[0], first.pixel_spacing[1]),
        orientation=first.orientation,
        positions_mm=tuple(tuple(position) for position in positions.tolist()),
    )


def _without_copies(headers: Sequence[SliceHeader]) -> list[SliceHeader]:
    """Each SOPInstanceUID once; two files of one identity and different content are refused."""
    first: dict[str, SliceHeader] = {}
    for header in sorted(headers, key=lambda h: h.path.as_posix()):
        known = first.setdefault(header.sop_uid, header)
        if known is not header and known.path.read_bytes() != header.path.read_bytes():
            text = f"{known.path.name} and {header.path.name} have the same SOPInstanceUID"
            raise UnusableDicom(
                header.path.parent,
                "duplicate slices",
                f"{text} and different content",
                "Find out which one is right and remove the other.",
            )
    return list(first.values())


def _refuse_mixture(headers: Sequence[SliceHeader], refuse: Refuse) -> None:
    kinds = (
        ("sizes", [f"{h.rows} x {h.columns}" for h in headers]),
        ("orientations", _rounded((h.orientation for h in headers), _COSINES)),
        ("pixel spacings", _rounded((h.pixel_spacing for h in headers), _PIXELS)),
        ("frames of reference", [h.frame_uid for h in headers]),
        ("patients", [h.patient_id for h in headers]),
    )
    for what, values in kinds:
        counts = Counter(values)
        if len(counts) > 1:
            told = ", ".join(f"{value} in {_slices(n)}" for value, n in counts.most_common(3))
            more = ", ..." if len(counts) > 3 else ""
            text = f"the series mixes {len(counts)} {what} ({told}{more})"
            refuse("mixed slices", text, "Separate them into series of one geometry.")


def _rounded(values: Iterable[Sequence[float] | None], tolerance: float) -> list[str]:
    """Each value as text, where values that differ by less than the tolerance are the same."""
    told: list[tuple[np.ndarray, str]] = []
    texts = []
    for value in values:
        numbers = np.asarray(value, dtype=float)
        near = next((t for n, t in told if np.abs(n - numbers).max() < tolerance), None)
        if near is None:
            near = "/".join(f"{number:.4g}" for number in numbers)
            told.append((numbers, near))
        texts.append(near)
    return texts


def _step(places: np.ndarray, refuse: Refuse) -> float:
    """The distance between neighbours, which has to be the same all along."""
    steps = np.diff(places)
    step = float(np.median(steps))
    same = np.flatnonzero(steps < 0.01)
    if len(same):
        where = ", ".join(f"{places[k]:.2f}" for k in same[:3])
        more = ", ..." if len(same) > 3 else ""
        share = f"{len(same)} of {len(places)} slices share a place with another"
        text = f"{share}, at {where} mm{more}"
        remedy = "The series holds two acquisitions or copies: separate them."
        refuse("duplicate slices", text, remedy)
    wide = steps.max() >= GAP * step
    worst = int((steps if wide else np.abs(steps - step)).argmax())
    between = f"between {places[worst]:.2f} and {places[worst + 1]:.2f} mm"
    if wide:
        text = f"a gap of {steps[worst]:.2f} mm {between}, where slices are {step:.2f} mm apart"
        refuse("gap", text, "Download the missing slices, or separate the parts.")
    if abs(steps[worst] - step) > max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE * step):
        text = f"slices are {step:.2f} mm apart, but {steps[worst]:.2f} mm {between}"
        refuse("irregular spacing", text, "Resample it to even slices with your own tools.")
    return float((places[-1] - places[0]) / (len(places) - 1))


def _refuse_tilt(
    positions: np.ndarray, places: np.ndarray, first: SliceHeader, refuse: Refuse
) -> None:
    """Slices that slide sideways, as those of a tilted gantry, make no box of voxels."""
    assert first.orientation is not None
    assert first.pixel_spacing is not None
    normal = normal_of(first.orientation)
    sideways = positions - positions[0] - np.outer(places - places[0], normal)
    slide = float(np.linalg.norm(sideways, axis=1).max())
    if slide > max(1.0, *first.pixel_spacing):
        text = f"the slices slide sideways by {slide:.1f} mm: the gantry was tilted"
        refuse("tilted slices", text, "Resample it to an upright box with your own tools.")


def _slices(count: int) -> str:
    return f"{count} slice{'s' * (count != 1)}"
