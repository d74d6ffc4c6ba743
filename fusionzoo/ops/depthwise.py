"""Depth-wise 3D convolution whose gradients are depth-wise convolutions too.

On a CPU, torch computes the gradients of a depth-wise 3D convolution with a general kernel that
takes up to 50 times as long as the forward pass. Both are depth-wise convolutions themselves, for
which the forward kernel is good: of the output's gradient with the mirrored weight (for the input),
and of every input map with its own output gradient as the kernel (for the weight). Measured with
one thread on AVX2, forward and backward of a 5x5x5 kernel take 3 to 8 times less and of a 3x3x3
kernel 1.4 to 6 times, from 4x2x2 maps in batches of 32 to 6x48x48 maps in batches of 2; the gain
is largest on small maps. The forward kernel itself takes two to eight times less where the channels
come last in memory, as `fusionzoo.ops.conv.pointwise_conv3d` leaves them.

Kernels of 3x3x3 and 5x5x5 over such maps are computed by C code of this package where a compiler
is found (`fusionzoo.ops.depthwise_native`). Measured with two threads on AVX-512, in batches of 2,
forward and backward of 3x3x3 and 5x5x5 then take another 3.2 and 3.9 times less on 512 maps of
6x48x48, 2.9 and 3.3 times on 1024 of 3x24x24, and 2.3 and 2.8 times on 2048 of 2x12x12; a mixer of
`e3d_msca` with 256 channels of 6x48x48, which does more than this, 1.3 to 1.4 times. Small maps
gain in the backward pass alone. On other devices torch's own gradients are used.
"""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.ops import depthwise_native


class DepthwiseConv3d(nn.Conv3d):
    """One kernel per channel, stride 1, no bias; size stays. A `Conv3d` to whoever loads weights.

    Args:
        channels: Channels of the input and of the output.
        kernel_size: Odd, the same along every axis.
    """

    def __init__(self, channels: int, kernel_size: int):
        assert kernel_size % 2 == 1, f"an even kernel ({kernel_size}) would change the size"
        padding = kernel_size // 2
        super().__init__(
            channels, channels, kernel_size, padding=padding, groups=channels, bias=False
        )

    def forward(
        self, x: Float[Tensor, "batch channels depth height width"]
    ) -> Float[Tensor, "batch channels depth height width"]:
        """A map of the same shape."""
        return depthwise_conv3d(x, self.weight)


def depthwise_conv3d(
    x: Float[Tensor, "batch channels depth height width"],
    weight: Float[Tensor, "channels 1 kernel kernel kernel"],
) -> Float[Tensor, "batch channels depth height width"]:
    """`F.conv3d(x, weight, padding=kernel // 2, groups=channels)`, kernel odd, gradients fast."""
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return _convolve(x, weight)
    if weight.shape[-1] == 1:
        return x * rearrange(weight, "channels 1 1 1 1 -> channels 1 1 1")
    if depthwise_native.computes(x, weight):
        return depthwise_native.convolve(x, weight, False)
    return _FastGradients.apply(x, weight)


class _FastGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        wants_x, wants_weight = ctx.needs_input_grad
        if x.is_contiguous(memory_format=torch.channels_last_3d):
            grad = grad.contiguous(memory_format=torch.channels_last_3d)
        grad_x = _convolve(grad, weight.flip(2, 3, 4)) if wants_x else None
        return grad_x, _weight_gradient(x, grad, weight.shape[-1]) if wants_weight else None


def _weight_gradient(x: Tensor, grad: Tensor, kernel_size: int) -> Tensor:
    """Every map convolved with its own output gradient, added up over the batch."""
    each = [
        F.conv3d(case, own.unsqueeze(1), padding=kernel_size // 2, groups=x.shape[1])
        for case, own in zip(x.split(1), grad, strict=True)
    ]
    return rearrange(torch.cat(each).sum(dim=0), "channels ... -> channels 1 ...")


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv3d(x, weight, padding=weight.shape[-1] // 2, groups=x.shape[1])


__all__ = ["DepthwiseConv3d", "depthwise_conv3d"]
