"""MambaVision: convolutions, then selective scans and attention inside of windows.

Source: Hatamizadeh and Kautz, MambaVision, CVPR 2025, arXiv:2407.08083, Fig. 2-3, Eqs. (5)-(8),
Table 5; the released code, which gives the mixer's step sizes their bias twice.
Differs from the released code: the classifier is left to the head, and the maps are read before
each level's downsampling.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractEncoder, AbstractSummary, component
from fusionzoo.ops.selective_scan import selected_backend, selective_scan
from fusionzoo.ops.windows import from_windows, to_windows
from fusionzoo.spec import FeatureSpec, Modality

NUM_LEVELS, NUM_CONVOLUTIONAL = 4, 2
#: Side of the windows at the last two levels.
WINDOWS = (14, 7)
STATES = 8

_RENAMES = (
    (r"^patch_embed\.conv_down\.", "embed."),
    (r"^levels\.(\d)\.blocks\.", r"blocks.\1."),
    (r"^levels\.(\d)\.downsample\.reduction\.0\.", r"reductions.\1."),
)
_ELSEWHERE = re.compile(r"(norm|head)\.")


class Variant(NamedTuple):
    """Channels inside of the stem and of the first level, and blocks per level."""

    stem: int
    channels: int
    depths: tuple[int, int, int, int]


SIZES = {
    "T": Variant(32, 80, (1, 3, 8, 4)),
    "T2": Variant(32, 80, (1, 3, 11, 4)),
    "S": Variant(64, 96, (3, 3, 7, 5)),
}


class ConvBlock(nn.Module):
    """x + norm(conv(gelu(norm(conv(x))))), convolutions 3x3, GELU by its tanh.

    Args:
        channels: Channels of the map.
        drop_path: Probability that a case skips the block in training.
    """

    def __init__(self, channels: int, drop_path: float = 0.0):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """A map of the same shape."""
        inner = F.gelu(self.norm1(self.conv1(x)), approximate="tanh")
        return x + self.drop_path(self.norm2(self.conv2(inner)))


class Mixer(nn.Module):
    """W_out [scan(silu(conv(x))), silu(conv(z))], with [x, z] = W_in of the tokens.

    The scan's step sizes are softplus(W_dt dt + 2 b), where dt, B and C are linear in its input:
    the released code gives the bias b once with the linear layer and once more to the scan.

    Args:
        channels: Channels of the tokens; x and z have half of them.
        num_states: States per channel of the scan.
        backend: Backend of the scan.
    """

    def __init__(self, channels: int, *, num_states: int = STATES, backend: str = "auto"):
        super().__init__()
        half, self.rank = channels // 2, math.ceil(channels / 16)
        self.num_states, self.scan_backend = num_states, backend
        rates = torch.arange(1.0, num_states + 1).log()
        self.A_log = nn.Parameter(rates.repeat(half, 1))
        self.D = nn.Parameter(torch.ones(half))
        self.in_proj = nn.Linear(channels, 2 * half, bias=False)
        self.x_proj = nn.Linear(half, self.rank + 2 * num_states, bias=False)
        self.dt_proj = nn.Linear(self.rank, half)
        self.out_proj = nn.Linear(2 * half, channels, bias=False)
        self.conv1d_x = nn.Conv1d(half, half, 3, padding=1, groups=half, bias=False)
        self.conv1d_z = nn.Conv1d(half, half, 3, padding=1, groups=half, bias=False)

    def forward(
        self, tokens: Float[Tensor, "batch tokens channels"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Tokens of the same shape."""
        x, z = self.in_proj(tokens).mT.chunk(2, dim=1)
        x, z = F.silu(self.conv1d_x(x)), F.silu(self.conv1d_z(z))
        rows = self.x_proj(x.mT)
        narrow, B, C = rows.split([self.rank, self.num_states, self.num_states], dim=-1)
        y = selective_scan(
            x,
            self.dt_proj(narrow).mT,
            -torch.exp(self.A_log),
            B.mT,
            C.mT,
            self.D,
            self.dt_proj.bias,
            delta_softplus=True,
            backend=self.scan_backend,
        )
        return self.out_proj(torch.cat([y, z], dim=1).mT)


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V per head, projected; every layer with a bias.

    Args:
        channels: Channels of the tokens.
        num_heads: Heads; divides `channels`.
    """

    def __init__(self, channels: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(
        self, tokens: Float[Tensor, "batch tokens channels"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Tokens of the same shape."""
        pattern = "batch tokens (three heads dim) -> three batch heads tokens dim"
        q, k, v = rearrange(self.qkv(tokens), pattern, three=3, heads=self.num_heads)
        found = F.scaled_dot_product_attention(q, k, v)
        return self.proj(rearrange(found, "batch heads tokens dim -> batch tokens (heads dim)"))


