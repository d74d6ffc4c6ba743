"""Swin: windows of attention over an image, four maps taken after each merging of patches.

Source: Liu et al., Swin Transformer, ICCV 2021, arXiv 2103.14030, Sec. 3; built from timm's layers
(Wightman, doi:10.5281/zenodo.4414861). TFormer's encoder.
Differs from the paper: each stage ends with the merging before the next one, so that a map is what
the next stage reads; the classifier is left to the head. Any image size: windows shrink to small
maps, and odd maps are padded before they are merged.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.interface import AbstractEncoder, component
from fusionzoo.spec import FeatureSpec, Modality


class Variant(NamedTuple):
    """Channels of the first stage, and blocks and heads per stage."""

    channels: int
    depths: tuple[int, int, int, int]
    num_heads: tuple[int, int, int, int]


SIZES = {
    "tiny": Variant(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": Variant(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": Variant(128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "large": Variant(192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
PATCH = 4
#: What a checkpoint may hold beside an encoder: constants, and classifiers.
_LEFT_OUT = re.compile(r"(.*\.(attn_mask|relative_position_index)|head\..*)$")


@component(source="Liu et al., Swin Transformer, ICCV 2021, Sec. 3")
class Swin(AbstractEncoder):
    """A patch embedding of stride 4 and four stages of windowed attention.

    Every stage but the last ends with the merging of each 2x2 square, which doubles the channels;
    the last ends with a norm. At 224 pixels the tiny one gives 192 x 28 x 28, 384 x 14 x 14,
    768 x 7 x 7 and 768 x 7 x 7, from 27,519,354 parameters.

    Args:
        modality: The image.
        size: `tiny`, `small`, `base` or `large`.
        channels: Channels of the first stage, where not those of `size`.
        depths: Blocks per stage, where not those of `size`.
        num_heads: Heads per stage, where not those of `size`; each divides its stage's channels.
        window: Positions along a window's side; a map that is smaller is one window.
        drop_path: Drop rate of the last block, rising from 0 at the first.

    Inputs:  `batch channels height width`
    Returns: pyramid of four maps `batch channels_i height_i width_i`, fine to coarse
    Raises:  BadOption: heads that don't divide the channels, or a window below 1
    Example:
        >>> import torch
        >>> image = Modality("derm", "image", 3, (64, 64))
        >>> encoder = Swin(image, channels=8, num_heads=(1, 1, 2, 2))
        >>> [tuple(x.shape[1:]) for x in encoder(torch.zeros(1, 3, 64, 64))]
        [(16, 8, 8), (32, 4, 4), (64, 2, 2), (64, 2, 2)]
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image"})
    small: ClassVar[Mapping[str, Any]] = {
        "channels": 8,
        "depths": (1, 1, 1, 1),
        "num_heads": (1, 1, 2, 2),
    }

    net: Any

    def __init__(
        self,
        modality: Modality,
        *,
        size: Literal["tiny", "small", "base", "large"] = "tiny",
        channels: int | None = None,
        depths: tuple[int, int, int, int] | None = None,
        num_heads: tuple[int, int, int, int] | None = None,
        window: int = 7,
        drop_path: float = 0.2,
    ):
        super().__init__()
        variant = SIZES[size]
        first = channels or variant.channels
        heads = num_heads or variant.num_heads
        _check(first, heads, window)
        height, width = (PATCH * -(-n // PATCH) for n in modality.size)
        self.net = SwinTransformer(
            img_size=(height, width),
            in_chans=modality.channels,
            num_classes=0,
            embed_dim=first,
            depths=depths or variant.depths,
            num_heads=heads,
            window_size=window,
            drop_path_rate=drop_path,
            strict_img_size=False,
        )
        self.net.head = nn.Identity()
        self.stages = _stages(modality, first)

    def stem(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch embed embedded_height embedded_width"]:
        """The patch embedding and its norm."""
        below, right = (-n % PATCH for n in x.shape[2:])
        x = F.pad(x, (0, right, 0, below))
        return rearrange(
            self.net.patch_embed(x), "batch height width embed -> batch embed height width"
        )

    def stage(
        self, level: int, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs merged_height merged_width"]:
        """The blocks of one stage, and the merging before the next or the last norm."""
        x = rearrange(x, "batch inputs height width -> batch height width inputs")
        x = self.net.layers[level].blocks(x)
        last = level == len(self.stages) - 1
        x = self.net.norm(x) if last else self.net.layers[level + 1].downsample(x)
        return rearrange(x, "batch height width outputs -> batch outputs height width")

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This encoder's state dict from that of timm, of Swin's release or of a released TFormer.

        Classifiers and all else of TFormer are left out. Position biases of another window are
        interpolated.

        Raises:
            WeightsError: Names that a Swin doesn't have.
        """
        inside = {
            k.removeprefix("cli_vit."): v for k, v in state.items() if k.startswith("cli_vit.")
        }
        state = {k: v for k, v in (inside or state).items() if not _LEFT_OUT.match(k)}
        before = "layers.0.downsample.reduction.weight" in state
        own = self.state_dict()
        renamed, unknown = {}, []
        for official, tensor in state.items():
            name = "net." + (_moved(official) if before else official)
            if name not in own:
                unknown.append(official)
                continue
            if name.endswith("relative_position_bias_table"):
                tensor = self._resized(name, tensor)
            renamed[name] = tensor
        if unknown:
            raise WeightsError(
                f"these weights are no Swin's of this size: {len(unknown)} of {len(state)} names "
                f"are unknown, {unknown[0]!r} first. Give the state dict of a Swin of the same "
                "depths."
            )
        return renamed

    def _resized(self, name: str, table: Tensor) -> Tensor:
        """A table of position biases at this encoder's window, by bicubic interpolation."""
        attention: Any = self.get_submodule(name.removesuffix(".relative_position_bias_table"))
        size = tuple(2 * side - 1 for side in attention.window_size)
        if len(table) == math.prod(size):
            return table
        square = rearrange(
            table, "(rows columns) heads -> 1 heads rows columns", rows=math.isqrt(len(table))
        )
        resized = F.interpolate(square, size=size, mode="bicubic", align_corners=False)
        return rearrange(resized, "1 heads rows columns -> (rows columns) heads")


def _moved(official: str) -> str:
    """A name of Swin's release, whose stages end with the merging, at timm's place for it."""
    return re.sub(
        r"^layers\.(\d+)\.downsample\.",
        lambda found: f"layers.{int(found[1]) + 1}.downsample.",
        official,
    )


def _stages(modality: Modality, first: int) -> tuple[FeatureSpec, ...]:
    size, stride, stages = tuple(-(-n // PATCH) for n in modality.size), PATCH, []
    for level in range(4):
        if level < 3:
            size, stride = tuple(-(-n // 2) for n in size), 2 * stride
        channels = first << min(level + 1, 3)
        stages.append(FeatureSpec.map(channels, size, (stride, stride)))
    return tuple(stages)


def _check(first: int, heads: tuple[int, ...], window: int) -> None:
    problems = [
        f"{num_heads} heads don't divide the {first << level} channels of stage {level}."
        for level, num_heads in enumerate(heads)
        if num_heads < 1 or (first << level) % num_heads
    ]
    if window < 1:
        problems.append(f"window={window} must be at least 1.")
    if problems:
        raise BadOption(
            f"Encoder 'swin' can't be built: {' '.join(problems)} Change channels, num_heads or "
            "window."
        )


__all__ = ["SIZES", "Swin", "Variant"]
