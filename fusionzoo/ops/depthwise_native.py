"""Depth-wise 3D convolution by a native kernel: `depthwise.c`, compiled on first use.

Two operators, whose gradients are again these two: the convolution with a weight or its mirror
image, and the gradient of its weight. They are registered with PyTorch with what their results look
like and their number of operations, which is what torch counts for the same convolution.
"""

import ctypes
import functools
import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from fusionzoo.ops.native import NotBuiltError, address, library, num_threads
from fusionzoo.ops.recording import is_recorded

SOURCE = Path(__file__).with_name("depthwise.c")
KERNEL_SIZES = (3, 5)
DTYPES = (torch.float32, torch.float64)
#: Below this many products, a second thread costs more than it helps.
WORTH_A_THREAD = 2**17

_CHANNELS_LAST = torch.channels_last_3d
_log = logging.getLogger(__name__)


def computes(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel is there and made for these: on a CPU, channels last in memory.

    Not while a graph is recorded, which then has convolutions that every runtime knows.
    """
    if is_recorded():
        return False
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.dtype in DTYPES
        and weight.shape[-1] in KERNEL_SIZES
        and x.numel() > 0
        and x.is_contiguous(memory_format=_CHANNELS_LAST)
        and _is_there(x.dtype)
    )


@torch.library.custom_op(
    "fusionzoo::depthwise_conv3d",
    mutates_args=(),
    schema="(Tensor x, Tensor weight, bool mirrored) -> Tensor",
)
def convolve(x: Tensor, weight: Tensor, mirrored: bool) -> Tensor:
    """The convolution, same size, with the weight or with the weight turned around every axis."""
    x, weight = x.contiguous(memory_format=_CHANNELS_LAST), weight.contiguous()
    y = torch.empty_like(x, memory_format=_CHANNELS_LAST)
    status = _library(x.dtype).depthwise_forward(
        address(x), address(weight), int(mirrored), *_sizes(x, weight.shape[-1]), address(y)
    )
    _check(status, x)
    return y


@torch.library.custom_op(
    "fusionzoo::depthwise_conv3d_weight",
    mutates_args=(),
    schema="(Tensor x, Tensor grad, int kernel_size) -> Tensor",
)
def weight_gradient(x: Tensor, grad: Tensor, kernel_size: int) -> Tensor:
    """Gradient of the weight (not mirrored) from the input and the output's gradient."""
    x, grad = (map_.contiguous(memory_format=_CHANNELS_LAST) for map_ in (x, grad))
    found = x.new_empty(_weight_shape(x, kernel_size))
    status = _library(x.dtype).depthwise_weight_gradient(
        address(x), address(grad), *_sizes(x, kernel_size), address(found)
    )
    _check(status, x)
    return found


@convolve.register_fake
def _(x: Tensor, weight: Tensor, mirrored: bool) -> Tensor:
    return torch.empty_like(x, memory_format=_CHANNELS_LAST)


@weight_gradient.register_fake
def _(x: Tensor, grad: Tensor, kernel_size: int) -> Tensor:
    return x.new_empty(_weight_shape(x, kernel_size))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.setting = inputs
    ctx.save_for_backward(*tensors)


def _differentiate_convolution(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    x, weight = ctx.saved_tensors
    wants_x, wants_weight, _ = ctx.needs_input_grad
    grad = grad.contiguous(memory_format=_CHANNELS_LAST)
    pair = (grad, x) if ctx.setting else (x, grad)
    return (
        convolve(grad, weight, not ctx.setting) if wants_x else None,
        weight_gradient(*pair, weight.shape[-1]) if wants_weight else None,
        None,
    )


def _differentiate_weight_gradient(
    ctx: Any, weight: Tensor
) -> tuple[Tensor | None, Tensor | None, None]:
    x, grad = ctx.saved_tensors
    wants_x, wants_grad, _ = ctx.needs_input_grad
    return (
        convolve(grad, weight, True) if wants_x else None,
        convolve(x, weight, False) if wants_grad else None,
        None,
    )


convolve.register_autograd(_differentiate_convolution, setup_context=_keep)
weight_gradient.register_autograd(_differentiate_weight_gradient, setup_context=_keep)


@register_flop_formula(torch.ops.fusionzoo.depthwise_conv3d)
def _(x: Any, weight: Any, *rest: Any, **result: Any) -> int:
    return 2 * math.prod(x) * math.prod(weight[2:])


@register_flop_formula(torch.ops.fusionzoo.depthwise_conv3d_weight)
def _(x: Any, grad: Any, kernel_size: int, *rest: Any, **result: Any) -> int:
    return 2 * math.prod(x) * kernel_size**3


def _sizes(x: Tensor, kernel_size: int) -> list[object]:
    """The sizes, the kernel's and the threads, as both functions take them."""
    threads = num_threads(x.numel() * kernel_size**3, WORTH_A_THREAD)
    return [*map(ctypes.c_int64, x.shape), kernel_size, threads]


def _weight_shape(x: Tensor, kernel_size: int) -> tuple[int, ...]:
    return x.shape[1], 1, *(kernel_size,) * 3


def _check(status: int, x: Tensor) -> None:
    if status:
        raise MemoryError(f"no memory is left to convolve maps of {tuple(x.shape)}")


@functools.cache
def _is_there(dtype: torch.dtype) -> bool:
    try:
        _library(dtype)
    except NotBuiltError as error:
        _tell(str(error))
        return False
    return True


@functools.cache
def _library(dtype: torch.dtype) -> ctypes.CDLL:
    """The kernel of a type."""
    return library(SOURCE, *(("-DDEPTHWISE_DOUBLE",) if dtype == torch.float64 else ()))


@functools.cache
def _tell(reason: str) -> None:
    """Say once why the slower way is taken."""
    _log.warning("Depth-wise convolutions do without their native kernel: %s.", reason)


__all__ = ["computes", "convolve", "weight_gradient"]
