"""Reads one volume or image: npy, npz, NIfTI, DICOM, png, jpg or tif, with its geometry.

Volumes have the axes (depth, height, width) = (z, y, x). NIfTI (`fusionzoo.data.nifti`) and DICOM
(`fusionzoo.data.dicom`) state their order and voxel size. An npy or npz is taken to be in this
order, and has no voxel size unless the npz holds three numbers called `spacing`.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from fusionzoo.data.dicom import dicom_header, dicom_values, is_dicom
from fusionzoo.data.nifti import nifti_header, nifti_values
from fusionzoo.data.unreadable import UnreadableImage, decoding

ARRAYS = (".npy", ".npz")
NIFTI = (".nii", ".nii.gz")
DICOM = "DICOM"
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

Kind = Literal["volume", "rgb", "gray"]


@dataclass(frozen=True)
class Header:
    """What is known of a file before its values are decoded.

    Args:
        size: Spatial size, (depth, height, width) or (height, width).
        spacing_mm: Voxel size in the same order; None where the file holds none.
    """

    size: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Picture:
    """One decoded file.

    Args:
        values: float32 `(channels, *size)`, as the file holds them.
        spacing_mm: Voxel size in mm (depth, height, width); None where the file holds none.
        full_scale: Value of full brightness: 255 or 65535 for integer pictures, else 1.
    """

    values: np.ndarray
    spacing_mm: tuple[float, ...] | None = None
    full_scale: float = 1.0


def suffix(path: Path) -> str:
    """The suffix in lower case, `.nii.gz` as one."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def read_header(path: Path, kind: Kind, key: str | None = None) -> Header:
    """Size and voxel size of a file, without decoding its values where the format permits.

    Raises:
        UnreadableImage: The file is damaged, of another format, or of another kind.
    """
    found = _reader_of(path, kind)
    if found in ARRAYS:
        with decoding(path):
            shape, dtype, spacing_mm = _array_header(path, key)
        return Header(_array_size(path, kind, shape, dtype), spacing_mm)
    if found in NIFTI:
        size, spacing_mm = nifti_header(path)
        return Header(_volume_size(path, size), spacing_mm)
    if found == DICOM:
        size, spacing_mm = dicom_header(path)
        return Header(_volume_size(path, size), spacing_mm)
    with decoding(path), Image.open(path) as image:
        pages, size = getattr(image, "n_frames", 1), (image.height, image.width)
    if pages != 1:
        remedy = "Save the page that you mean, or the stack as npy."
        raise UnreadableImage(path, "E07", f"{pages} pages where one image is wanted", remedy)
    return Header(size)


def read_image(path: Path, kind: Kind, key: str | None = None) -> Picture:
    """The values of a file, complete, finite and not all equal.

    Raises:
        UnreadableImage: The file is damaged, of another format, or of another kind.
    """
    header = read_header(path, kind, key)
    found = _reader_of(path, kind)
    full_scale = 1.0
    if found in ARRAYS:
        with decoding(path):
            values = _array(path, key)
        full_scale = _full_scale(values.dtype) if kind != "volume" else 1.0
        values = np.moveaxis(values, -1, 0) if kind == "rgb" else values.reshape(1, *header.size)
    elif found in NIFTI:
        values = nifti_values(path)[np.newaxis]
    elif found == DICOM:
        values = dicom_values(path)[np.newaxis]
    else:
        values, full_scale = _decode(path, kind)
    values = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(values).all():
        count = int(values.size - np.isfinite(values).sum())
        raise UnreadableImage(
            path, "E07", f"{count} values are NaN or infinite", "Replace them in the file."
        )
    if values.min() == values.max():
        remedy = "Check the file's export, or remove the row."
        raise UnreadableImage(path, "E07", f"every value is {values.min():g}", remedy)
    return Picture(values, header.spacing_mm, full_scale)


def _reader_of(path: Path, kind: Kind) -> str:
    """The suffix, or `DICOM`, where it goes with the kind."""
    found = suffix(path)
    if found not in ARRAYS + NIFTI + PICTURES and is_dicom(path):
        if kind == "volume":
            return DICOM
        remedy = "Say kind: volume for a series; save a single image as png."
        raise UnreadableImage(path, "E06", f"DICOM is no {kind}", remedy)
    known = ARRAYS + (NIFTI if kind == "volume" else PICTURES)
    if found in known:
        return found
    if found in NIFTI + PICTURES:
        remedy = (
            "Say kind: volume."
            if found in NIFTI
            else "Say kind: rgb or gray, or save a volume as npy or NIfTI."
        )
        raise UnreadableImage(path, "E07", f"a {found} file is no {kind}", remedy)
    raise UnreadableImage(
        path,
        "E05",
        f"the format {found or 'without a suffix'} is not known",
        f"Known: {', '.join(known)}.",
    )


