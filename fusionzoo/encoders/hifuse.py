"""HiFuse: a convolutional and a window-attention branch over one image, fused at four levels.

Source: Huo et al., HiFuse, Biomedical Signal Processing and Control 87, 2024,
arXiv:2209.08526, Fig. 2-4 and Table 1; its released code where the paper is silent.
Differs from the released code: the classifier is left to the head, and what the release builds and
never runs is left out (a second norm in every attention block, the transformer's own classifier,
some layers of its fusion blocks); a branch can be had alone, for `hifuse` between two images.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from einops import reduce
from jaxtyping import Float
from timm.layers.drop import DropPath
from torch import Tensor, nn

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractEncoder, AbstractSummary, component
from fusionzoo.ops.conv import ChannelNorm
from fusionzoo.ops.hff import EPSILON, HFF, official_blocks
from fusionzoo.ops.patch_merging import PatchMerging
from fusionzoo.ops.windows import WindowAttention
from fusionzoo.spec import FeatureSpec, Level, Modality

NUM_LEVELS, PATCH, WINDOW = 4, 4, 7
#: Both sides of an image are multiples of it: patches of 4, halved three times.
MULTIPLE = PATCH << (NUM_LEVELS - 1)
#: What the branches' modules are called; `global` is a word of Python, which torch can't export.
KEYS = {"local": "convolution", "global": "attention"}
#: Blocks per level, the same in both branches.
DEPTHS = {"tiny": (2, 2, 2, 2), "small": (2, 2, 6, 2), "base": (2, 2, 18, 2)}

_UNUSED = re.compile(
    r"(conv_)?(norm|head)\.|fu\d\.|.*\.blocks\.\d+\.norm2\.|.*\.relative_position_index$"
)
_RENAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^downsample_layers\.0\.", "branches.convolution.stem."),
    (r"^downsample_layers\.(\d)", lambda m: f"branches.convolution.down.{int(m[1]) - 1}"),
    (r"^stages\.", "branches.convolution.blocks."),
    (r"^patch_embed\.proj\.", "branches.attention.stem.0."),
    (r"^patch_embed\.norm\.", "branches.attention.stem.1."),
    (r"^layers(\d)\.downsample", lambda m: f"branches.attention.down.{int(m[1]) - 2}"),
    (r"^layers(\d)\.blocks", lambda m: f"branches.attention.blocks.{int(m[1]) - 1}"),
    (r"\.norm1\.", ".norm."),
    (r"\.attn\.relative_position_bias_table$", ".attention.bias"),
    (r"\.attn\.", ".attention."),
    (r"\.fc1\.", ".linear."),
)


class LocalBlock(nn.Module):
    """x + gelu(W norm(conv(x))), the convolution 3x3 and depthwise, W without widening.

    Args:
        channels: Channels of the map.
        drop_path: Probability that a case skips the block in training.
    """

    def __init__(self, channels: int, drop_path: float = 0.0):
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = ChannelNorm(channels, eps=EPSILON)
        self.pwconv = nn.Linear(channels, channels)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """A map of the same shape."""
        return x + self.drop_path(F.gelu(_over_channels(self.pwconv, self.norm(self.dwconv(x)))))


class GlobalBlock(nn.Module):
    """x + gelu(W attention(norm(x))), attention inside of windows; W without widening.

    Args:
        channels: Channels of the map.
        num_heads: Heads of the attention.
        shift: Positions that windows are shifted by.
        drop_path: Probability that a case skips the block in training.
    """

    def __init__(self, channels: int, num_heads: int, *, shift: int = 0, drop_path: float = 0.0):
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.attention = WindowAttention(channels, num_heads, window=WINDOW, shift=shift)
        self.linear = nn.Linear(channels, channels)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """A map of the same shape."""
        found = _over_channels(self.linear, self.attention(self.norm(x)))
        return x + self.drop_path(F.gelu(found))


class Branch(nn.Module):
    """A stem and four levels of blocks; all but the first begin by halving the map.

    Args:
        stem: From the image to the first map.
        down: What halves the map before levels 1, 2 and 3.
        blocks: Blocks of each level.
    """

    def __init__(
        self, stem: nn.Module, down: list[nn.Module], blocks: list[list[nn.Module]]
    ) -> None:
        super().__init__()
        self.stem = stem
        self.down = nn.ModuleList(down)
        self.blocks = nn.ModuleList(nn.Sequential(*each) for each in blocks)

    def forward(
        self, level: int, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs reduced_height reduced_width"]:
        """The map of a level, from that of the level before or the stem's."""
        return self.blocks[level](self.down[level - 1](x) if level else x)


