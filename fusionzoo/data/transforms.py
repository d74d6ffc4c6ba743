"""Seeded augmentation of batches: flips, turns, shifts, zoom, intensity, noise and colour.

Random numbers are a hash of (seed, epoch, case, copy), made by SplitMix64 (Steele, Lea and Flood,
OOPSLA 2014; Stafford's variant 13 of the mixer). So a case is changed in the same way whatever
batch it is in and wherever a run was interrupted. The numbers for geometry are the same for all
modalities of a case, which keeps registered images registered.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from fusionzoo import registry
from fusionzoo.data.augmentation_chain import AugmentationChain, augmentations_by_name
from fusionzoo.errors import BadOption, UnknownComponent
from fusionzoo.spec import Modality

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Affine:
    """Move, zoom and turn an image about its centre, all three at once.

    Args:
        move: By up to this share of the height and of the width.
        zoom: To 1 -+ this times the size.
        turn: By up to so many degrees either way.
        chance: Of it.
        interpolation: `bilinear`, or `nearest`, which makes no new values.
    """

    move: float = 0.0
    zoom: float = 0.0
    turn: float = 0.0
    chance: float = 1.0
    interpolation: Literal["bilinear", "nearest"] = "bilinear"


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a case, in this order; the default changes nothing.

    Args:
        chance: Of anything at all; where a case stays as it is, all its modalities do.
        flips: Mirror along each spatial axis, with probability 1/2 each.
        affine: Move, zoom and turn; images only. What comes in from outside of the frame mirrors
            the inside.
        rotations: Turn by 0, 90, 180 or 270 degrees in the plane of the last two axes; by 0 or 180
            where they differ in size.
        rotations_chance: Of such a turn being drawn.
        max_shift: Move by up to so many voxels or pixels along each axis; border values are
            repeated.
        intensity: Multiply by up to 1 -+ this.
        contrast: Stretch around the mean of the image by up to 1 -+ this.
        saturation: Stretch around the mean of the channels by up to 1 -+ this; images of three
            channels only.
        brightness: Add up to -+ this.
        noise: Standard deviation of added Gaussian noise.
        values_chance: Of the changes from `intensity` to `noise`.
        unit: Values are from 0 to 1 and stay there; others are refused.
    """

    chance: float = 1.0
    flips: bool = False
    affine: Affine | None = None
    rotations: bool = False
    rotations_chance: float = 1.0
    max_shift: int = 0
    intensity: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    brightness: float = 0.0
    noise: float = 0.0
    values_chance: float = 1.0
    unit: bool = False


PRESETS = {
    "none": Augmentation(),
    "volume": Augmentation(flips=True, rotations=True, max_shift=2, intensity=0.1),
    "image": Augmentation(flips=True, rotations=True, brightness=0.1, contrast=0.1, saturation=0.1),
}

#: IIMGF-Net's released chain, on one image: x -> x * (1 -+ 0.2) -+ 0.2 comes last, as its library
#: had it.
_CHAIN = Augmentation(
    chance=0.5,
    flips=True,
    affine=Affine(move=0.0625, zoom=0.8, turn=45.0, chance=0.5),
    rotations=True,
    rotations_chance=0.5,
    intensity=0.2,
    brightness=0.2,
    values_chance=0.5,
)
#: What the training setting `augment` may say.
CHOICES = ("auto", "none", "iimgf_net", "iimgf_net_official")


def default_augmentations(
    modalities: Iterable[Modality], preset: str = "auto"
) -> dict[str, Augmentation | AugmentationChain]:
    """What happens to each image and volume.

    `auto` is the preset of its kind, `none` nothing. `iimgf_net` gives every image the chain of
    IIMGF-Net's released code, with the same geometry for all images of a case. `iimgf_net_official`
    gives it as the release does, which hands the second image over as the mask of the first: the
    first image of the data set (`clinic`) has it in full, on values from 0 to 1; every other one
    (`derm`) keeps its brightness and contrast and is interpolated by its nearest pixel. Volumes
    have `auto` in both. Anything else names augmentations of plugins, in a chain.

    Raises:
        BadOption: There is no such augmentation, or it doesn't take that option.
    """
    pictured = [modality for modality in modalities if modality.kind != "table"]
    if preset not in CHOICES:
        try:
            return {**augmentations_by_name(preset, pictured)}
        except UnknownComponent as error:
            known = ", ".join([*CHOICES, *registry.names("augmentation")])
            raise BadOption(f"There is no augmentation {preset!r}. Use one of: {known}.") from error
    images = [modality.name for modality in pictured if modality.kind == "image"]
    found: dict[str, Augmentation | AugmentationChain] = {
        m.name: PRESETS["none" if preset == "none" else m.kind] for m in pictured
    }
    if preset == "iimgf_net":
        found |= dict.fromkeys(images, _CHAIN)
    elif preset == "iimgf_net_official":
        nearest = replace(_CHAIN.affine or Affine(), interpolation="nearest")
        masked = replace(_CHAIN, affine=nearest, intensity=0.0, brightness=0.0)
        found |= dict.fromkeys(images, masked)
        found |= dict.fromkeys(images[:1], replace(_CHAIN, unit=True))
    return found


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
    augmentation: Augmentation | AugmentationChain,
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
    if isinstance(augmentation, AugmentationChain):
        return augmentation(x, keys)
    if augmentation.unit:
        _refuse_other_values(x, modality)
    changed = _intensity(_geometry(x, augmentation, keys), augmentation, keys, modality)
    if augmentation.chance == 1 or changed is x:
        return changed
    return _where(_chosen(keys, augmentation.chance, "chance"), x, changed)


