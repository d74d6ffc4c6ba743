"""SAM: Segment Anything's image encoder over slices, tapped at three depths as a pyramid.

Source: Kirillov et al., Segment Anything, ICCV 2023, arXiv:2304.02643, image encoder; the network
is timm's, with the layer norms' epsilon of the release. Yu et al., MMCAF-Net, 2025,
arXiv:2508.04205, Table 2 "SAM+E3D-MSCA" names it and says nothing else: taps, sizes and freezing
are a reconstruction.
Differs from the released code: small inputs keep their size, with position embeddings interpolated
to it, where the release scales every image to 1024.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from timm.layers.pos_embed import resample_abs_pos_embed_nhwc
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn

from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.interface import AbstractEncoder, component
from fusionzoo.ops.conv import resize_to
from fusionzoo.spec import FeatureSpec, Level, Modality

PATCH, WINDOW, NECK_CHANNELS = 16, 14, 256
#: Width, blocks and heads. A quarter of the blocks, evenly, attend to the whole image.
SIZES: Mapping[str, tuple[int, int, int]] = {
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}
#: Of the release's pixels, on the scale from 0 to 255.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_PREFIX = "image_encoder."

_log = logging.getLogger(__name__)


@component(source="Kirillov 2023 (Segment Anything), image encoder; Yu 2025 (MMCAF-Net), Table 2")
class SAM(AbstractEncoder):
    """ViT blocks over every slice; three taps, each projected and resized to a level.

    Levels have strides 4, 8 and 16 in the plane and, of a volume, 2, 4 and 8 along depth, as
    PENet's. The taps are the last blocks of the second, third and fourth quarter (blocks 5, 8 and
    11 of `base`). At 1024 pixels and with its neck, `base` has 89,670,912 parameters and `large`
    308,278,272, projections aside. Without `weights=PATH` it starts at random, and a frozen random
    encoder says so in the log when it first runs.

    Args:
        modality: An image or volume of one or three channels, with values from 0 to 1 after
            `offset`.
        size: `base`, `large` or `huge`.
        img_size: Side that slices are scaled to; by default they keep theirs, rounded up to whole
            patches of 16. The release has 1024.
        frozen: Whether the ViT doesn't learn; the projections always do.
        taps: `blocks` reads blocks as they are, `neck` puts the release's neck (256 channels)
            behind each.
        channels: Channels of the levels.
        offset: Added to the values first; 0.15897 undoes MMCAF-Net's subtraction of the mean.
        width: Scales the ViT's width and heads, for experiments without weights.
        depth: Blocks, a multiple of four; those of `size` by default.

    Inputs:  `batch channels height width` or `batch channels depth height width`
    Returns: a pyramid of three maps, fine to coarse
    Raises:  BadOption: other channels, or a width or depth that can't be
    Example:
        >>> ct = Modality("ct", "volume", 1, (4, 32, 32))
        >>> sam = SAM(ct, width=1 / 12, depth=4, frozen=False)
        >>> [tuple(x.shape[1:]) for x in sam(torch.zeros(1, 1, 4, 32, 32))]
        [(256, 2, 8, 8), (512, 1, 4, 4), (1024, 1, 2, 2)]
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image", "volume"})
    small: ClassVar[Mapping[str, Any]] = {"width": 1 / 12, "depth": 4, "channels": (16, 32, 64)}

    mean: Tensor
    std: Tensor
    filled: Tensor

    def __init__(
        self,
        modality: Modality,
        *,
        size: Literal["base", "large", "huge"] = "base",
        img_size: int | None = None,
        frozen: bool = True,
        taps: Literal["blocks", "neck"] = "blocks",
        channels: tuple[int, ...] = (256, 512, 1024),
        offset: float = 0.0,
        width: float = 1.0,
        depth: int | None = None,
    ):
        super().__init__()
        embed_dim, blocks, num_heads = SIZES[size]
        depth = depth or blocks
        _check(modality, channels, depth, width * num_heads)
        quarter = depth // 4
        self.taps = tuple(k * quarter - 1 for k in (2, 3, 4))
        self.sides = _sides(modality, img_size)
        embed_dim, num_heads = round(width * embed_dim), round(width * num_heads)
        build: Any = VisionTransformerSAM  # its annotations are narrower than what it takes
        self.vit = build(
            img_size=self.sides,
            patch_size=PATCH,
            num_classes=0,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=WINDOW,
            global_attn_indexes=tuple(k * quarter - 1 for k in (1, 2, 3, 4)),
            neck_chans=NECK_CHANNELS,
        )
        if taps == "blocks":
            self.vit.neck = nn.Identity()
        self.frozen = frozen
        self.vit.requires_grad_(not frozen)
        self.offset = offset
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)
        self.register_buffer("filled", torch.zeros((), dtype=torch.bool))
        self.volume = modality.kind == "volume"
        levels = _levels(modality, channels)
        self.sizes = tuple(level.size for level in levels)
        tapped = NECK_CHANNELS if taps == "neck" else embed_dim
        conv = nn.Conv3d if self.volume else nn.Conv2d
        self.projections = nn.ModuleList(conv(tapped, each, 1) for each in channels)
        self.staged = False
        self.stages = (FeatureSpec.pyramid(levels),)
        self._told = False

    def stage(self, level: int, x: Float[Tensor, "batch channels *space"]) -> list[Tensor]:
        """The whole pyramid."""
        self._say_if_random()
        slices = rearrange(x, "b c d h w -> (b d) c h w") if self.volume else x
        learn = torch.is_grad_enabled() and (not self.frozen or x.requires_grad)
        with torch.set_grad_enabled(learn):
            tapped = self._tap(self._pixels(slices))
        maps = []
        for each, project, size in zip(tapped, self.projections, self.sizes, strict=True):
            if self.volume:
                each = rearrange(each, "(b d) c h w -> b c d h w", d=x.shape[2])
            maps.append(_resize(project(each), size))
        return maps

    def _pixels(
        self, slices: Float[Tensor, "slices channels height width"]
    ) -> Float[Tensor, "slices 3 scaled_height scaled_width"]:
        """Slices as the release normalises them, at the size that the ViT reads."""
        x = (255 * (slices + self.offset) - self.mean) / self.std
        return resize_to(x, self.sides, align_corners=False)

    def _tap(self, x: Float[Tensor, "slices 3 height width"]) -> list[Tensor]:
        """What the tapped blocks give, channels first."""
        x = self.vit.patch_embed(x)
        x = x + self.vit.pos_embed
        tapped = []
        for index, block in enumerate(self.vit.blocks):
            x = block(x)
            if index in self.taps:
                tapped.append(self.vit.neck(x.permute(0, 3, 1, 2)))
        return tapped

    def _say_if_random(self) -> None:
        if self.frozen and not self._told and not self.filled.is_meta and not self.filled:
            _log.warning(
                "Encoder 'sam' is frozen with random weights. Give sam(weights=PATH) with SAM's "
                "checkpoint, or frozen=False."
            )
        self._told = True

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This encoder's state from SAM's checkpoint, positions interpolated to its size.

        The mask decoder, the prompt encoder and, without `taps=neck`, the neck are left out; the
        projections, which SAM doesn't have, stay as they are.

        Raises: WeightsError for names that no image encoder of SAM has.
        """
        inside = {
            name.removeprefix(_PREFIX).replace("mlp.lin", "mlp.fc"): tensor
            for name, tensor in state.items()
            if name.startswith(_PREFIX)
        }
        own = self.vit.state_dict()
        lacking = sorted(set(own) - set(inside))
        if lacking:
            raise WeightsError(
                f"These weights are no SAM checkpoint of this size: {len(lacking)} of {len(own)} "
                f"tensors are missing, {_PREFIX + lacking[0]!r} first. Give the released file of "
                "the size that 'size=' says."
            )
        filled = {f"vit.{name}": _resample(inside[name], own[name], name) for name in own}
        rest = {k: v for k, v in self.state_dict().items() if not k.startswith("vit.")}
        return {**rest, **filled, "filled": torch.ones_like(self.filled)}


def _resample(official: Tensor, own: Tensor, name: str) -> Tensor:
    """Position embeddings at our size: absolute ones bicubic, relative ones linear."""
    if official.shape == own.shape:
        return official
    if name == "pos_embed":
        return resample_abs_pos_embed_nhwc(official, list(own.shape[1:3]))
    if name.endswith(("rel_pos_h", "rel_pos_w")) and official.shape[1] == own.shape[1]:
        line = rearrange(official, "positions channels -> 1 channels positions")
        line = F.interpolate(line, size=len(own), mode="linear")
        return rearrange(line, "1 channels positions -> positions channels")
    return official


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Averaged where an axis shrinks, interpolated linearly where it grows."""
    smaller = [min(have, want) for have, want in zip(x.shape[2:], size, strict=True)]
    pool: Any = F.adaptive_avg_pool3d if x.ndim == 5 else F.adaptive_avg_pool2d
    return resize_to(pool(x, smaller), size, align_corners=False)


