"""VMamba: an image pyramid by selective scans along four directions.

Source: Liu et al., VMamba, NeurIPS 2024, arXiv 2401.10166, Fig. 3 and Table 9; the released models
`s1l8` (tiny) and `s1l20` (small, base), the tiny one being IIMGF-Net's encoder.
Differs from the released code: the classifier is left to the head; a position embedding, which
IIMGF-Net adds after the patch embedding, is an option.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from timm.layers.drop import DropPath
from torch import Tensor, nn

from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.interface import AbstractEncoder, AbstractSummary, component
from fusionzoo.ops.halving_conv import HalvingConv2d
from fusionzoo.ops.linear2d import Linear2d
from fusionzoo.ops.selective_scan import selected_backend
from fusionzoo.ops.ss2d import SS2D, LayerNorm2d
from fusionzoo.spec import FeatureSpec, Modality

#: Names of the release, the older ones too, and what they are here.
_RENAMES = (
    (r"^patch_embed\.proj\.", "patch_embed.0."),
    (r"^patch_embed\.norm\.", "patch_embed.2."),
    (r"\.ln_1\.", ".norm."),
    (r"\.self_attention\.", ".op."),
    (r"^norm\.", "classifier.norm."),
    (r"^head\.", "classifier.head."),
    (r"^patch_embed\.", "embed."),
    (r"^layers\.", "levels."),
)


class Variant(NamedTuple):
    """Channels of the first stage, blocks per stage, and the last block's drop rate."""

    channels: int
    depths: tuple[int, int, int, int]
    drop_path: float


SIZES = {
    "tiny": Variant(96, (2, 2, 8, 2), 0.2),
    "small": Variant(96, (2, 2, 20, 2), 0.3),
    "base": Variant(128, (2, 2, 20, 2), 0.5),
}


@component(source="Liu et al., VMamba, NeurIPS 2024, Fig. 3; released models s1l8 and s1l20")
class VMamba(AbstractEncoder):
    """A patch embedding of stride 4 and four stages of VSS blocks.

    Every stage but the last ends with a convolution of stride 2 that doubles the channels, so that
    the tiny one gives 192, 384, 768 and 768 channels at strides 8, 16, 32 and 32. With its
    classifier of 1000 classes it has 30,249,064 parameters.

    Args:
        modality: The image.
        size: `tiny`, `small` or `base`.
        num_stages: Stages that are built; IIMGF-Net reads three.
        channels: Channels of the first stage, where not those of `size`.
        depths: Blocks per stage, where not those of `size`.
        drop_path: Drop rate of the last block, rising from 0 at the first.
        num_states: States per channel of the selective scans.
        ssm_ratio: Inner channels of the scans as a multiple of a stage's channels.
        position_embedding: Whether a learned map is added after the patch embedding.
        scan_backend: Backend of the selective scans.

    Inputs:  `batch channels height width`, any size
    Returns: pyramid of `batch channels_i height_i width_i`, fine to coarse
    Raises:  BadOption: a number of stages or a backend that there is not
    Example:
        >>> encoder = VMamba(Modality("derm", "image", 3, (64, 64)), channels=8)
        >>> [tuple(x.shape[1:]) for x in encoder(torch.zeros(1, 3, 64, 64))]
        [(16, 8, 8), (32, 4, 4), (64, 2, 2), (64, 2, 2)]
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image"})
    small: ClassVar[Mapping[str, Any]] = {"channels": 8, "depths": (1, 1, 1, 1)}

    def __init__(
        self,
        modality: Modality,
        *,
        size: Literal["tiny", "small", "base"] = "tiny",
        num_stages: int = 4,
        channels: int | None = None,
        depths: tuple[int, int, int, int] | None = None,
        drop_path: float | None = None,
        num_states: int = 1,
        ssm_ratio: float = 1.0,
        position_embedding: bool = False,
        scan_backend: str = "auto",
    ):
        super().__init__()
        _check(num_stages, scan_backend)
        variant = SIZES[size]
        first = channels or variant.channels
        depths = depths or variant.depths
        last_drop = variant.drop_path if drop_path is None else drop_path
        self.scan_backend = scan_backend
        self.embed = patch_embedding(modality.channels, first)
        self.position: nn.Parameter | None = None
        if position_embedding:
            self.position = nn.Parameter(torch.zeros(1, first, *_divided(modality.size, 4)))
        self.levels = nn.ModuleList()
        stages = []
        for level in range(num_stages):
            width, before = first << level, sum(depths[:level])
            drops = [
                last_drop * (before + i) / max(sum(depths) - 1, 1) for i in range(depths[level])
            ]
            make = [
                VSSBlock(width, drop, num_states=num_states, ratio=ssm_ratio, backend=scan_backend)
                for drop in drops
            ]
            self.levels.append(Stage(width, make, downsample=level < 3))
            stride = 4 << min(level + 1, 3)
            given = first << min(level + 1, 3)
            stages.append(FeatureSpec.map(given, _divided(modality.size, stride), (stride, stride)))
        self.stages = tuple(stages)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.position is not None:
            nn.init.trunc_normal_(self.position, std=0.02)

    @property
    def backend(self) -> str:
        """What the selective scans run on, where the weights are now."""
        return selected_backend(next(self.parameters()).device, self.scan_backend)

    def stem(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch embed embedded_height embedded_width"]:
        """The patch embedding, and the position embedding where there is one."""
        x = self.embed(x)
        return x if self.position is None else x + self.position

    def stage(
        self, level: int, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs strided_height strided_width"]:
        """The blocks of one stage and its downsampling."""
        return self.levels[level](x)

    def summary(self) -> "VMambaSummary":
        """The release's classifier without its last layer: a norm and the mean."""
        return VMambaSummary(self.output)

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This encoder's state dict from that of a released VMamba or IIMGF-Net.

        What is not built here is left out: the classifier, stages after `num_stages`, and the rest
        of IIMGF-Net. A position embedding that VMamba doesn't have keeps its initial values.

        Raises:
            WeightsError: Names that a VMamba doesn't have.
        """
        own, renamed, unknown = self.state_dict(), {}, []
        for official, tensor in official_names(state).items():
            stage = re.match(r"levels\.(\d+)\.", official)
            if official in own:
                is_linear = own[official].ndim == 2 and tensor.shape[2:] == (1, 1)
                renamed[official] = tensor.flatten(1) if is_linear else tensor
            elif official.split(".")[0] != "classifier" and not (
                stage and len(self.levels) <= int(stage[1]) < len(SIZES["tiny"].depths)
            ):
                unknown.append(official)
        if unknown:
            raise WeightsError(
                f"These weights are no VMamba's: {len(unknown)} of {len(state)} names are unknown, "
                f"{unknown[0]!r} first. Give the state dict of a released VMamba."
            )
        if self.position is not None:
            renamed["position"] = state.get("pos_embed", own["position"])
        return renamed


class VMambaSummary(AbstractSummary):
    """`mean(norm(x))` of the last map, before VMamba's linear classifier.

    Args:
        given: The encoder's output.
    """

    def __init__(self, given: FeatureSpec):
        super().__init__()
        self.output = FeatureSpec.vector(given.channels)
        self.norm = LayerNorm2d(given.channels)

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This summary's state dict from that of a released VMamba."""
        return {
            name.removeprefix("classifier."): tensor
            for name, tensor in official_names(state).items()
            if name.startswith("classifier.norm.")
        }

    def forward(self, features: list[Tensor] | Tensor) -> Float[Tensor, "batch channels"]:
        """One vector per case from the last map of a pyramid."""
        x = features[-1] if isinstance(features, list) else features
        return self.norm(x).mean((2, 3))


