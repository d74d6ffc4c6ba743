"""A 3x3 convolution of stride 2 that is a matrix product where its weights outweigh its map.

On a CPU, torch's convolution reorders its weights at every call, forward and backward. Where there
are more output channels than output positions, that costs more than the convolution: at 384
channels, 14x14 positions and a batch of 2, forward and backward take 37 ms with two threads, the
product with each position's 3x3 neighbours takes 15 ms. Elsewhere torch's own is used.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.ops.recording import is_recorded


class HalvingConv2d(nn.Conv2d):
    """A 3x3 convolution of stride 2 and padding 1. A `Conv2d` to whoever loads weights.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1)

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs halved_height halved_width"]:
        """A map of half the size, rounded up."""
        height, width = (-(-length // 2) for length in x.shape[2:])
        by_product = x.device.type == "cpu" and not is_recorded()
        if not by_product or self.out_channels <= len(x) * height * width:
            return super().forward(x)
        neighbours = F.unfold(x, 3, padding=1, stride=2).mT
        mapped = F.linear(neighbours, self.weight.flatten(1), self.bias)
        return mapped.mT.unflatten(2, (height, width))


__all__ = ["HalvingConv2d"]
