"""Which columns hold paths of images, and what the files are, by opening a few of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fusionzoo.data.cells import is_empty
from fusionzoo.data.guesses.columns import known_cells, number
from fusionzoo.data.guesses.said import Said
from fusionzoo.data.images import (
    ARRAYS,
    NIFTI,
    PICTURES,
    Header,
    Kind,
    read_header,
    read_image,
    suffix,
)
from fusionzoo.data.nifti import SPACING_TOLERANCE
from fusionzoo.data.rows import Rows
from fusionzoo.data.unreadable import UnreadableImage

SUFFIXES = (*ARRAYS, *NIFTI, *PICTURES, ".dcm")
#: Files that are opened per column, the share of cells that must look like paths, the largest side
#: of a picture that is kept, and the voxels above which a volume is called large.
OPENED, PATHS, LARGEST_PICTURE, LARGE = 8, 0.8, 512, 128**3
#: Below this, a volume's smallest value is taken for HU.
HU = -500.0


@dataclass(frozen=True)
class ImageGuess:
    """One image modality.

    Args:
        name: Its name.
        column: Its column.
        keys: Per key of the yaml, its value.
        reasons: Per key that was guessed, why.
    """

    name: str
    column: str
    keys: dict[str, object]
    reasons: dict[str, str] = field(default_factory=dict)


def guess_images(rows: Rows, said: Said, folder: Path) -> tuple[ImageGuess, ...]:
    """Every image modality: those that were said, or else each column of paths."""
    named = dict(said.images)
    if not named:
        for column in rows.columns:
            if column not in said.columns and _holds_paths(rows, column, folder):
                named[_modality(column, named)] = column
    return tuple(_image(rows, name, column, said, folder) for name, column in named.items())


def _holds_paths(rows: Rows, column: str, folder: Path) -> bool:
    known = known_cells(rows, column)
    pathlike = [suffix(Path(cell)) in SUFFIXES for cell in known]
    if known and sum(pathlike) >= PATHS * len(known):
        return True
    some = known[:OPENED]
    return bool(some) and all(number(cell) is None and _is_there(folder / cell) for cell in some)


def _is_there(path: Path) -> bool:
    """Whether a cell, which may be anything, is the path of a file or folder."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _modality(column: str, taken: Iterable[str]) -> str:
    """`ct` of `ct_path`, `image` of `file_name`."""
    words = [word for word in re.split(r"[^a-z0-9]+", column.lower()) if word]
    kept = [word for word in words if word not in ("path", "file", "filename", "name", "filepath")]
    name = "_".join(kept) or "image"
    name = name if name[0].isalpha() and name != "table" else f"image_{name}"
    while name in taken:
        name += "_2"
    return name


def _image(rows: Rows, name: str, column: str, said: Said, folder: Path) -> ImageGuess:
    keys: dict[str, object] = {"column": column}
    reasons = {} if name in said.images else {"column": "its cells are paths of files"}
    cells = known_cells(rows, column)
    some = cells[:: max(1, len(cells) // OPENED)][:OPENED]
    paths = [folder / cell for cell in some if _is_there(folder / cell)]
    kinds = [kind for kind in map(_kind, paths) if kind is not None]
    kind: Kind = Counter(kinds).most_common(1)[0][0] if kinds else _by_suffix(cells)
    keys["kind"] = said.kinds.get(name, kind)
    if name not in said.kinds:
        found = f"{kinds.count(kind)} of {len(paths)} files opened are"
        reasons["kind"] = found if kinds else "NOT SURE: no file could be opened"
    describe = _volume if keys["kind"] == "volume" else _picture
    more, why = describe(paths, keys["kind"])  # type: ignore[arg-type]
    keys |= more
    reasons |= why
    lacking = sum(is_empty(cell) for cell in rows.cells[column])
    if lacking:
        keys["optional"] = True
        reasons["optional"] = f"{lacking} cells are empty"
    return ImageGuess(name, column, keys, reasons)


def _by_suffix(cells: Sequence[str]) -> Kind:
    return "rgb" if cells and suffix(Path(cells[0])) in PICTURES else "volume"


def _kind(path: Path) -> Kind | None:
    """The first kind that a file can be read as; None where there is none."""
    is_picture = suffix(path) in PICTURES
    order: tuple[Kind, ...] = ("gray", "rgb") if is_picture else ("rgb", "volume", "gray")
    for kind in order:
        try:
            (read_image if is_picture else read_header)(path, kind)
        except UnreadableImage:
            continue
        return kind
    return None


def _picture(paths: Sequence[Path], kind: Kind) -> tuple[dict[str, object], dict[str, str]]:
    sizes = [header.size for _, header in _headers(paths, kind)]
    if not sizes:
        return {"size": 224}, {"size": "NOT SURE: no file could be opened"}
    same = len(set(sizes)) == 1
    if same and max(sizes[0]) <= LARGEST_PICTURE:
        return {"size": list(sizes[0])}, {"size": f"that of {len(sizes)} files opened"}
    shown = " to ".join("x".join(map(str, size)) for size in sorted({min(sizes), max(sizes)}))
    return {"size": 224}, {"size": f"files are {shown}; all are resized to this"}


def _volume(paths: Sequence[Path], kind: Kind) -> tuple[dict[str, object], dict[str, str]]:
    found = _headers(paths, kind)
    if not found:
        return {"size": 64}, {"size": "NOT SURE: no file could be opened"}
    keys: dict[str, object] = {}
    reasons: dict[str, str] = {}
    sizes = np.array([header.size for _, header in found])
    spacings = [header.spacing_mm for _, header in found]
    if None not in spacings:
        known = np.array(spacings, dtype=float)
        if not np.allclose(known, known[0], rtol=SPACING_TOLERANCE, atol=0):
            middle = [float(f"{value:.2g}") for value in np.median(known, axis=0)]
            keys["spacing"] = middle
            reasons["spacing"] = "voxel sizes differ between files; the median in mm"
            sizes = np.rint(sizes * known / middle).astype(int)
    size = [int(-(-most // 8) * 8) for most in sizes.max(axis=0)]
    keys["size"] = size
    reasons["size"] = f"the largest of {len(found)} files opened, up to a multiple of 8"
    if int(np.prod(size)) > LARGE:
        reasons["size"] += "; LARGE: a smaller one crops at the centre, 'fit: resize' shrinks"
    low, high = _range(found, kind)
    if low < HU:
        keys["window"] = [-1000, 400]
        reasons["window"] = f"values from {low:.4g} to {high:.4g} look like HU; black and white"
    elif low < 0 or high > 1:
        keys["window"] = [float(f"{low:.4g}"), float(f"{high:.4g}")]
        reasons["window"] = "NOT SURE: the middle 99 % of the values of a few files become 0..1"
    return keys, reasons


def _headers(paths: Sequence[Path], kind: Kind) -> list[tuple[Path, Header]]:
    found = []
    for path in paths:
        try:
            found.append((path, read_header(path, kind)))
        except UnreadableImage:
            continue
    return found


def _range(found: Sequence[tuple[Path, Header]], kind: Kind) -> tuple[float, float]:
    """The middle 99 % of the values of up to three files."""
    limits = []
    for path, _ in found[:3]:
        try:
            limits.append(np.percentile(read_image(path, kind).values, [0.5, 99.5]))
        except UnreadableImage:
            continue
    if not limits:
        return 0.0, 1.0
    low, high = np.array(limits).T
    return float(low.min()), float(high.max())
