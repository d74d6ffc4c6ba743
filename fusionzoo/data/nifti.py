"""Reads NIfTI volumes in the order of an axial DICOM series, with the geometry that they state.

Axes are (z, y, x), with z towards the head, y towards the back and x towards the patient's left,
whatever order the file has. An oblique volume keeps its own axes, named after the nearest ones.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from fusionzoo.data.unreadable import UnreadableImage, decoding
from fusionzoo.errors import MissingExtra

_MM = {"meter": 1000.0, "micron": 0.001}
#: Voxel sizes that differ by less than this share are taken to be equal.
SPACING_TOLERANCE = 0.01


def nifti_header(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Size and voxel size in mm of a NIfTI volume, (depth, height, width).

    Raises:
        UnreadableImage: The file is damaged, isn't one grey volume, or doesn't state its geometry.
        MissingExtra: nibabel is not installed.
    """
    image, turn = _open(path)
    spacing = _spacing(image)
    order = np.argsort(turn[:, 0])[::-1]
    size = tuple(int(image.shape[axis]) for axis in order)
    return size, tuple(float(spacing[axis]) for axis in order)


def nifti_values(path: Path) -> np.ndarray:
    """The values of a NIfTI volume, float32 `(depth, height, width)`, scaled as its header says."""
    import nibabel

    image, turn = _open(path)
    with decoding(path):
        if path.suffix.lower() == ".gz":
            _check_sum(path)
        values = image.get_fdata(dtype=np.float32, caching="unchanged").reshape(image.shape[:3])
    return nibabel.orientations.apply_orientation(values, turn).transpose(2, 1, 0)


def _check_sum(path: Path) -> None:
    """Read a gzip file to its end: only there its checksum is, and nibabel stops before."""
    with gzip.open(path) as file:
        while file.read(2**22):
            pass


def _open(path: Path) -> tuple[Any, np.ndarray]:
    """A NIfTI file with its values unread, and how its axes turn to left, back, head."""
    try:
        import nibabel
    except ImportError:
        raise MissingExtra(
            f"Reading {path.name} needs nibabel, which is not installed. "
            f"Install it: pip install nibabel, or save the volume as npy."
        ) from None
    with decoding(path):
        image: Any = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Image):
            raise ValueError(f"it is {type(image).__name__}, not NIfTI")
        shape = tuple(int(n) for n in image.shape)
        dtype = image.get_data_dtype()
        proxy: Any = image.dataobj
        needed = proxy.offset + int(np.prod(shape)) * dtype.itemsize
        if path.suffix.lower() == ".nii" and path.stat().st_size < needed:
            raise ValueError(f"{path.stat().st_size} bytes of {needed} are there")
    if dtype.kind not in "buif" or any(n != 1 for n in shape[3:]) or len(shape) < 3:
        remedy = "Give one grey volume a file: split channels or time points."
        raise UnreadableImage(path, "E07", f"the NIfTI holds {dtype} of shape {shape}", remedy)
    _refuse_geometry(path, image)
    now = nibabel.orientations.io_orientation(image.affine)
    wanted = nibabel.orientations.axcodes2ornt(("L", "P", "S"))
    return image, nibabel.orientations.ornt_transform(now, wanted)


def _spacing(image: Any) -> np.ndarray:
    """Voxel size in mm along the file's own axes."""
    sizes = np.sqrt((np.asarray(image.affine, dtype=float)[:3, :3] ** 2).sum(axis=0))
    return sizes * _MM.get(image.header.get_xyzt_units()[0], 1.0)


def _refuse_geometry(path: Path, image: Any) -> None:
    """Geometry must be stated, invertible and without contradiction."""
    header = image.header
    if int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0:
        remedy = "Export it with its orientation, or save it as npy with axes z, y, x."
        raise UnreadableImage(
            path, "E07", "the NIfTI has no orientation (qform and sform code are 0)", remedy
        )
    try:
        header.get_xyzt_units()
    except KeyError as error:
        remedy = "Export it with its voxel size in mm, or save it as npy with axes z, y, x."
        found = f"the NIfTI states its units by a code that there isn't ({int(error.args[0])})"
        raise UnreadableImage(path, "E07", found, remedy) from error
    affine = np.asarray(image.affine, dtype=float)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise UnreadableImage(
            path, "E07", "the NIfTI's affine can't be inverted", "Export it again."
        )
    sizes = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    zooms = np.abs(np.asarray(header.get_zooms()[:3], dtype=float))
    if not np.allclose(sizes, zooms, rtol=SPACING_TOLERANCE, atol=0):
        stated, implied = zooms.round(4).tolist(), sizes.round(4).tolist()
        text = f"the NIfTI's voxel size is {stated} in pixdim and {implied} in its affine"
        raise UnreadableImage(path, "E07", text, "Find out which is right and export it again.")