def _array_header(
    path: Path, key: str | None
) -> tuple[tuple[int, ...], np.dtype, tuple[float, ...] | None]:
    """Shape, type and voxel size of an array file, checked to be as long as its header says."""
    if suffix(path) == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return array.shape, array.dtype, None
    with zipfile.ZipFile(path) as archive:
        name = _member(
            path, [info.filename.removesuffix(".npy") for info in archive.infolist()], key
        )
        with archive.open(f"{name}.npy") as member:
            version = np.lib.format.read_magic(member)
            reader: Any = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = reader(member)
        if archive.getinfo(f"{name}.npy").file_size < int(np.prod(shape)) * dtype.itemsize:
            raise ValueError(f"the array {name!r} is shorter than its header says")
    with np.load(path, allow_pickle=False) as file:
        spacing = np.asarray(file["spacing"], dtype=float) if "spacing" in file.files else None
    if spacing is None:
        return shape, dtype, None
    if spacing.shape != (3,) or not (np.isfinite(spacing).all() and (spacing > 0).all()):
        remedy = "Store three positive numbers in mm: depth, height, width."
        raise UnreadableImage(path, "E07", f"the array 'spacing' is {spacing.tolist()}", remedy)
    return shape, dtype, tuple(spacing.tolist())


def _member(path: Path, names: list[str], key: str | None) -> str:
    """The array to read of an npz."""
    arrays = [name for name in names if name != "spacing"]
    if key is not None and key in names:
        return key
    if key is None and len(arrays) == 1:
        return arrays[0]
    asked = f"no array {key!r}" if key is not None else f"{len(arrays)} arrays"
    remedy = f"Name one under key: in the dataset.yaml; it holds {', '.join(arrays) or 'none'}."
    raise UnreadableImage(path, "E07", f"the npz has {asked}", remedy)


def _array(path: Path, key: str | None) -> np.ndarray:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        return loaded[_member(path, loaded.files, key)]


def _array_size(path: Path, kind: Kind, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
    """Spatial size of an array, where shape and type go with the kind."""
    if dtype.kind not in "buif":
        raise UnreadableImage(
            path, "E07", f"an array of {dtype} is no image", "Store integers or floats."
        )
    if kind == "volume":
        wanted = "(depth, height, width)"
        size = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
        good = len(size) == 3
    else:
        wanted = "(height, width, 3)" if kind == "rgb" else "(height, width)"
        size = shape[:2]
        good = shape[2:] == ((3,) if kind == "rgb" else ()) and len(size) == 2
    if not good:
        raise UnreadableImage(
            path, "E07", f"the array's shape is {shape}", f"A {kind} has the shape {wanted}."
        )
    return _volume_size(path, size) if kind == "volume" else size


def _volume_size(path: Path, size: tuple[int, ...]) -> tuple[int, ...]:
    if min(size) < 2:
        remedy = "A volume has two or more slices along every axis; a single slice is kind: gray."
        raise UnreadableImage(
            path, "E07", f"the volume has only {min(size)} slice along an axis of {size}", remedy
        )
    return size


def _full_scale(dtype: np.dtype) -> float:
    return {"u1": 255.0, "u2": 65535.0}.get(dtype.str[1:], 1.0)


def _decode(path: Path, kind: Kind) -> tuple[np.ndarray, float]:
    """Values `(channels, height, width)` and full scale of a picture, turned as its EXIF says."""
    with decoding(path), Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode in ("P", "PA"):
            image = image.convert("RGBA")
        if image.mode == "1":
            image = image.convert("L")
        mode, pixels = image.mode, np.asarray(image)
    if mode in ("RGBA", "LA"):
        if pixels[..., -1].min() < 255:
            raise UnreadableImage(
                path, "E07", "the image has transparent parts", "Save it on a background."
            )
        mode, pixels = mode[:-1], pixels[..., :-1]
    if mode == "L":
        pixels = pixels.reshape(pixels.shape[:2])
    if kind == "gray" and mode == "RGB" and (pixels == pixels[..., :1]).all():
        mode, pixels = "L", pixels[..., 0]
    fits = mode == "RGB" if kind == "rgb" else mode in ("L", "F", "I") or mode.startswith("I;16")
    if not fits:
        remedy = (
            "Say kind: gray."
            if kind == "rgb" and mode == "L"
            else "Convert it, or say the kind that it is."
        )
        raise UnreadableImage(
            path, "E07", f"the image's mode is {mode}, which is not {kind}", remedy
        )
    channels = np.moveaxis(pixels, -1, 0) if kind == "rgb" else pixels[np.newaxis]
    return channels, _full_scale(pixels.dtype)
