"""E3D-MSCA: attention over channels, space and kernel sizes, down and up a 3D pyramid.

Source: MMCAF-Net (official repository yjx1234/MMCAF-Net), image branch and Eq. 2; the blocks are
3D forms of EMCAD's multi-scale attention decoder (Rahman et al., CVPR 2024), the merging unit is
the one of NeRD-Rain (Chen et al., CVPR 2024).
Differs from the paper, as its code does: levels are merged by learned weights and a sum, not by
Eq. 2's concatenation (`merge="concat"`); one spatial gate serves all levels (`sab="per_scale"` for
one each); ReLU6 in the mixers, where the figure has ReLU (`activation="relu"`).
Differs from the released code: any number of levels, channels and sizes; the fine map is brought to
the coarse one's channels where those differ, not where sizes do; the channel shuffle of the
upsampling block is left out, because with one channel a group it changes nothing.
"""

import re
from collections import OrderedDict
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.errors import BadOption, LayoutMismatch, WeightsError
from fusionzoo.interface import AbstractNeck, AbstractSummary, component
from fusionzoo.ops.conv import (
    PointwiseConv3d,
    channel_shuffle,
    pointwise_conv3d,
    resize_to,
)
from fusionzoo.ops.dense_conv import DenseConv3d
from fusionzoo.ops.depthwise import DepthwiseConv3d
from fusionzoo.spec import FeatureSpec, Level, Need

#: Kernel sizes of the parallel depth-wise convolutions of a mixer, and its widening.
KERNEL_SIZES = (1, 3, 5)
EXPANSION = 2
#: Dropout on the summary's vector, in the variant with dropout.
SUMMARY_DROPOUT = 0.5

_ACTIVATIONS: dict[str, type[nn.ReLU | nn.ReLU6]] = {"relu6": nn.ReLU6, "relu": nn.ReLU}
_PARTS = (
    (r"scale(\d)\.0\.", "neck.stems.{}.norm."),
    (r"sab\.", "neck.spatial_gates.0."),
    (r"cab(\d)\.fc1\.", "neck.channel_gates.{}.squeeze."),
    (r"cab(\d)\.fc2\.", "neck.channel_gates.{}.excite."),
    (r"dcfb(\d)\.pconv1\.", "neck.mixers.{}.expand."),
    (r"dcfb(\d)\.msdc\.dwconvs\.", "neck.mixers.{}.branches."),
    (r"dcfb(\d)\.pconv2\.", "neck.mixers.{}.project."),
    (r"ucb(\d)\.up_dwc\.1\.", "neck.ups.{}.depthwise."),
    (r"ucb(\d)\.up_dwc\.2\.", "neck.ups.{}.norm."),
    (r"ucb(\d)\.pwc\.0\.", "neck.ups.{}.point."),
    (r"bfpu(\d)\.query_conv\.", "neck.merges.{}.affinity.coarse."),
    (r"bfpu(\d)\.key_conv\.", "neck.merges.{}.affinity.fine."),
    (r"bfpu(\d)\.adjust_c\.", "neck.merges.{}.adapt."),
    (r"bfpu(\d)\.gamma1\.", "neck.merges.{}.weigh_coarse."),
    (r"bfpu(\d)\.gamma2\.", "neck.merges.{}.weigh_fine."),
    (r"fc\.0\.", "summary.linear."),
    (r"fused_cls\.0\.", "head."),
    (r"encoder\.", "encoder."),
)