@component(source="Huo et al., HiFuse, BSPC 87, 2024, Fig. 2-4")
class HiFuse(AbstractEncoder):
    """Two branches over one image, and at every level an `HFF` block that fuses their maps.

    The fused map of a level also takes that of the level before; branches never read it. Levels
    have 96, 192, 384 and 768 channels at strides 4, 8, 16 and 32. Between stages, where a fusion
    may exchange, the local, the global and the fused map stand side by side on channels. With a
    classifier of 7 classes, the release has 119.7, 123.3 and 134.0 million parameters; 118.1, 121.7
    and 132.4 are left without those that it never runs, 79.4 of them in the last fusion block.

    Args:
        modality: The image.
        size: `tiny`, `small` or `base`: 2, 6 or 18 blocks at the third level, 2 at the others.
        branch: `both`, or one alone: `local` (convolutions) or `global` (window attention).
        channels: Channels of the first level.
        depths: Blocks per level, where not those of `size`.
        head_channels: Channels of an attention head; divides `channels`.
        drop_path: Drop rate of each branch's last block, rising from 0 at the first, and of the
            fusion blocks.
        ir_depthwise: Whether the fusion blocks' 3x3 convolutions are depthwise, as the paper means
            them; the release has full ones.

    Inputs:  `batch channels height width`, both sides multiples of 32
    Returns: pyramid of `batch channels_i height_i width_i`, fine to coarse
    Raises:  BadOption: a size of the image or a number of channels that can't be
    Example:
        >>> image = Modality("derm", "image", 3, (32, 64))
        >>> encoder = HiFuse(image, channels=8, head_channels=8)
        >>> [tuple(x.shape[1:]) for x in encoder(torch.zeros(2, *image.shape))]
        [(8, 8, 16), (16, 4, 8), (32, 2, 4), (64, 1, 2)]
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image"})
    small: ClassVar[Mapping[str, Any]] = {
        "channels": 8,
        "depths": (1, 1, 1, 1),
        "head_channels": 8,
    }

    def __init__(
        self,
        modality: Modality,
        *,
        size: Literal["tiny", "small", "base"] = "tiny",
        branch: Literal["both", "local", "global"] = "both",
        channels: int = 96,
        depths: tuple[int, int, int, int] | None = None,
        head_channels: int = 32,
        drop_path: float = 0.0,
        ir_depthwise: bool = False,
    ):
        super().__init__()
        _check(modality, channels, head_channels)
        widths = tuple(channels << level for level in range(NUM_LEVELS))
        blocks = depths or DEPTHS[size]
        rates = _rates(blocks, drop_path)
        make = {
            "local": lambda: _local_branch(modality.channels, widths, rates),
            "global": lambda: _global_branch(modality.channels, widths, rates, head_channels),
        }
        chosen = tuple(make) if branch == "both" else (branch,)
        self.branches = nn.ModuleDict({KEYS[name]: make[name]() for name in chosen})
        self._initialise()
        self.fuse = nn.ModuleList()
        if branch == "both":
            for level, width in enumerate(widths):
                before = widths[level - 1] if level else None
                block = HFF(
                    width, width, width, before, depthwise=ir_depthwise, drop_path=drop_path
                )
                self.fuse.append(block)
        self.widths = widths
        side_by_side = 3 if len(self.fuse) else 1
        self.stages = tuple(
            FeatureSpec.map(side_by_side * each.channels, each.size, each.stride)
            for each in _levels(modality, widths)
        )

    @property
    def output(self) -> FeatureSpec:
        """The fused maps, or those of the sole branch."""
        return FeatureSpec.pyramid(
            tuple(
                Level(width, stage.size, stage.levels[0].stride)
                for width, stage in zip(self.widths, self.stages, strict=True)
            )
        )

    def _initialise(self) -> None:
        """As the release does; its convolutions begin ten times as wide as its linear layers."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                std = 0.02 if isinstance(module, nn.Linear) else 0.2
                nn.init.trunc_normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def stem(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch embed reduced_height reduced_width"]:
        """The patch embedding of each branch, side by side on channels."""
        return torch.cat([cast(Branch, branch).stem(x) for branch in self.branches.values()], dim=1)

    def stage(
        self, level: int, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs reduced_height reduced_width"]:
        """Each branch's map of a level and, behind them, the fused one."""
        fused_before = level > 0 and len(self.fuse) > 0
        given = x.chunk(len(self.branches) + fused_before, dim=1)
        maps = [b(level, part) for b, part in zip(self.branches.values(), given, strict=False)]
        if len(self.fuse):
            maps.append(self.fuse[level](*maps, *given[2:]))
        return torch.cat(maps, dim=1)

    def emit(
        self, level: int, x: Float[Tensor, "batch outputs height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The fused map of a level."""
        return x[:, -self.widths[level] :]

    def summary(self) -> "HiFuseSummary | None":
        """The release's classifier without its last layer; None for a branch alone."""
        return HiFuseSummary(self.output) if len(self.fuse) else None

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A released HiFuse's weights under our names; a branch alone takes its own."""
        renamed = {f"fuse.{name}": tensor for name, tensor in official_blocks(state).items()}
        for official, tensor in state.items():
            if not _UNUSED.match(official):
                renamed[_renamed(official)] = tensor
        own = self.state_dict()
        other = ("branches.", "fuse.") if not len(self.fuse) else ()
        return {k: v for k, v in renamed.items() if k in own or not k.startswith(other)}


class HiFuseSummary(AbstractSummary):
    """norm(mean(x)) over all positions of the last map.

    Args:
        given: The encoder's pyramid.
    """

    def __init__(self, given: FeatureSpec):
        super().__init__()
        self.norm = nn.LayerNorm(given.channels, eps=EPSILON)
        self.output = FeatureSpec.vector(given.channels)

    def forward(
        self, features: list[Float[Tensor, "batch _ _ _"]]
    ) -> Float[Tensor, "batch channels"]:
        """One vector per case."""
        return self.norm(reduce(features[-1], "batch channels ... -> batch channels", "mean"))

    def rename_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The release's `conv_norm`."""
        return {f"norm.{name}": state[f"conv_norm.{name}"] for name in ("weight", "bias")}


def _local_branch(in_channels: int, widths: tuple[int, ...], rates: list[list[float]]) -> Branch:
    first = widths[0]
    stem = nn.Sequential(
        nn.Conv2d(in_channels, first, PATCH, stride=PATCH), ChannelNorm(first, eps=EPSILON)
    )
    down: list[nn.Module] = [
        nn.Sequential(ChannelNorm(width, eps=EPSILON), nn.Conv2d(width, 2 * width, 2, stride=2))
        for width in widths[:-1]
    ]
    return Branch(
        stem,
        down,
        [[LocalBlock(w, rate) for rate in each] for w, each in zip(widths, rates, strict=True)],
    )


def _global_branch(
    in_channels: int, widths: tuple[int, ...], rates: list[list[float]], head_channels: int
) -> Branch:
    first = widths[0]
    stem = nn.Sequential(nn.Conv2d(in_channels, first, PATCH, stride=PATCH), ChannelNorm(first))
    down: list[nn.Module] = [PatchMerging(width) for width in widths[:-1]]
    blocks: list[list[nn.Module]] = [
        [
            GlobalBlock(width, width // head_channels, shift=WINDOW // 2 * (i % 2), drop_path=rate)
            for i, rate in enumerate(each)
        ]
        for width, each in zip(widths, rates, strict=True)
    ]
    return Branch(stem, down, blocks)


def _rates(depths: tuple[int, ...], last: float) -> list[list[float]]:
    """Drop rates of the blocks of each level, rising from 0 to `last`."""
    step = last / max(sum(depths) - 1, 1)
    return [[step * (sum(depths[:level]) + i) for i in range(n)] for level, n in enumerate(depths)]


def _levels(modality: Modality, widths: tuple[int, ...]) -> list[Level]:
    levels = []
    for level, width in enumerate(widths):
        stride = PATCH << level
        size = tuple(length // stride for length in modality.size)
        levels.append(Level(width, size, (stride, stride)))
    return levels


def _over_channels(linear: nn.Module, x: Tensor) -> Tensor:
    return torch.movedim(linear(torch.movedim(x, 1, -1)), -1, 1)


def _renamed(official: str) -> str:
    for pattern, ours in _RENAMES:
        official = re.sub(pattern, ours, official)
    return official


def _check(modality: Modality, channels: int, head_channels: int) -> None:
    if any(length % MULTIPLE for length in modality.size):
        up = "x".join(str(-(-length // MULTIPLE) * MULTIPLE) for length in modality.size)
        raise BadOption(
            f"Encoder 'hifuse' halves patches of {PATCH} three times, so both sides of an image "
            f"are multiples of {MULTIPLE}; {modality.name!r} is "
            f"{'x'.join(map(str, modality.size))}. Resize it to {up}, for instance."
        )
    if head_channels < 1 or channels < 1 or channels % head_channels:
        raise BadOption(
            f"Encoder 'hifuse' can't split channels={channels} into heads of head_channels="
            f"{head_channels}. Use a number that divides {channels}."
        )


__all__ = ["DEPTHS", "GlobalBlock", "HiFuse", "HiFuseSummary", "LocalBlock"]
