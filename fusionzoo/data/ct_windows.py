"""Windows of a few neighbouring slices: where they begin, and how they become a model's input.

Source: Lung-PET-CT windows of MMCAF-Net and PENet: 12 slices, HU -100 to 900, 192 x 192.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from functools import cache

import numpy as np
from scipy.sparse import csr_array


def sequential_starts(num_slices: int, length: int) -> list[int]:
    """Starts of the windows that cover a series; the last one is moved back to end with it."""
    last = num_slices - length
    return [min(start, last) for start in range(0, num_slices, length)]


def lesion_starts(
    num_slices: int,
    length: int,
    lesion: Collection[int],
    *,
    seed: int,
    key: str,
) -> list[int]:
    """Starts of windows that are drawn around the annotated slices.

    As many as it takes to cover the series. With probability 1/2 a window is centred between the
    first and the last annotated slice; else it begins anywhere from `first - length` to `last + 1`
    and may miss the lesion. Every start is clamped to the series.

    Args:
        num_slices: Slices of the series.
        length: Slices of a window.
        lesion: Annotated slices.
        seed: Of the draws.
        key: Identity of the series, so that its draws depend on no other series.
    """
    first, last = min(lesion), max(lesion)
    words = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    rng = np.random.default_rng(list(words))
    starts = []
    for _ in range(-(-num_slices // length)):
        centred = rng.random() < 0.5
        drawn = int(rng.integers(first - length, last + 2))
        start = (first + last) // 2 - length // 2 if centred else drawn
        starts.append(min(max(start, 0), num_slices - length))
    return starts


def shrink(slices: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize each slice by area: a new pixel is the mean of what it covers, in float32.

    Pixels that are covered in part count in part. Enlarging repeats pixels, without interpolation.

    Args:
        slices: `(slices, height, width)`.
        size: New (height, width).
    """
    if slices.shape[1:] == tuple(size):
        return slices
    down, across = (_coverage(n, m) for n, m in zip(slices.shape[1:], size, strict=True))
    return np.stack([(across @ (down @ plane).T).T for plane in slices])


@cache
def _coverage(size: int, wanted: int) -> csr_array:
    """Weights `(wanted, size)`: which share of each new pixel an old one covers."""
    scale = size / wanted
    edges = np.arange(wanted + 1) * scale
    old = np.arange(size)
    low = np.maximum(edges[:-1, None], old[None])
    high = np.minimum(edges[1:, None], old[None] + 1)
    return csr_array(np.clip(high - low, 0, None).astype(np.float32) / np.float32(scale))


def scale_window(values: np.ndarray, window_hu: Sequence[float], mean: float) -> np.ndarray:
    """clip((HU - low) / (high - low), 0, 1) - mean, in float32."""
    low, high = window_hu
    scaled = (values - np.float32(low)) * np.float32(1 / (high - low))
    return np.clip(scaled, 0, 1) - np.float32(mean)