@component(source="MMCAF-Net, E3D-MSCA and BFPU, Eq. 2 and image branch of the released code")
class E3DMSCA(AbstractNeck):
    """Gates and mixes every level, top-down with upsampling, then merges bottom-up.

    With levels 1 (fine) to n (coarse) and `E(x) = mixer(spatial_gate(channel_gate(x)))`:

        d_n = E_n(x_n)          d_i = E_i(x_i + up_i(d_(i+1)))
        b_1 = d_1               b_(i+1) = merge_i(d_(i+1), b_i)

    It gives `b_1 ... b_n`; what follows reads the last. Over the paper's pyramid (256, 512 and 1024
    channels) it has 78,733,238 parameters in the variant with dropout, without summary and head.

    Args:
        given: A pyramid of two or more volumes, any channels. Released weights have ratios 1:2:4.
        dropout: 0 takes the maps as they come, with a linear layer as the summary. More adds batch
            norm, ReLU and element dropout to every level, and ReLU and dropout 0.5 to the summary:
            the paper's rows "+E3D-MSCA" and "+E3D-MSCA+drop", as far as its code tells.
        merge: `gated` weighs and sums two maps, `concat` stacks them (twice the coarse channels).
        sab: `shared` has one spatial gate for all levels, `per_scale` one for each.
        activation: `relu6` or `relu`, inside the mixers.
        channels: Length of the summary's vector.

    Returns: A pyramid of the sizes given.
    Raises: BadOption for values it can't use; LayoutMismatch for fewer than two levels.

    Example:
        >>> levels = (Level(16, (4, 6, 6), (2, 4, 4)), Level(32, (2, 3, 3), (4, 8, 8)))
        >>> neck = E3DMSCA(FeatureSpec.pyramid(levels))
        >>> maps = neck([torch.zeros(2, 16, 4, 6, 6), torch.zeros(2, 32, 2, 3, 3)])
        >>> [tuple(x.shape) for x in maps]
        [(2, 16, 4, 6, 6), (2, 32, 2, 3, 3)]
    """

    def __init__(
        self,
        given: FeatureSpec,
        *,
        dropout: float = 0.0,
        merge: str = "gated",
        sab: str = "shared",
        activation: str = "relu6",
        channels: int = 24,
    ):
        super().__init__()
        _check(given, dropout, merge, sab, activation, channels)
        widths = [level.channels for level in given.levels]
        self.stems = nn.ModuleList(_stem(width, dropout) for width in widths)
        self.channel_gates = nn.ModuleList(ChannelGate(width) for width in widths)
        self.spatial_gates = nn.ModuleList(
            SpatialGate() for _ in widths[: 1 if sab == "shared" else None]
        )
        self.mixers = nn.ModuleList(Mixer(width, activation) for width in widths)
        self.ups = nn.ModuleList(Upsample(coarse, fine) for fine, coarse in pairwise(widths))
        self.merges: nn.ModuleList = nn.ModuleList()
        levels = [given.levels[0]]
        for level in given.levels[1:]:
            kind = GatedMerge if merge == "gated" else ConcatMerge
            merged = kind(level.channels, levels[-1].channels)
            self.merges.append(merged)
            levels.append(Level(merged.out_channels, level.size, level.stride))
        self.output = FeatureSpec.pyramid(tuple(levels))
        self.channels, self.dropout = channels, SUMMARY_DROPOUT if dropout else 0.0

    @classmethod
    def need(cls, **options: Any) -> Need:
        """A pyramid of volumes, of any channels; two levels or more."""
        return Need(("pyramid",), spatial_dims=3)

    def summary(self) -> "MaxPoolSummary":
        """Global max pooling of the last map and a linear layer."""
        return MaxPoolSummary(self.output, self.channels, dropout=self.dropout)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """The refined maps, fine to coarse."""
        maps = [stem(x) for stem, x in zip(self.stems, features, strict=True)]
        maps[-1] = self._attend(len(maps) - 1, maps[-1])
        for level in reversed(range(len(maps) - 1)):
            above = resize_to(self.ups[level](maps[level + 1]), maps[level].shape[2:])
            maps[level] = self._attend(level, maps[level] + above)
        for level, merge in enumerate(self.merges):
            maps[level + 1] = merge(maps[level + 1], maps[level])
        return maps

    def _attend(self, level: int, x: Tensor) -> Tensor:
        spatial_gate = self.spatial_gates[level % len(self.spatial_gates)]
        return self.mixers[level](spatial_gate(self.channel_gates[level](x)))

    @classmethod
    def official_parts(cls, state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """State dicts of `encoder`, `neck`, `summary` and `head` from MMCAF-Net's image model.

        The encoder's keep their official names, for the encoder to rename; the others have ours. A
        leading `module.` is taken off.

        Raises: WeightsError for names that the image model does not have.
        """
        parts: dict[str, dict[str, Tensor]] = {"encoder": {}, "neck": {}, "summary": {}, "head": {}}
        unknown = []
        for official, tensor in state.items():
            part, _, name = _rename(official.removeprefix("module.")).partition(".")
            if part in parts:
                parts[part][name] = tensor
            else:
                unknown.append(official)
        if unknown:
            raise WeightsError(
                f"These weights are not MMCAF-Net's image model: {len(unknown)} of {len(state)} "
                f"names are unknown, {unknown[0]!r} first. Give the state dict of its released "
                "Img_new, or load weights that fusionzoo saved without renaming them."
            )
        return parts

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This neck's state dict from that of MMCAF-Net's image model."""
        return cls.official_parts(state)["neck"]


class ChannelGate(nn.Module):
    """`x * sigmoid(f(max over space) + f(mean over space))`, f two layers with a ReLU between.

    Source: the channel attention block (CAB) of EMCAD, in 3D.

    Args:
        channels: Channels of the map; the hidden layer has 1/16 of them, at least one.
    """

    def __init__(self, channels: int):
        super().__init__()
        hidden = channels // min(16, channels)
        self.squeeze = nn.Conv3d(channels, hidden, 1, bias=False)
        self.excite = nn.Conv3d(hidden, channels, 1, bias=False)
        _small_normal(self)

    def gate(
        self, x: Float[Tensor, "batch channels depth height width"]
    ) -> Float[Tensor, "batch channels 1 1 1"]:
        """One number from 0 to 1 per channel."""
        flat = x.flatten(2)
        return torch.sigmoid(self._hidden(flat.mean(2)) + self._hidden(flat.max(2).values))

    def forward(
        self, x: Float[Tensor, "batch channels depth height width"]
    ) -> Float[Tensor, "batch channels depth height width"]:
        """The gated map."""
        return x * self.gate(x)

    def _hidden(self, pooled: Tensor) -> Tensor:
        return self.excite(F.relu(self.squeeze(pooled[..., None, None, None])))


class SpatialGate(nn.Module):
    """`x * sigmoid(conv7([mean over channels of x, max over channels of x]))`.

    Source: the spatial attention block (SAB) of EMCAD, in 3D.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 1, 7, padding=3, bias=False)

    def gate(
        self, x: Float[Tensor, "batch channels depth height width"]
    ) -> Float[Tensor, "batch 1 depth height width"]:
        """One number from 0 to 1 per position."""
        return torch.sigmoid(self.conv(torch.cat([x.mean(1, True), x.max(1, True).values], dim=1)))

    def forward(
        self, x: Float[Tensor, "batch channels depth height width"]
    ) -> Float[Tensor, "batch channels depth height width"]:
        """The gated map."""
        return x * self.gate(x)


