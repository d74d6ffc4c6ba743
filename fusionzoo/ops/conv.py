"""Pieces of convolutional networks that components share, for any number of spatial axes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

#: Interpolation that is linear along every axis, by the number of spatial axes.
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class SqueezeExcite(nn.Module):
    """Channel gate `x * sigmoid(W2 leaky_relu(W1 mean(x) + b1) + b2)`.

    Source: Hu et al., CVPR 2018, Eq. (2)-(4). Differs from the paper: leaky ReLU (slope 0.01), as
    in PENet, for its ReLU.

    Args:
        channels: Channels of the map.
        reduction: The hidden layer has `channels // reduction` units, at least one.
    """

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(
        self, x: Float[Tensor, "batch channels *space"]
    ) -> Float[Tensor, "batch channels *space"]:
        """The gated map."""
        pooled = reduce(x, "batch channels ... -> batch channels", "mean")
        gate = torch.sigmoid(self.excite(F.leaky_relu(self.squeeze(pooled))))
        return x * gate.reshape(*gate.shape, *(1,) * (x.ndim - 2))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a map, position by position."""

    def forward(
        self, x: Float[Tensor, "batch channels *space"]
    ) -> Float[Tensor, "batch channels *space"]:
        """A map of the same shape."""
        return torch.movedim(super().forward(torch.movedim(x, 1, -1)), -1, 1)


class PointwiseConv3d(nn.Conv3d):
    """A convolution of 1x1x1, `W x + b` at every position, by `pointwise_conv3d`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Which positions are kept, along every axis.
        bias: Whether there is a b.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, bias: bool = True):
        super().__init__(in_channels, out_channels, 1, stride=stride, bias=bias)

    def forward(
        self, x: Float[Tensor, "batch inputs depth height width"]
    ) -> Float[Tensor, "batch outputs strided_depth strided_height strided_width"]:
        """The map with other channels."""
        return pointwise_conv3d(x, self.weight, self.bias, stride=self.stride[0])


def pointwise_conv3d(
    x: Float[Tensor, "batch inputs depth height width"],
    weight: Float[Tensor, "outputs inputs 1 1 1"],
    bias: Float[Tensor, " outputs"] | None = None,
    *,
    stride: int = 1,
) -> Float[Tensor, "batch outputs strided_depth strided_height strided_width"]:
    """`F.conv3d(x, weight, bias, stride)` of 1x1x1.

    On a CPU the channels are last in memory afterwards. Norms, activations, depth-wise and grouped
    convolutions keep them there, and the depth-wise ones take a third of the time. One thread gets
    a matrix product, because torch convolves 1x1x1 on one thread with channels first.
    """
    if x.device.type != "cpu":
        return F.conv3d(x, weight, bias, stride)
    if torch.get_num_threads() > 1:
        return F.conv3d(x.contiguous(memory_format=torch.channels_last_3d), weight, bias, stride)
    if stride > 1:
        x = x[:, :, ::stride, ::stride, ::stride]
    return F.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)


def channel_shuffle(
    x: Float[Tensor, "batch channels *space"], groups: int
) -> Float[Tensor, "batch channels *space"]:
    """The channels of `groups` groups interleaved: channel i of group g becomes i * groups + g.

    One group, or as many groups as channels, leaves the map as it is.
    Source: Zhang et al., ShuffleNet, CVPR 2018, Sec. 3.1.
    """
    return rearrange(x, "batch (groups inner) ... -> batch (inner groups) ...", groups=groups)


def channel_linear(
    linear: nn.Linear, x: Float[Tensor, "batch inputs *space"], *, bias: bool = True
) -> Float[Tensor, "batch outputs *space"]:
    """A linear map over the channels of a map, or of a sequence that has them before its length.

    Args:
        linear: The linear map.
        x: The map.
        bias: Whether its bias is added, where it has one.
    """
    weight, columns = linear.weight.expand(len(x), -1, -1), x.flatten(2)
    if bias and linear.bias is not None:
        mapped = torch.baddbmm(linear.bias[:, None], weight, columns)
    else:
        mapped = torch.bmm(weight, columns)
    return mapped.reshape(*mapped.shape[:2], *x.shape[2:])


def resize_to(
    x: Float[Tensor, "batch channels *space"], size: Sequence[int], *, align_corners: bool = True
) -> Float[Tensor, "batch channels *resized"]:
    """The map interpolated linearly along every axis to `size`; itself where it has that size."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode=_LINEAR[x.ndim - 2], align_corners=align_corners)


__all__ = [
    "ChannelNorm",
    "PointwiseConv3d",
    "SqueezeExcite",
    "channel_linear",
    "channel_shuffle",
    "pointwise_conv3d",
    "resize_to",
]