class Stage(nn.Module):
    """Blocks one after the other, then half the size and twice the channels, or neither.

    Args:
        channels: Channels of the blocks.
        blocks: The blocks.
        downsample: Whether it ends with the convolution of stride 2.
    """

    def __init__(self, channels: int, blocks: list["VSSBlock"], *, downsample: bool):
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.downsample: nn.Module = nn.Identity()
        if downsample:
            conv = HalvingConv2d(channels, 2 * channels)
            self.downsample = nn.Sequential(
                OrderedDict([("1", conv), ("3", LayerNorm2d(2 * channels))])
            )

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch outputs strided_height strided_width"]:
        """The stage's map."""
        return self.downsample(self.blocks(x))


class VSSBlock(nn.Module):
    """`x + SS2D(norm(x))`, then `x + MLP(norm(x))`, an MLP of four times the channels with GELU.

    Args:
        channels: Channels of the map.
        drop_path: Probability that a case skips a branch in training.
        num_states: States per channel of the scan.
        ratio: Inner channels of the scan as a multiple of `channels`.
        backend: Backend of the scan.
    """

    def __init__(
        self,
        channels: int,
        drop_path: float = 0.0,
        *,
        num_states: int = 1,
        ratio: float = 1.0,
        backend: str = "auto",
    ):
        super().__init__()
        self.norm, self.norm2 = LayerNorm2d(channels), LayerNorm2d(channels)
        self.op = SS2D(channels, num_states=num_states, ratio=ratio, backend=backend)
        hidden = 4 * channels
        self.mlp = nn.Sequential(
            OrderedDict(
                fc1=Linear2d(channels, hidden), act=nn.GELU(), fc2=Linear2d(hidden, channels)
            )
        )
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """A map of the same shape."""
        x = x + self.drop_path(self.op(self.norm(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


def patch_embedding(in_channels: int, channels: int) -> nn.Sequential:
    """Two convolutions 3x3 of stride 2, a norm after each and GELU between; the release's slots."""
    half = channels // 2
    return nn.Sequential(
        OrderedDict(
            [
                ("0", nn.Conv2d(in_channels, half, 3, stride=2, padding=1)),
                ("2", LayerNorm2d(half)),
                ("4", nn.GELU()),
                ("5", nn.Conv2d(half, channels, 3, stride=2, padding=1)),
                ("7", LayerNorm2d(channels)),
            ]
        )
    )


def official_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A released VMamba, or the one in a released IIMGF-Net, with older names made new."""
    inside = {k.removeprefix("mamba."): v for k, v in state.items() if k.startswith("mamba.")}
    renamed = {}
    for official, tensor in (inside or state).items():
        name = official
        for pattern, ours in _RENAMES:
            name = re.sub(pattern, ours, name)
        renamed[name] = tensor
    return renamed


def _divided(size: tuple[int, ...], stride: int) -> tuple[int, ...]:
    """A map's size after halvings that round up."""
    return tuple(-(-length // stride) for length in size)


def _check(num_stages: int, scan_backend: str) -> None:
    if not 1 <= num_stages <= 4:
        raise BadOption(f"Encoder 'vmamba' has 1 to 4 stages, not num_stages={num_stages}.")
    selected_backend("meta", scan_backend)


__all__ = ["SIZES", "Stage", "VMamba", "VMambaSummary", "VSSBlock", "patch_embedding"]
