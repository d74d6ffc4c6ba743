"""Lesion boxes of PASCAL VOC files, one a slice, and the slices of any series that they lie on.

A file is named after the SOPInstanceUID of its slice, and nothing in it says which one. Boxes reach
other reconstructions of the same scan through patient coordinates: position + x * row + y * column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from fusionzoo.data.ct_series import SeriesFacts


@dataclass(frozen=True)
class Box:
    """One lesion on one slice.

    Args:
        left: First column, from 0, in pixels of the slice.
        top: First row.
        right: Last column.
        bottom: Last row.
        label: The letter of the class as the file has it.
    """

    left: float
    top: float
    right: float
    bottom: float
    label: str


@dataclass(frozen=True)
class Annotations:
    """Boxes of a collection.

    Args:
        boxes: Per SOPInstanceUID, in lower case as file names may be.
        problems: Files that can't be used, each with the reason.
        num_files: XML files that were there.
    """

    boxes: Mapping[str, tuple[Box, ...]]
    problems: tuple[str, ...]
    num_files: int


def read_annotations(folder: Path) -> Annotations:
    """All boxes of the XML files below a folder; what can't be used is a problem in the result."""
    paths = sorted(folder.rglob("*.xml"))
    boxes: dict[str, tuple[Box, ...]] = {}
    problems = []
    for path in paths:
        try:
            own = read_boxes(path)
        except ValueError as error:
            problems.append(f"{path.parent.name}/{path.name}: {error}")
            continue
        known = boxes.setdefault(path.stem.lower(), own)
        if known != own:
            problems.append(f"{path.parent.name}/{path.name}: another file has other boxes for it")
    return Annotations(boxes, tuple(problems), len(paths))


def read_boxes(path: Path) -> tuple[Box, ...]:
    """The boxes of one file.

    Raises:
        ValueError: It isn't PASCAL VOC, holds no object, or a box is upside down or outside.
    """
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError("it declares entities, which an annotation has no need of")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f"it is no XML ({error})") from None
    width, height = (_number(root, f"size/{name}") for name in ("width", "height"))
    found = []
    for item in root.iter("object"):
        corners = [_number(item, f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")]
        left, top, right, bottom = corners
        if left >= right or top >= bottom:
            raise ValueError(f"the box {corners} is empty or upside down")
        if left < 0 or top < 0 or right > width or bottom > height:
            raise ValueError(f"the box {corners} leaves the image of {width:g} x {height:g}")
        found.append(Box(left, top, right, bottom, (item.findtext("name") or "").strip().upper()))
    if not found:
        raise ValueError("it holds no object")
    return tuple(found)


def _number(item: ElementTree.Element, name: str) -> float:
    text = item.findtext(name)
    try:
        return float(text or "")
    except ValueError:
        raise ValueError(f"{name} is {text!r}, not a number") from None


def boxes_on(
    series: Sequence[SeriesFacts], boxes: Mapping[str, tuple[Box, ...]]
) -> list[dict[int, tuple[Box, ...]]]:
    """For each series, its slices with boxes.

    A slice has the boxes that name it. Where none does, it has those of slices of other series in
    the same frame of reference that lie within half a slice distance (the larger one of the two),
    moved and scaled to its own pixels. Series that aren't parallel share nothing.

    Args:
        series: Series of a collection; boxes go from one to another of the same patient only.
        boxes: Per SOPInstanceUID.
    """
    direct = [
        {k: boxes[uid.lower()] for k, uid in enumerate(one.sop_uids) if uid.lower() in boxes}
        for one in series
    ]
    related: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, one in enumerate(series):
        if one.frame_uid:
            related[one.patient_id, one.frame_uid].append(index)
    found = [dict(own) for own in direct]
    for group in related.values():
        for to in group:
            for start in group:
                if start != to and _parallel(series[start], series[to]):
                    _carry(series[start], direct[start], series[to], direct[to], found[to])
    return found


def _parallel(one: SeriesFacts, other: SeriesFacts) -> bool:
    return bool(np.allclose(one.orientation, other.orientation, atol=1e-3))


def _carry(
    source: SeriesFacts,
    boxes: Mapping[int, tuple[Box, ...]],
    target: SeriesFacts,
    own: Mapping[int, tuple[Box, ...]],
    found: dict[int, tuple[Box, ...]],
) -> None:
    """Add the boxes of one series to the slices of another that no file of their own names."""
    reach = max(source.spacing_mm[0], target.spacing_mm[0]) / 2 + 1e-3
    for k, there in boxes.items():
        for near in np.flatnonzero(np.abs(target.places_mm - source.places_mm[k]) <= reach):
            if int(near) in own:
                continue
            moved = tuple(_move(box, source, k, target, int(near)) for box in there)
            known = found.get(int(near), ())
            found[int(near)] = known + tuple(box for box in moved if box not in known)


def _move(box: Box, source: SeriesFacts, k: int, target: SeriesFacts, near: int) -> Box:
    """The same box in the pixels of a parallel slice."""
    row, column = np.reshape(source.orientation, (2, 3))
    shift = np.subtract(source.positions_mm[k], target.positions_mm[near])
    low, high = (
        (
            (shift @ row + x * source.spacing_mm[2]) / target.spacing_mm[2],
            (shift @ column + y * source.spacing_mm[1]) / target.spacing_mm[1],
        )
        for x, y in ((box.left, box.top), (box.right, box.bottom))
    )
    left, top, right, bottom = (round(float(number), 3) for number in (*low, *high))
    return Box(left, top, right, bottom, box.label)
