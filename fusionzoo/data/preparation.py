"""From the values of a file to the array that every case has alike: resampled, sized and scaled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import affine_transform

from fusionzoo.data.images import Picture
from fusionzoo.data.roles import ImageRole


def prepare(picture: Picture, role: ImageRole, spacing_mm: Sequence[float] | None) -> np.ndarray:
    """Resample to the role's voxel size, scale, crop or pad or resize to its size, standardise.

    Scaling is (x - low) / (high - low), clipped to 0..1, with a window; x / 255 or x / 65535 for
    integer pictures without one; else the values are kept. Padding is 0 after a window or for a
    picture, and a volume's lowest value otherwise, which in CT is air. `mean` and `std` come last.

    Args:
        picture: The file as it was read.
        role: What the `dataset.yaml` says of it.
        spacing_mm: The file's voxel size (depth, height, width); needed where the role names one.

    Returns:
        float32 `(channels, *role.size)`.
    """
    values = picture.values
    if role.spacing_mm is not None:
        assert spacing_mm is not None
        values = resample(values, spacing_mm, role.spacing_mm)
    lowest = 0.0
    if role.window is not None:
        low, high = role.window
        values = np.clip((values - low) / (high - low), 0.0, 1.0)
    elif role.kind == "volume":
        lowest = float(values.min())
    else:
        values = values / picture.full_scale
    values = (
        resize(values, role.size)
        if role.fit == "resize"
        else crop_or_pad(values, role.size, lowest)
    )
    if role.mean:
        values = values - np.reshape(role.mean, (-1,) + (1,) * len(role.size))
    if role.std:
        values = values / np.reshape(role.std, (-1,) + (1,) * len(role.size))
    return np.ascontiguousarray(values, dtype=np.float32)


def resampled_size(
    size: Sequence[int], given_mm: Sequence[float], wanted_mm: Sequence[float]
) -> tuple[int, ...]:
    """Voxels after resampling: extent in mm over the wanted voxel size, rounded, at least one."""
    return tuple(
        max(1, round(n * g / w)) for n, g, w in zip(size, given_mm, wanted_mm, strict=True)
    )


def resample(
    values: np.ndarray, given_mm: Sequence[float], wanted_mm: Sequence[float]
) -> np.ndarray:
    """Linear interpolation of `(channels, *size)` on a grid of `wanted_mm` about the same centre.

    Position i of the new grid is at c + (i - c') * wanted / given of the old one, with c and c' the
    centres of the two; outside, the nearest voxel is taken. No smoothing precedes it.
    """
    if np.allclose(given_mm, wanted_mm, rtol=1e-6, atol=0):
        return values
    size = values.shape[1:]
    step = np.asarray(wanted_mm, dtype=float) / np.asarray(given_mm, dtype=float)
    return _sample(values, resampled_size(size, given_mm, wanted_mm), step)


def resize(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Stretch `(channels, *size)` linearly; images by Pillow, which smooths what it shrinks."""
    if values.shape[1:] == tuple(size):
        return values
    if len(size) == 3:
        return _sample(values, tuple(size), np.asarray(values.shape[1:]) / np.asarray(size))
    height, width = size
    layers = [Image.fromarray(np.ascontiguousarray(layer, dtype=np.float32)) for layer in values]
    small = [layer.resize((width, height), Image.Resampling.BILINEAR) for layer in layers]
    return np.stack([np.asarray(layer) for layer in small])


def crop_or_pad(values: np.ndarray, size: Sequence[int], fill: float) -> np.ndarray:
    """Keep the centre of `(channels, *size)`, and put `fill` around what is smaller."""
    for axis, (have, want) in enumerate(zip(values.shape[1:], size, strict=True), start=1):
        if have > want:
            start = (have - want) // 2
            values = values[(slice(None),) * axis + (slice(start, start + want),)]
        elif have < want:
            before = (want - have) // 2
            pads = [(0, 0)] * values.ndim
            pads[axis] = (before, want - have - before)
            values = np.pad(values, pads, constant_values=fill)
    return values


def _sample(values: np.ndarray, size: tuple[int, ...], step: np.ndarray) -> np.ndarray:
    offset = (np.asarray(values.shape[1:]) - 1) / 2 - step * (np.asarray(size) - 1) / 2
    layers = [
        affine_transform(layer, step, offset=offset, output_shape=size, order=1, mode="nearest")
        for layer in values
    ]
    return np.stack(layers)
