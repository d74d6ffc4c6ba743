"""Seeded augmentation of batches: flips, quarter turns, shifts, intensity, noise and colour.

Random numbers are a hash of (seed, epoch, case, copy), made by SplitMix64 (Steele, Lea and Flood,
OOPSLA 2014; Stafford's variant 13 of the mixer). So a case is changed in the same way whatever
batch it is in and wherever a run was interrupted. The numbers for geometry are the same for all
modalities of a case, which keeps registered images registered.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from fusionzoo.errors import BadOption
from fusionzoo.spec import Modality

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a case; the default changes nothing.

    Args:
        flips: Mirror along each spatial axis, with probability 1/2 each.
        rotations: Turn by 0, 90, 180 or 270 degrees in the plane of the last two axes; by 0 or 180
            where they differ in size.
        max_shift: Move by up to so many voxels or pixels along each axis; border values are
            repeated.
        intensity: Multiply by up to 1 -+ this.
        noise: Standard deviation of added Gaussian noise.
        brightness: Add up to -+ this.
        contrast: Stretch around the mean of the image by up to 1 -+ this.
        saturation: Stretch around the mean of the channels by up to 1 -+ this; images of three
            channels only.
    """

    flips: bool = False
    rotations: bool = False
    max_shift: int = 0
    intensity: float = 0.0
    noise: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0


PRESETS = {
    "none": Augmentation(),
    "volume": Augmentation(flips=True, rotations=True, max_shift=2, intensity=0.1),
    "image": Augmentation(flips=True, rotations=True, brightness=0.1, contrast=0.1, saturation=0.1),
}


def default_augmentations(
    modalities: Iterable[Modality], preset: str = "auto"
) -> dict[str, Augmentation]:
    """What happens to each image and volume: `auto`, the preset of its kind, or `none`."""
    if preset not in ("auto", "none"):
        raise BadOption(f"There is no augmentation {preset!r}. Use one of: auto, none.")
    return {
        modality.name: PRESETS["none" if preset == "none" else modality.kind]
        for modality in modalities
        if modality.kind != "table"
    }


def _mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def case_keys(seed: int, epoch: int, index: np.ndarray, copy: np.ndarray | int = 0) -> np.ndarray:
    """One uint64 per case, a hash of (seed, epoch, index, copy)."""
    key = np.zeros(len(index), dtype=np.uint64)
    for part in (seed, epoch, index, copy):
        number = np.broadcast_to(np.asarray(part), key.shape).astype(np.int64).view(np.uint64)
        key = _mix((key ^ number) + GOLDEN_GAMMA)
    return key


def uniform(keys: np.ndarray, count: int, stream: str = "") -> np.ndarray:
    """Numbers in [0, 1), `(cases, count)`, different for every key and stream."""
    start = _mix(keys ^ np.uint64(zlib.crc32(stream.encode())))
    steps = np.arange(1, count + 1, dtype=np.uint64) * GOLDEN_GAMMA
    return (_mix(start[:, None] + steps) >> np.uint64(11)) * 2.0**-53


def augment(
    x: Float[Tensor, "batch channels *space"],
    augmentation: Augmentation,
    keys: np.ndarray,
    *,
    modality: str = "",
) -> Float[Tensor, "batch channels *space"]:
    """A changed copy of a batch (the batch itself where nothing is to be done).

    Args:
        x: Images or volumes.
        augmentation: What may happen.
        keys: `case_keys` of the cases.
        modality: Name that keeps intensity, noise and colour apart between the modalities of a
            case.
    """
    dims = x.ndim - 2
    if augmentation.flips:
        chosen = uniform(keys, dims, "flips") < 0.5
        for axis in range(dims):
            x = _where(chosen[:, axis], x, x.flip(-1 - axis))
    if augmentation.rotations:
        turns = np.floor(uniform(keys, 1, "rotations")[:, 0] * 4).astype(np.int64)
        if x.shape[-1] == x.shape[-2]:
            x = _where(turns % 2 == 1, x, x.rot90(1, (-2, -1)))
        x = _where(turns >= 2, x, x.flip(-2, -1))
    if augmentation.max_shift:
        x = _shift(x, uniform(keys, dims, "shift"), augmentation.max_shift)
    return _intensity(x, augmentation, keys, modality)


def _where(chosen: np.ndarray, x: Tensor, changed: Tensor) -> Tensor:
    """`changed` for the chosen cases."""
    mask = torch.from_numpy(chosen).view(-1, *(1,) * (x.ndim - 1))
    return torch.where(mask, changed, x)


def _shift(x: Tensor, draws: np.ndarray, most: int) -> Tensor:
    """Move each case by its own whole number of voxels along each axis, at most `most`."""
    size = x.shape[2:]
    starts = np.floor(draws[:, ::-1] * (2 * most + 1)).astype(np.int64)
    padded = functional.pad(x, (most, most) * len(size), mode="replicate")
    moved = torch.empty_like(x)
    for case, start in enumerate(starts.tolist()):
        window = tuple(slice(low, low + n) for low, n in zip(start, size, strict=True))
        moved[case] = padded[case][(slice(None), *window)]
    return moved


def _intensity(x: Tensor, augmentation: Augmentation, keys: np.ndarray, modality: str) -> Tensor:
    """Noise and linear changes of the values, one draw a case."""
    draws = torch.from_numpy(uniform(keys, 4, f"intensity {modality}") * 2 - 1).to(x.dtype)
    scale, shift, stretch, colour = draws.view(-1, 4, *(1,) * (x.ndim - 1)).unbind(1)
    if augmentation.intensity:
        x = x * (1 + augmentation.intensity * scale)
    if augmentation.contrast:
        mean = x.mean(dim=tuple(range(1, x.ndim)), keepdim=True)
        x = mean + (x - mean) * (1 + augmentation.contrast * stretch)
    if augmentation.saturation and x.ndim == 4 and x.shape[1] == 3:
        grey = x.mean(dim=1, keepdim=True)
        x = grey + (x - grey) * (1 + augmentation.saturation * colour)
    if augmentation.brightness:
        x = x + augmentation.brightness * shift
    if augmentation.noise:
        x = x + augmentation.noise * _normal(x, keys, modality)
    return x


def _normal(x: Tensor, keys: np.ndarray, modality: str) -> Tensor:
    """Standard normal numbers in the shape of `x` (Box-Muller)."""
    count = x[0].numel()
    draws = uniform(keys, 2 * count, f"noise {modality}")
    radius = np.sqrt(-2 * np.log1p(-draws[:, :count]))
    return torch.from_numpy(radius * np.cos(2 * np.pi * draws[:, count:])).to(x.dtype).view(x.shape)


__all__ = ["PRESETS", "Augmentation", "augment", "case_keys", "default_augmentations", "uniform"]
