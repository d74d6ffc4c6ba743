"""A linear layer over the channels of a map, on a CPU by convolutions of 1x1.

For float32 maps whose channels come last, torch's convolution of 1x1 does what its matrix product
does, often in less time: with two threads on AVX-512 (AMD), the products of VMamba's layers take
1.1 to 1.5 times less forward and 1.1 to 1.5 times less for the input's gradient. The weight's
gradient stays a matrix product, which is the quicker one there. Maps of few positions, where
reordering the weights costs more than it gains, one thread, other types and other devices get the
matrix product throughout.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.ops.recording import is_plain_cpu

#: Positions of all maps of a batch from which convolutions pay.
MANY_POSITIONS = 512


class Linear2d(nn.Linear):
    """A linear layer over the channels of a map, by `linear2d`."""

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs height width"]:
        """A map of the same size; in memory, its channels come last."""
        return linear2d(x, self.weight, self.bias)


def linear2d(
    x: Float[Tensor, "batch inputs height width"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "batch outputs height width"]:
    """`weight x + bias` at every position; in memory, its channels come last."""
    if not _pays(x, weight):
        return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
    x = x.contiguous(memory_format=torch.channels_last)
    return cast(Tensor, _ByConvolution.apply(x, weight, bias))


def _pays(x: Tensor, weight: Tensor) -> bool:
    """Whether convolutions are quicker, where they may be used at all."""
    if not is_plain_cpu(x):
        return False
    positions = x.numel() // max(x.shape[1], 1)
    usable = x.dtype == weight.dtype == torch.float32 and torch.get_num_threads() > 1
    return usable and positions >= MANY_POSITIONS


class _ByConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolved(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        rows = grad.permute(0, 2, 3, 1).flatten(0, 2)
        return (
            _convolved(grad, weight.T) if wants_x else None,
            rows.T @ x.permute(0, 2, 3, 1).flatten(0, 2) if wants_weight else None,
            rows.sum(0) if wants_bias else None,
        )


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.conv2d(x, weight[:, :, None, None], bias)


__all__ = ["Linear2d", "linear2d"]
