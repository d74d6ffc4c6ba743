"""The values of a stack of DICOM slices: as stored, or in HU.

Uncompressed pixels are read from where they lie in the file, straight into the volume, and equal
pydicom's `pixel_array` bit for bit; everything else is decoded by pydicom.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fusionzoo.data.dicom_geometry import Stack
from fusionzoo.data.dicom_header import (
    EXPLICIT_BIG,
    SliceHeader,
    UnusableDicom,
    import_pydicom,
    quiet_pydicom,
)
from fusionzoo.data.dicom_rules import advice, syntax_name


def stored_values(stack: Stack, chosen: Sequence[int] | None = None) -> np.ndarray:
    """What the files hold, integers `(depth, height, width)`.

    Args:
        stack: The volume.
        chosen: Slices to read, in this order; all where not given.

    Raises:
        UnusableDicom: A file can't be decoded.
    """
    slices = _chosen(stack, chosen)
    dtype = np.result_type(*{header.dtype for header in stack.slices})
    values = np.empty((len(slices), *stack.shape[1:]), dtype=dtype)
    for place, stored in zip(values, _each(slices), strict=True):
        place[...] = stored
    return values


def hounsfield(stack: Stack, chosen: Sequence[int] | None = None) -> np.ndarray:
    """HU = slope * stored + intercept of each slice, float32 `(depth, height, width)`.

    The result equals the same formula in float64, rounded once. Where a file gives no slope, which
    only images other than CT may do, its values are kept.

    Args:
        stack: The volume.
        chosen: Slices to read, in this order; all where not given.

    Raises:
        UnusableDicom: A file can't be decoded.
    """
    slices = _chosen(stack, chosen)
    values = np.empty((len(slices), *stack.shape[1:]), dtype=np.float32)
    for header, place, stored in zip(slices, values, _each(slices), strict=True):
        rescale(stored, *rescaling(header), out=place)
    return values


def rescaling(header: SliceHeader) -> tuple[float, float]:
    """Slope and intercept of one slice; 1 and 0 where it gives none."""
    slope = 1.0 if header.slope is None else header.slope
    return slope, 0.0 if header.intercept is None else header.intercept


def rescale(stored: np.ndarray, slope: float, intercept: float, out: np.ndarray) -> None:
    """Write slope * stored + intercept into a float32 array, rounded once."""
    exact = stored.dtype.itemsize <= 2 and intercept == round(intercept) and abs(intercept) < 2**23
    if slope == 1 and exact:
        out[...] = stored
        out += np.float32(intercept)
    else:
        out[...] = stored.astype(np.float64) * slope + intercept


def _chosen(stack: Stack, chosen: Sequence[int] | None) -> list[SliceHeader]:
    return [stack.slices[k] for k in (range(len(stack.slices)) if chosen is None else chosen)]


def _each(slices: Sequence[SliceHeader]) -> Iterator[np.ndarray]:
    """The stored values of one slice after the other; each is overwritten by the next."""
    buffer = np.empty((slices[0].rows, slices[0].columns), dtype=slices[0].dtype)
    for header in slices:
        if not _lies_plainly(header):
            yield _decoded(header)
            continue
        if buffer.dtype != header.dtype:
            buffer = np.empty((header.rows, header.columns), dtype=header.dtype)
        _read_plain(header, buffer)
        yield buffer


def _lies_plainly(header: SliceHeader) -> bool:
    """Whether the bytes at `pixels_at` are the values, but for their order and unused bits."""
    swapped_pairs = header.transfer_syntax == EXPLICIT_BIG and header.bits_allocated == 8
    return header.pixels_at is not None and not swapped_pairs


def _read_plain(header: SliceHeader, buffer: np.ndarray) -> None:
    assert header.pixels_at is not None
    with header.path.open("rb", buffering=0) as file:
        file.seek(header.pixels_at)
        there = file.readinto(buffer.data.cast("B"))
    if there != buffer.nbytes:
        text = f"{there} of {buffer.nbytes} bytes of pixels are there"
        remedy = "Download or export it again."
        raise UnusableDicom(header.path, "truncated", text, remedy, "E05")
    if header.transfer_syntax == EXPLICIT_BIG:
        buffer.byteswap(inplace=True)
    unused = header.bits_allocated - header.bits_stored
    if unused > 0:
        np.left_shift(buffer, unused, out=buffer)
        np.right_shift(buffer, unused, out=buffer)


def _decoded(header: SliceHeader) -> np.ndarray:
    """The stored values of a compressed slice."""
    pydicom = import_pydicom(header.path)
    try:
        with quiet_pydicom():
            values = np.asarray(pydicom.dcmread(header.path).pixel_array)
    except Exception as error:
        reason = " ".join(str(error).replace(str(header.path), header.path.name).split())[:160]
        name = syntax_name(header.transfer_syntax)
        text = f"the pixels can't be decoded ({name}; {type(error).__name__}: {reason})"
        remedy = f"If the file is not damaged: {advice(header.transfer_syntax)}"
        raise UnusableDicom(header.path, "damaged", text, remedy, "E05") from error
    if values.shape != (header.rows, header.columns):
        text = f"the pixels have the shape {values.shape}, the header says otherwise"
        raise UnusableDicom(header.path, "damaged", text, "Export it again.", "E05")
    return values