class Block(nn.Module):
    """x + mixer(norm(x)), then x + MLP(norm(x)), an MLP of four times the channels with GELU.

    Args:
        mixer: A `Mixer` or an `Attention`.
        channels: Channels of the tokens.
        drop_path: Probability that a window skips a branch in training.
    """

    def __init__(self, mixer: nn.Module, channels: int, drop_path: float = 0.0):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.mixer = mixer
        self.mlp = Mlp(channels, 4 * channels)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, tokens: Float[Tensor, "batch tokens channels"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Tokens of the same shape."""
        tokens = tokens + self.drop_path(self.mixer(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


@component(source="Hatamizadeh and Kautz, MambaVision, CVPR 2025, Fig. 2-3, Table 5")
class MambaVision(AbstractEncoder):
    """Two levels of convolutions and two of windows, where mixers come first and attention last.

    `T` has 80, 160, 320 and 640 channels at strides 4, 8, 16 and 32. With a classifier of 1000
    classes over three channels, `T`, `T2` and `S` have 31.8, 35.1 and 50.1 million parameters. Of
    d blocks of a level with windows, the first ceil(d / 2) are mixers. Maps are padded with zeros
    to whole windows, and the padding takes part, as in the release.

    Args:
        modality: The image.
        size: `T`, `T2` or `S`.
        channels: Channels of the first level, where not those of `size`.
        depths: Blocks per level, where not those of `size`.
        heads: Attention heads at the last two levels.
        windows: Side of the windows at the last two levels.
        drop_path: Drop rate of the last block, rising from 0 at the first.
        scan_backend: Backend of the selective scans.

    Inputs:  `batch channels height width`, any size
    Returns: pyramid of `batch channels_i height_i width_i`, fine to coarse; halvings round up
    Raises:  BadOption: heads that don't divide the channels, windows below 1, or a backend that
        there is not
    Example:
        >>> image = Modality("derm", "image", 6, (64, 48))
        >>> encoder = MambaVision(image, channels=8, depths=(1, 1, 2, 2), heads=(2, 4))
        >>> [tuple(x.shape[1:]) for x in encoder(torch.zeros(1, *image.shape))]
        [(8, 16, 12), (16, 8, 6), (32, 4, 3), (64, 2, 2)]
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image"})
    small: ClassVar[Mapping[str, Any]] = {
        "channels": 8,
        "depths": (1, 1, 2, 2),
        "heads": (2, 4),
        "windows": (4, 2),
    }

    def __init__(
        self,
        modality: Modality,
        *,
        size: Literal["T", "T2", "S"] = "T",
        channels: int | None = None,
        depths: tuple[int, int, int, int] | None = None,
        heads: tuple[int, int] = (8, 16),
        windows: tuple[int, int] = WINDOWS,
        drop_path: float = 0.2,
        scan_backend: str = "auto",
    ):
        super().__init__()
        first, depths = channels or SIZES[size].channels, depths or SIZES[size].depths
        _check(first, heads, windows, scan_backend)
        self.scan_backend = scan_backend
        self.windows = windows
        self.embed = _patch_embedding(modality.channels, SIZES[size].stem, first)
        self.reductions = nn.ModuleList(
            nn.Conv2d(first << level, 2 * first << level, 3, stride=2, padding=1, bias=False)
            for level in range(NUM_LEVELS - 1)
        )
        self.blocks = nn.ModuleList()
        for level, depth in enumerate(depths):
            width, before = first << level, sum(depths[:level])
            rates = [drop_path * (before + i) / max(sum(depths) - 1, 1) for i in range(depth)]
            inner = level - NUM_CONVOLUTIONAL
            blocks: list[nn.Module] = (
                [ConvBlock(width, rate) for rate in rates]
                if inner < 0
                else _window_blocks(width, heads[inner], rates, scan_backend)
            )
            self.blocks.append(nn.Sequential(*blocks))
        self.stages = tuple(
            FeatureSpec.map(
                first << level,
                tuple(-(-length // (4 << level)) for length in modality.size),
                (4 << level, 4 << level),
            )
            for level in range(NUM_LEVELS)
        )
        self._initialise()

    def _initialise(self) -> None:
        """As the release does, whose step sizes so begin at softplus(0)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def backend(self) -> str:
        """What the selective scans run on, where the weights are now."""
        return selected_backend(next(self.parameters()).device, self.scan_backend)

    def stem(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch embed reduced_height reduced_width"]:
        """A map of stride 4."""
        return self.embed(x)

    def stage(
        self, level: int, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs strided_height strided_width"]:
        """The convolution of stride 2 before all levels but the first, and the blocks."""
        if level:
            x = self.reductions[level - 1](x)
        if level < NUM_CONVOLUTIONAL:
            return self.blocks[level](x)
        window = self.windows[level - NUM_CONVOLUTIONAL]
        return from_windows(self.blocks[level](to_windows(x, window)), window, *x.shape[2:])

    def summary(self) -> "MambaVisionSummary":
        """The release's classifier without its last layer: a norm and the mean."""
        return MambaVisionSummary(self.output)

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A released MambaVision's weights under our names, without its classifier."""
        renamed = {}
        for official, tensor in state.items():
            if not _ELSEWHERE.match(official):
                name = official
                for pattern, ours in _RENAMES:
                    name = re.sub(pattern, ours, name)
                renamed[name] = tensor
        return renamed


class MambaVisionSummary(AbstractSummary):
    """The mean over positions of norm(x), a batch norm of the last map.

    Args:
        given: The encoder's pyramid.
    """

    def __init__(self, given: FeatureSpec):
        super().__init__()
        self.norm = nn.BatchNorm2d(given.channels)
        self.output = FeatureSpec.vector(given.channels)

    def forward(
        self, features: list[Float[Tensor, "batch _ _ _"]]
    ) -> Float[Tensor, "batch channels"]:
        """One vector per case."""
        return reduce(self.norm(features[-1]), "batch channels ... -> batch channels", "mean")

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The release's last norm."""
        return {name: tensor for name, tensor in state.items() if name.startswith("norm.")}


def _patch_embedding(inputs: int, inner: int, channels: int) -> nn.Sequential:
    """Two convolutions 3x3 of stride 2, each with a norm and a ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, inner, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(inner, eps=1e-4),
        nn.ReLU(),
        nn.Conv2d(inner, channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels, eps=1e-4),
        nn.ReLU(),
    )


def _window_blocks(
    channels: int, num_heads: int, rates: list[float], backend: str
) -> list[nn.Module]:
    """The first half of the blocks, rounded up, with mixers, the others with attention."""
    mixers = -(-len(rates) // 2)
    return [
        Block(
            Mixer(channels, backend=backend) if i < mixers else Attention(channels, num_heads),
            channels,
            rate,
        )
        for i, rate in enumerate(rates)
    ]


def _check(
    channels: int, heads: tuple[int, int], windows: tuple[int, int], scan_backend: str
) -> None:
    for level, (num_heads, window) in enumerate(zip(heads, windows, strict=True), start=2):
        width = channels << level
        if num_heads < 1 or width % num_heads:
            raise BadOption(
                f"Encoder 'mambavision' can't split {width} channels of level {level} into "
                f"{num_heads} heads. Use numbers of heads that divide the channels."
            )
        if window < 1:
            raise BadOption(f"Encoder 'mambavision' needs windows of 1 or more, not {window}.")
    selected_backend("meta", scan_backend)


__all__ = ["SIZES", "Attention", "Block", "ConvBlock", "MambaVision", "MambaVisionSummary", "Mixer"]
