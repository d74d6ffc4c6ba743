"""ResT: an image transformer whose keys and values come from a reduced map.

Source: Zhang and Yang, ResT, NeurIPS 2021, arXiv:2105.13677, Eqs. (3)-(6), Fig. 2, Table 1; its
first version, as IIMGF-Net cites it.
Differs from the released code: the classifier is left to the head; odd sizes are rounded up at
every halving, where the release fails; where a map is a single position, whose scores have no
deviation, the normalised scores are 0, where the release fails too.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractEncoder, AbstractSummary, component
from fusionzoo.spec import FeatureSpec, Modality

#: Heads of each stage, and by how much it reduces the map for keys and values.
HEADS, REDUCTIONS = (1, 2, 4, 8), (8, 4, 2, 1)

_RENAMES = (
    (r"^patch_embed_(\d)\.", lambda m: f"embeds.{int(m[1]) - 2}."),
    (r"^stage(\d)\.", lambda m: f"blocks.{int(m[1]) - 1}."),
    (r"\.pa_conv\.", "."),
)
_ELSEWHERE = re.compile(r"(norm|head)\.")


class Variant(NamedTuple):
    """Channels of the first stage, and blocks per stage."""

    channels: int
    depths: tuple[int, int, int, int]


SIZES = {
    "lite": Variant(64, (2, 2, 2, 2)),
    "small": Variant(64, (2, 2, 6, 2)),
    "base": Variant(96, (2, 2, 6, 2)),
    "large": Variant(96, (2, 2, 18, 2)),
}


class PixelAttention(nn.Conv2d):
    """x sigmoid(conv(x)), the convolution 3x3 and depthwise: ResT's positional encoding.

    Args:
        channels: Channels of the map.
    """

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1, groups=channels)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """A map of the same shape."""
        return x * torch.sigmoid(super().forward(x))


class Stem(nn.Module):
    """Three convolutions 3x3 of strides 2, 1 and 2, norms and ReLUs between, a positional encoding.

    Args:
        inputs: Channels of the image.
        channels: Channels of the map; half as many inside.
    """

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Conv2d(inputs, half, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, channels, 3, stride=2, padding=1, bias=False)
        self.pos = PixelAttention(channels)

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch channels reduced_height reduced_width"]:
        """A map of stride 4."""
        x = torch.relu(self.norm1(self.conv1(x)))
        x = torch.relu(self.norm2(self.conv2(x)))
        return self.pos(self.conv3(x))


class PatchEmbedding(nn.Module):
    """pos(norm(conv(x))), the convolution 3x3 of stride 2.

    Args:
        inputs: Channels of the map before.
        outputs: Channels of the new one.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.pos = PixelAttention(outputs)

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs halved_height halved_width"]:
        """A map of half the size."""
        return self.pos(self.norm(self.conv(x)))


class EfficientAttention(nn.Module):
    """W IN(softmax(M(Q K^T / sqrt(d)))) V: ResT's EMSA.

    Q comes from all positions, K and V from a map that a depthwise convolution of stride
    `reduction` and a layer norm made. M mixes the heads' scores with a 1x1 convolution, and IN is
    an instance norm of each head's scores without weights; a single head has neither.

    Args:
        channels: Channels of the tokens.
        num_heads: Heads; divides `channels`.
        reduction: Stride of the convolution; 1 for none.
    """

    def __init__(self, channels: int, num_heads: int, reduction: int):
        super().__init__()
        self.num_heads, self.reduction = num_heads, reduction
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        if reduction > 1:
            self.sr = nn.Conv2d(
                channels,
                channels,
                reduction + 1,
                stride=reduction,
                padding=reduction // 2,
                groups=channels,
            )
            self.sr_norm = nn.LayerNorm(channels)
        if num_heads > 1:
            self.transform_conv = nn.Conv2d(num_heads, num_heads, 1)

    def forward(
        self, x: Float[Tensor, "batch tokens channels"], height: int, width: int
    ) -> Float[Tensor, "batch tokens channels"]:
        """Attention over tokens that are a map of `height` x `width`, row after row."""
        source = x
        if self.reduction > 1:
            pattern = "batch (height width) channels -> batch channels height width"
            reduced = self.sr(rearrange(x, pattern, height=height, width=width))
            source = self.sr_norm(rearrange(reduced, "batch channels h w -> batch (h w) channels"))
        pattern = "batch tokens (parts heads dim) -> parts batch heads tokens dim"
        (q,) = rearrange(self.q(x), pattern, parts=1, heads=self.num_heads)
        k, v = rearrange(self.kv(source), pattern, parts=2, heads=self.num_heads)
        scores = q @ k.mT * q.shape[-1] ** -0.5
        if self.num_heads > 1:
            weights = torch.softmax(self.transform_conv(scores), dim=-1)
            weights = F.layer_norm(weights, weights.shape[-2:])
        else:
            weights = torch.softmax(scores, dim=-1)
        found = rearrange(weights @ v, "batch heads tokens dim -> batch tokens (heads dim)")
        return self.proj(found)


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)), an MLP of four times the channels with GELU.

    Args:
        channels: Channels of the tokens.
        num_heads: Heads of the attention.
        reduction: As in `EfficientAttention`.
        drop_path: Probability that a case skips a branch in training.
    """

    def __init__(self, channels: int, num_heads: int, reduction: int, drop_path: float = 0.0):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = EfficientAttention(channels, num_heads, reduction)
        self.mlp = Mlp(channels, 4 * channels)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "batch tokens channels"], height: int, width: int
    ) -> Float[Tensor, "batch tokens channels"]:
        """Tokens of the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x), height, width))
        return x + self.drop_path(self.mlp(self.norm2(x)))