class Mixer(nn.Module):
    """`x + project(shuffle(sum over k of branch_k(expand(x))))`, depth-wise branches of 1, 3 and 5.

    Source: the multi-scale convolution block of EMCAD, in 3D (the paper's DCFB).

    Args:
        channels: Channels of the map; twice as many inside.
        activation: `relu6` or `relu`.
    """

    def __init__(self, channels: int, activation: str = "relu6"):
        super().__init__()
        inner = EXPANSION * channels
        act = _ACTIVATIONS[activation]
        self.expand = _normed(PointwiseConv3d(channels, inner, bias=False), act(inplace=True))
        self.branches = nn.ModuleList(
            _normed(DepthwiseConv3d(inner, k), act(inplace=True)) for k in KERNEL_SIZES
        )
        self.project = _normed(PointwiseConv3d(inner, channels, bias=False))
        _small_normal(self)

    def forward(
        self, x: Float[Tensor, "batch channels depth height width"]
    ) -> Float[Tensor, "batch channels depth height width"]:
        """A map of the same shape."""
        wide = self.expand(x)
        first, second, *others = self.branches
        mixed = first(wide) + second(wide)
        for branch in others:
            mixed += branch(wide)
        return self._project(mixed).add_(x)

    def _project(self, mixed: Tensor) -> Tensor:
        """What `project` makes of the shuffled map: its weight is shuffled back, not the map."""
        weight = channel_shuffle(self.project.get_parameter("conv.weight"), EXPANSION)
        return self.project.get_submodule("norm")(pointwise_conv3d(mixed, weight))


