"""Dense 3x3x3 convolution whose gradients are matrix products where torch's kernels are slow.

On a CPU, torch's gradients of a 3x3x3 convolution run well below the speed of its forward pass in
two cases. With few output channels (two, say), both gradients follow from the 27 neighbours of
the output's gradient, a small tensor. With many channels at few positions, the weight's gradient
is one matrix product with the 27 neighbours of the input. Everywhere else, and on other devices,
torch's own gradients are used. Measured with two threads on AVX-512, forward and backward together,
two outputs take 2 to 8 times less (1024 channels at 3x24x24 and 2048 at 2x12x12 in batches of 2),
and 1024 channels to 1024 at 2x12x12 take 1.4 times less.
"""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.grad import conv3d_input

from fusionzoo.ops.recording import is_plain_cpu

#: Output channels up to which both gradients come from the output's neighbours.
FEW_OUTPUTS = 4
#: Input channels that are many, where there are at most as many positions.
MANY_CHANNELS = 512


class DenseConv3d(nn.Conv3d):
    """A convolution of 3x3x3 at stride 1, by `dense_conv3d`; the size stays.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "batch inputs depth height width"]
    ) -> Float[Tensor, "batch outputs depth height width"]:
        """A map of the same size."""
        return dense_conv3d(x, self.weight, self.bias)


def dense_conv3d(
    x: Float[Tensor, "batch inputs depth height width"],
    weight: Float[Tensor, "outputs inputs 3 3 3"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "batch outputs depth height width"]:
    """`F.conv3d(x, weight, bias, padding=1)` with gradients that are fast on a CPU."""
    if not _pays(x, weight):
        return F.conv3d(x, weight, bias, padding=1)
    y = _ByProducts.apply(x, weight)
    return y if bias is None else y + bias[:, None, None, None]


def _pays(x: Tensor, weight: Tensor) -> bool:
    """Whether gradients by products are quicker, where they may be used at all."""
    if not is_plain_cpu(x):
        return False
    channels, positions = x.shape[1], x.numel() // x.shape[1]
    return len(weight) <= FEW_OUTPUTS or channels >= max(MANY_CHANNELS, positions)


class _ByProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv3d(x, weight, padding=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        wants_x, wants_weight = ctx.needs_input_grad
        if len(weight) <= FEW_OUTPUTS:
            around = _neighbours(grad).flip(2)
            grad_x = _input_gradient(around, weight, x) if wants_x else None
            return grad_x, _few_gradients(around, x) if wants_weight else None
        grad_x = conv3d_input(x.shape, weight, grad, padding=1) if wants_x else None
        return grad_x, _many_gradients(x, grad) if wants_weight else None


def _neighbours(x: Tensor) -> Tensor:
    """The 27 neighbours of every position, zeros outside: `batch channels 27 positions`."""
    windows = F.pad(x, (1,) * 6).unfold(2, 3, 1).unfold(3, 3, 1).unfold(4, 3, 1)
    return rearrange(windows, "n c d h w i j k -> n c (i j k) (d h w)")


def _input_gradient(around: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    taps = rearrange(weight, "o c i j k -> c (o i j k)")
    return torch.matmul(taps, around.flatten(1, 2)).view(x.shape)


def _few_gradients(around: Tensor, x: Tensor) -> Tensor:
    each = torch.matmul(around.flatten(1, 2), x.flatten(2).transpose(1, 2)).sum(dim=0)
    return rearrange(each, "(o i j k) c -> o c i j k", i=3, j=3, k=3)


def _many_gradients(x: Tensor, grad: Tensor) -> Tensor:
    columns = rearrange(_neighbours(x), "n c taps p -> (c taps) (n p)")
    rows = rearrange(grad, "n o d h w -> o (n d h w)")
    return rearrange(rows @ columns.T, "o (c i j k) -> o c i j k", i=3, j=3, k=3)


__all__ = ["DenseConv3d", "dense_conv3d"]