@component(source="Zhang and Yang, ResT, NeurIPS 2021, Eqs. 3-6, Table 1; version 1")
class ResT(AbstractEncoder):
    """A stem of stride 4 and four stages of blocks, the last three after a stride of 2.

    `small` has 64, 128, 256 and 512 channels at strides 4, 8, 16 and 32. With a classifier of 1000
    classes over three channels, `lite`, `small`, `base` and `large` have 10.5, 13.7, 30.3 and 51.7
    million parameters.

    Args:
        modality: The image.
        size: `lite`, `small`, `base` or `large`.
        channels: Channels of the first stage, a multiple of 2, where not those of `size`.
        depths: Blocks per stage, where not those of `size`.
        drop_path: Drop rate of the last block, rising from 0 at the first.

    Inputs:  `batch channels height width`, any size
    Returns: pyramid of `batch channels_i height_i width_i`, fine to coarse; halvings round up
    Raises:  BadOption: channels that can't be split
    Example:
        >>> image = Modality("derm", "image", 6, (64, 48))
        >>> encoder = ResT(image, channels=8, depths=(1, 1, 1, 1))
        >>> [tuple(x.shape[1:]) for x in encoder(torch.zeros(1, *image.shape))]
        [(8, 16, 12), (16, 8, 6), (32, 4, 3), (64, 2, 2)]
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image"})
    small: ClassVar[Mapping[str, Any]] = {"channels": 8, "depths": (1, 1, 1, 1)}

    def __init__(
        self,
        modality: Modality,
        *,
        size: Literal["lite", "small", "base", "large"] = "small",
        channels: int | None = None,
        depths: tuple[int, int, int, int] | None = None,
        drop_path: float = 0.0,
    ):
        super().__init__()
        first = channels or SIZES[size].channels
        depths = depths or SIZES[size].depths
        if first < 2 or first % 2:
            raise BadOption(f"Encoder 'rest' needs even channels, not channels={first}.")
        self.patches = Stem(modality.channels, first)
        self.embeds = nn.ModuleList(
            PatchEmbedding(first << level, 2 * first << level) for level in range(3)
        )
        self.blocks = nn.ModuleList()
        last = max(sum(depths) - 1, 1)
        for level, (heads, reduction) in enumerate(zip(HEADS, REDUCTIONS, strict=True)):
            before = sum(depths[:level])
            rates = [drop_path * (before + i) / last for i in range(depths[level])]
            width = first << level
            self.blocks.append(
                nn.ModuleList(Block(width, heads, reduction, rate) for rate in rates)
            )
        self.stages = tuple(
            FeatureSpec.map(
                first << level,
                tuple(-(-length // (4 << level)) for length in modality.size),
                (4 << level, 4 << level),
            )
            for level in range(4)
        )
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def stem(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch embed reduced_height reduced_width"]:
        """A map of stride 4."""
        return self.patches(x)

    def stage(
        self, level: int, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs strided_height strided_width"]:
        """The stage's convolution of stride 2, but for the first one, and its blocks."""
        if level:
            x = self.embeds[level - 1](x)
        height, width = x.shape[2:]
        tokens = rearrange(x, "batch channels height width -> batch (height width) channels")
        for block in cast(nn.ModuleList, self.blocks[level]):
            tokens = block(tokens, height, width)
        pattern = "batch (height width) channels -> batch channels height width"
        return rearrange(tokens, pattern, height=height)

    def summary(self) -> "ResTSummary":
        """The release's classifier without its last layer: a norm and the mean."""
        return ResTSummary(self.output)

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A released ResT's weights under our names, without its classifier."""
        renamed = {}
        for official, tensor in state.items():
            if not _ELSEWHERE.match(official):
                name = re.sub(r"^stem\.", "patches.", official)
                for pattern, ours in _RENAMES:
                    name = re.sub(pattern, ours, name)
                renamed[name] = tensor
        return renamed


class ResTSummary(AbstractSummary):
    """The mean over positions of norm(x), a layer norm over channels of the last map.

    Args:
        given: The encoder's pyramid.
    """

    def __init__(self, given: FeatureSpec):
        super().__init__()
        self.norm = nn.LayerNorm(given.channels)
        self.output = FeatureSpec.vector(given.channels)

    def forward(
        self, features: list[Float[Tensor, "batch _ _ _"]]
    ) -> Float[Tensor, "batch channels"]:
        """One vector per case."""
        tokens = rearrange(
            features[-1], "batch channels height width -> batch (height width) channels"
        )
        return reduce(self.norm(tokens), "batch tokens channels -> batch channels", "mean")

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The release's last norm."""
        return {f"norm.{name}": state[f"norm.{name}"] for name in ("weight", "bias")}


__all__ = ["SIZES", "Block", "PatchEmbedding", "PixelAttention", "ResT", "ResTSummary", "Stem"]