class Upsample(nn.Module):
    """Twice the size by interpolation, then a depth-wise and a point-wise convolution (UCB).

    Source: the efficient up-convolution block of EMCAD, in 3D, with linear interpolation.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.depthwise = DepthwiseConv3d(in_channels, 3)
        self.norm = nn.BatchNorm3d(in_channels)
        self.point = PointwiseConv3d(in_channels, out_channels)
        _small_normal(self)

    def forward(
        self, x: Float[Tensor, "batch inputs depth height width"]
    ) -> Float[Tensor, "batch outputs doubled_depth doubled_height doubled_width"]:
        """A map of twice the size along every axis."""
        doubled = resize_to(x, [2 * length for length in x.shape[2:]])
        return self.point(F.relu(self.norm(self.depthwise(doubled))))


class Affinity(nn.Module):
    """`sigmoid(conv3(coarse) * conv3(fine))`: where two maps of one shape agree."""

    def __init__(self, channels: int):
        super().__init__()
        self.coarse = DenseConv3d(channels, channels)
        self.fine = DenseConv3d(channels, channels)

    def forward(
        self,
        coarse: Float[Tensor, "batch channels depth height width"],
        fine: Float[Tensor, "batch channels depth height width"],
    ) -> Float[Tensor, "batch channels depth height width"]:
        """Numbers from 0 to 1."""
        return torch.sigmoid(self.coarse(coarse) * self.fine(fine))


def _on_one_grid(coarse: Tensor, fine: Tensor, adapt: nn.Module) -> tuple[Tensor, Tensor]:
    """Both maps at the coarse one's size and channels.

    Channels come first in memory: the weights of large 3x3x3 convolutions learn faster so.
    """
    return coarse.contiguous(), adapt(resize_to(fine, coarse.shape[2:])).contiguous()


class ConcatMerge(nn.Module):
    """Eq. 2: `[x + a x, y + a y]`, x the coarse map, y the fine one on its grid, a their affinity.

    Args:
        channels: Channels of the coarse map; the output has twice as many.
        fine_channels: Channels of the fine map; a point-wise convolution brings it to `channels`.
    """

    def __init__(self, channels: int, fine_channels: int):
        super().__init__()
        self.out_channels = 2 * channels
        self.adapt = _adapter(fine_channels, channels)
        self.affinity = Affinity(channels)

    def forward(
        self,
        coarse: Float[Tensor, "batch channels depth height width"],
        fine: Float[Tensor, "batch fine_channels fine_depth fine_height fine_width"],
    ) -> Float[Tensor, "batch 2*channels depth height width"]:
        """A map on the coarse grid."""
        coarse, fine = _on_one_grid(coarse, fine, self.adapt)
        a = self.affinity(coarse, fine)
        return torch.cat([coarse + a * coarse, fine + a * fine], dim=1)


class GatedMerge(nn.Module):
    """`g0 x + g1 a x + h0 y + h1 a y`, the released code's merging unit (BFPU).

    x is the coarse map, y the fine one on its grid, a their affinity; `g = conv3([x, a x])` and
    `h = conv3([y, a y])` are two weights per position.

    Args:
        channels: Channels of the coarse map and of the output.
        fine_channels: Channels of the fine map; a point-wise convolution brings it to `channels`.
    """

    def __init__(self, channels: int, fine_channels: int):
        super().__init__()
        self.out_channels = channels
        self.adapt = _adapter(fine_channels, channels)
        self.affinity = Affinity(channels)
        self.weigh_coarse = DenseConv3d(2 * channels, 2)
        self.weigh_fine = DenseConv3d(2 * channels, 2)

    def forward(
        self,
        coarse: Float[Tensor, "batch channels depth height width"],
        fine: Float[Tensor, "batch fine_channels fine_depth fine_height fine_width"],
    ) -> Float[Tensor, "batch channels depth height width"]:
        """A map on the coarse grid."""
        coarse, fine = _on_one_grid(coarse, fine, self.adapt)
        a = self.affinity(coarse, fine)
        return self._weighted(self.weigh_coarse, coarse, a) + self._weighted(
            self.weigh_fine, fine, a
        )

    def _weighted(self, weigh: nn.Module, x: Tensor, a: Tensor) -> Tensor:
        gated = a * x
        plain_weight, gated_weight = weigh(torch.cat([x, gated], dim=1)).split(1, dim=1)
        return x * plain_weight + gated * gated_weight


class MaxPoolSummary(AbstractSummary):
    """Global max pooling of the last map, a linear layer, and ReLU and dropout where that is on."""

    def __init__(self, given: FeatureSpec, channels: int, *, dropout: float):
        super().__init__()
        self.linear = nn.Linear(given.channels, channels)
        self.tail = nn.Sequential(nn.ReLU(), nn.Dropout(dropout)) if dropout else nn.Identity()
        self.output = FeatureSpec.vector(channels)

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This summary's state dict from that of MMCAF-Net's image model."""
        return E3DMSCA.official_parts(state)["summary"]

    def forward(self, features: list[Tensor]) -> Float[Tensor, "batch channels"]:
        """One vector per case."""
        return self.tail(
            self.linear(reduce(features[-1], "batch channels ... -> batch channels", "max"))
        )