def _refuse_other_values(x: Tensor, modality: str) -> None:
    if x.min() < 0 or x.max() > 1:
        raise BadOption(
            f"This augmentation works on values from 0 to 1; those of {modality!r} go from "
            f"{float(x.min()):.3g} to {float(x.max()):.3g}. Open the data set without "
            "normalisation, or choose augment=iimgf_net, which takes any values."
        )


def _chosen(keys: np.ndarray, chance: float, stream: str) -> np.ndarray:
    """Which cases something of this chance happens to; the same for all modalities of a case."""
    return uniform(keys, 1, stream)[:, 0] < chance


def _geometry(x: Tensor, augmentation: Augmentation, keys: np.ndarray) -> Tensor:
    """Flips, affine map, quarter turns and shift, one draw a case for all its modalities."""
    dims = x.ndim - 2
    if augmentation.flips:
        chosen = uniform(keys, dims, "flips") < 0.5
        for axis in range(dims):
            x = _where(chosen[:, axis], x, x.flip(-1 - axis))
    if augmentation.affine is not None and dims == 2:
        chosen = _chosen(keys, augmentation.affine.chance, "affine chance")
        x = _where(chosen, x, _affine(x, augmentation.affine, uniform(keys, 4, "affine")))
    if augmentation.rotations:
        turns = np.floor(uniform(keys, 1, "rotations")[:, 0] * 4).astype(np.int64)
        turns[~_chosen(keys, augmentation.rotations_chance, "rotations chance")] = 0
        if x.shape[-1] == x.shape[-2]:
            x = _where(turns % 2 == 1, x, x.rot90(1, (-2, -1)))
        x = _where(turns >= 2, x, x.flip(-2, -1))
    if augmentation.max_shift:
        x = _shift(x, uniform(keys, dims, "shift"), augmentation.max_shift)
    return x


def _where(chosen: np.ndarray, x: Tensor, changed: Tensor) -> Tensor:
    """`changed` for the chosen cases."""
    mask = torch.from_numpy(chosen).view(-1, *(1,) * (x.ndim - 1))
    return torch.where(mask, changed, x)


def _affine(x: Tensor, affine: Affine, draws: np.ndarray) -> Tensor:
    """Sample each case at p = R(-turn) (q - centre - move) / zoom + centre for every pixel q."""
    down, right, zoom, turn = (torch.from_numpy(draws) * 2 - 1).unbind(1)
    size = torch.tensor(x.shape[:1:-1], dtype=torch.float64)
    half = (size - 1).clamp(min=1) / 2
    angle, zoom = torch.deg2rad(affine.turn * turn), 1 + affine.zoom * zoom
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    matrix = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)
    move = affine.move * torch.stack([right, down], -1) * size
    matrix = torch.cat([matrix, -matrix @ move[..., None]], -1)
    matrix = matrix / half[:, None] * torch.cat([half, torch.ones(1)])
    grid = functional.affine_grid(matrix.to(x.dtype), list(x.shape), align_corners=True)
    return functional.grid_sample(
        x, grid, mode=affine.interpolation, padding_mode="reflection", align_corners=True
    )


def _shift(x: Tensor, draws: np.ndarray, most: int) -> Tensor:
    """Move each case by its own whole number of voxels along each axis, at most `most`."""
    return translate(x, most - np.floor(draws[:, ::-1] * (2 * most + 1)).astype(np.int64))


def translate(
    x: Float[Tensor, "batch channels *space"], steps: np.ndarray
) -> Float[Tensor, "batch channels *space"]:
    """Move each case by whole numbers of voxels; border values are repeated.

    Args:
        x: Images or volumes.
        steps: `batch axes`, in the order of the spatial axes; positive moves to larger indices.
    """
    size, most = x.shape[2:], int(np.abs(steps).max(initial=0))
    padded = functional.pad(x, (most, most) * len(size), mode="replicate")
    moved = torch.empty_like(x)
    for case, start in enumerate((most - steps).tolist()):
        window = tuple(slice(low, low + n) for low, n in zip(start, size, strict=True))
        moved[case] = padded[case][(slice(None), *window)]
    return moved


def _intensity(x: Tensor, augmentation: Augmentation, keys: np.ndarray, modality: str) -> Tensor:
    """Noise and linear changes of the values, one draw a case and modality."""
    draws = torch.from_numpy(uniform(keys, 4, f"intensity {modality}") * 2 - 1).to(x.dtype)
    scale, shift, stretch, colour = draws.view(-1, 4, *(1,) * (x.ndim - 1)).unbind(1)
    given = x
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
    if augmentation.values_chance < 1 and x is not given:
        happens = _chosen(keys, augmentation.values_chance, f"values chance {modality}")
        x = _where(happens, given, x)
    return x.clamp(0, 1) if augmentation.unit else x


def _normal(x: Tensor, keys: np.ndarray, modality: str) -> Tensor:
    """Standard normal numbers in the shape of `x` (Box-Muller)."""
    count = x[0].numel()
    draws = uniform(keys, 2 * count, f"noise {modality}")
    radius = np.sqrt(-2 * np.log1p(-draws[:, :count]))
    return torch.from_numpy(radius * np.cos(2 * np.pi * draws[:, count:])).to(x.dtype).view(x.shape)


__all__ = [
    "CHOICES",
    "PRESETS",
    "Affine",
    "Augmentation",
    "augment",
    "case_keys",
    "default_augmentations",
    "uniform",
]
