"""HFF, the block that fuses a local and a global map with the fused map of the stage before.

Source: Huo et al., HiFuse, Biomedical Signal Processing and Control 87, 2024,
arXiv:2209.08526, Sec. 3.3, Fig. 4; the released code where the paper is silent.
Differs from the released code: any channels per input, maps of two or three axes, and halves of odd
sizes; layers that the release builds and never runs are left out.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.drop import DropPath
from torch import Tensor, nn

from fusionzoo.ops.conv import ChannelNorm, resize_to

#: By the number of spatial axes.
_CONV: Mapping[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_NORM: Mapping[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
#: Epsilon of the norms over channels.
EPSILON = 1e-6

#: Names inside a block of the release that it never runs, and what the others are here.
_UNUSED = re.compile(r"fu1\.(Updim|norm1|W3)\.|fu[2-9]\.(norm2|W)\.")
_RENAMES = (
    (r"^se\.", "excite."),
    (r"^W_l\.", "enter_local."),
    (r"^W_g\.", "enter_global."),
    (r"^Updim\.", "enter_before."),
    (r"^norm[12]\.", "mix_norm."),
    (r"^norm3\.", "norm."),
    (r"^W3?\.", "mix."),
    (r"^residual\.conv1\.conv\.", "residual.conv."),
    (r"^residual\.bn1\.", "residual.norm."),
    (r"^residual\.conv2\.conv\.", "residual.expand."),
    (r"^residual\.conv3\.", "residual.reduce."),
)


def conv_norm(
    inputs: int, outputs: int, kernel: int, *, dims: int, bias: bool = True
) -> nn.Sequential:
    """A convolution that keeps the size, and a batch norm."""
    conv = _CONV[dims](inputs, outputs, kernel, padding=kernel // 2, bias=bias)
    return nn.Sequential(OrderedDict(conv=conv, bn=_NORM[dims](outputs)))


class InvertedResidual(nn.Module):
    """norm(W_2 gelu(W_1 norm(gelu(conv(x)) + x))), W_1 four times as wide; none has a bias.

    The convolution is 3x3. The paper wants it depthwise; the released code passes no number of
    groups, so that its convolution mixes all channels and holds most of the network's weights.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        dims: Spatial axes.
        depthwise: Whether the 3x3 convolution is depthwise.
    """

    def __init__(self, inputs: int, outputs: int, *, dims: int = 2, depthwise: bool = False):
        super().__init__()
        conv, groups = _CONV[dims], inputs if depthwise else 1
        self.conv = conv(inputs, inputs, 3, padding=1, groups=groups, bias=False)
        self.norm = _NORM[dims](inputs)
        self.expand = conv(inputs, 4 * inputs, 1, bias=False)
        self.reduce = conv_norm(4 * inputs, outputs, 1, dims=dims, bias=False)

    def forward(
        self, x: Float[Tensor, "batch inputs *space"]
    ) -> Float[Tensor, "batch outputs *space"]:
        """A map of the same size."""
        x = self.norm(F.gelu(self.conv(x)) + x)
        return self.reduce(F.gelu(self.expand(x)))


class HFF(nn.Module):
    """s + residual(norm([g', l', gelu(W norm([s, W_l l, W_g g]))])), [] on channels.

    l' = l sigmoid(conv7x7([max l, mean l])) with max and mean over channels; g' = g sigmoid(e(max
    g) + e(mean g)) with max and mean over space and e two layers with a ReLU between; s is the
    fused map of the stage before, through a convolution and a ReLU, averaged to this size, and
    nothing at the first stage. Every W comes with a batch norm; `residual` is `InvertedResidual`.

    Args:
        local_channels: Channels of l.
        global_channels: Channels of g.
        channels: Channels of the fused map.
        before: Channels of the fused map of the stage before; None at the first.
        dims: Spatial axes.
        reduction: e is `global_channels // reduction` wide inside, at least one.
        depthwise: As in `InvertedResidual`.
        drop_path: Probability that a case skips the residual in training.
    """

    def __init__(
        self,
        local_channels: int,
        global_channels: int,
        channels: int,
        before: int | None = None,
        *,
        dims: int = 2,
        reduction: int = 16,
        depthwise: bool = False,
        drop_path: float = 0.0,
    ):
        super().__init__()
        conv, hidden = _CONV[dims], max(global_channels // reduction, 1)
        self.excite = nn.Sequential(
            conv(global_channels, hidden, 1, bias=False),
            nn.ReLU(),
            conv(hidden, global_channels, 1, bias=False),
        )
        self.spatial = conv_norm(2, 1, 7, dims=dims, bias=False)
        self.enter_local = conv_norm(local_channels, channels, 1, dims=dims)
        self.enter_global = conv_norm(global_channels, channels, 1, dims=dims)
        self.enter_before = None if before is None else conv_norm(before, channels, 1, dims=dims)
        width = 2 * channels if before is None else 3 * channels
        self.mix_norm = ChannelNorm(width, eps=EPSILON)
        self.mix = conv_norm(width, channels, 1, dims=dims)
        together = local_channels + global_channels + channels
        self.norm = ChannelNorm(together, eps=EPSILON)
        self.residual = InvertedResidual(together, channels, dims=dims, depthwise=depthwise)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        local_map: Float[Tensor, "batch local *space"],
        global_map: Float[Tensor, "batch global *other"],
        before: Float[Tensor, "batch before *finer"] | None = None,
    ) -> Float[Tensor, "batch channels *space"]:
        """The fused map, of the local map's size; a global map of another size is resized to it."""
        size = local_map.shape[2:]
        global_map = resize_to(global_map, size, align_corners=False)
        mixed = [self.enter_local(local_map), self.enter_global(global_map)]
        if self.enter_before is not None:
            assert before is not None
            mixed.insert(0, _averaged_to(torch.relu(self.enter_before(before)), size))
        mix = F.gelu(self.mix(self.mix_norm(torch.cat(mixed, dim=1))))
        together = torch.cat(
            [self._gate_channels(global_map), self._gate_places(local_map), mix], 1
        )
        fused = self.drop_path(self.residual(self.norm(together)))
        return fused if self.enter_before is None else mixed[0] + fused

    def _gate_places(self, x: Tensor) -> Tensor:
        """Each position times a gate from its largest and mean channel."""
        extremes = torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.spatial(extremes))

    def _gate_channels(self, x: Tensor) -> Tensor:
        """Each channel times a gate from every channel's largest and mean position."""
        axes = tuple(range(2, x.ndim))
        gate = self.excite(x.amax(axes, keepdim=True)) + self.excite(x.mean(axes, keepdim=True))
        return x * torch.sigmoid(gate)


def official_blocks(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The fusion blocks `fu1`, `fu2`, ... of a released HiFuse, under the names of a list of `HFF`.

    What the release builds and never runs is left out.
    """
    found = {}
    for official, tensor in state.items():
        block = re.match(r"fu(\d)\.", official)
        if block and not _UNUSED.match(official):
            name = official[block.end() :]
            for pattern, ours in _RENAMES:
                name = re.sub(pattern, ours, name)
            found[f"{int(block[1]) - 1}.{name}"] = tensor
    return found


def _averaged_to(x: Tensor, size: torch.Size) -> Tensor:
    """The map averaged to a size; with 2x2 squares where that halves it."""
    average: Any = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[len(size)]
    return average(x, tuple(size))


__all__ = ["EPSILON", "HFF", "InvertedResidual", "official_blocks"]