def _stem(channels: int, dropout: float) -> nn.Module:
    if not dropout:
        return nn.Identity()
    parts = OrderedDict(norm=nn.BatchNorm3d(channels), act=nn.ReLU(), drop=nn.Dropout(dropout))
    return nn.Sequential(parts)


def _normed(conv: nn.Conv3d, act: nn.Module | None = None) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv=conv, norm=nn.BatchNorm3d(conv.out_channels)
    )
    if act is not None:
        parts["act"] = act
    return nn.Sequential(parts)


def _adapter(in_channels: int, out_channels: int) -> nn.Module:
    if in_channels == out_channels:
        return nn.Identity()
    return PointwiseConv3d(in_channels, out_channels)


def _small_normal(module: nn.Module) -> None:
    """The released start: convolutions from N(0, 0.02), biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _rename(name: str) -> str:
    """Our name, with the part first; the official levels 1 to 3 are our 0 to 2."""
    for pattern, ours in _PARTS:
        match = re.match(pattern, name)
        if match is None:
            continue
        level = int(match[1]) - 1 if match.groups() else ""
        rest = name[match.end() :]
        if ".mixers." in ours:
            rest = re.sub(r"(^|\.)0\.(\w+)$", r"\1conv.\2", rest)
            rest = re.sub(r"(^|\.)1\.(\w+)$", r"\1norm.\2", rest)
        return ours.format(level) + rest
    return ""


def _check(
    given: FeatureSpec, dropout: float, merge: str, sab: str, activation: str, channels: int
) -> None:
    if given.layout != "pyramid" or given.spatial_dims != 3 or len(given.levels) < 2:
        raise LayoutMismatch(
            f"Neck 'e3d_msca' needs a pyramid of 2 or more volumes; it was given a {given}. "
            "Use an encoder with 3D maps at several scales (penet3d, resnet3d)."
        )
    options = (
        ("merge", merge, ("gated", "concat")),
        ("sab", sab, ("shared", "per_scale")),
        ("activation", activation, tuple(_ACTIVATIONS)),
    )
    for option, value, known in options:
        if value not in known:
            raise BadOption(
                f"Neck 'e3d_msca' knows no {option}={value!r}. "
                f"It takes {' or '.join(map(repr, known))}."
            )
    if not 0 <= dropout < 1:
        raise BadOption(
            f"Neck 'e3d_msca' can't drop with probability {dropout}. "
            "Use dropout=0 for the paper's row without it, 0.3 for the one with it, or another "
            "number below 1."
        )
    if channels < 1:
        raise BadOption(
            f"Neck 'e3d_msca' can't give a vector of {channels} channels. Use 24 as the paper, or "
            "another number from 1."
        )


__all__ = [
    "E3DMSCA",
    "Affinity",
    "ChannelGate",
    "ConcatMerge",
    "GatedMerge",
    "MaxPoolSummary",
    "Mixer",
    "SpatialGate",
    "Upsample",
]
