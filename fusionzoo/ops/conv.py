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


__all__ = ["ChannelNorm", "SqueezeExcite", "channel_shuffle", "resize_to"]