def _sides(modality: Modality, img_size: int | None) -> tuple[int, int]:
    height, width = modality.size[-2:] if img_size is None else (img_size, img_size)
    return -(-height // PATCH) * PATCH, -(-width // PATCH) * PATCH


def _levels(modality: Modality, channels: Sequence[int]) -> tuple[Level, ...]:
    levels = []
    for index, each in enumerate(channels):
        plane = 4 << index
        stride = (2 << index, plane, plane) if modality.kind == "volume" else (plane, plane)
        size = tuple(-(-length // s) for length, s in zip(modality.size, stride, strict=True))
        levels.append(Level(each, size, stride))
    return tuple(levels)


def _check(modality: Modality, channels: Sequence[int], depth: int, num_heads: float) -> None:
    if modality.channels not in (1, 3):
        raise BadOption(
            f"Encoder 'sam' reads grey or colour images; {modality.name!r} has "
            f"{modality.channels} channels. Use one or three, or another encoder (timm)."
        )
    if len(channels) != 3:
        raise BadOption(
            f"Encoder 'sam' gives three levels; channels={tuple(channels)} are {len(channels)}. "
            "Give three numbers."
        )
    if depth < 4 or depth % 4:
        raise BadOption(
            f"Encoder 'sam' can't have {depth} blocks: a quarter of them attends to the whole "
            "image. Use a multiple of four."
        )
    if num_heads < 1 or abs(num_heads - round(num_heads)) > 1e-6:
        raise BadOption(
            f"Encoder 'sam' can't have {num_heads:g} heads. Choose a width that leaves a whole "
            "number of them: the heads of 'size' times width."
        )


__all__ = ["MEAN", "SAM", "SIZES", "STD"]
