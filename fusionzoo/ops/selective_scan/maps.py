"""Selective scan of maps along four directions by a native kernel: `maps.c`, compiled on first use.

What `fusionzoo.ops.ss2d` computes of a map by four sequences, one state per channel, is computed
here where it lies: channels last, no sequence made or turned around, no result added up afterwards.
It belongs to the backend `cpu` and is used where that one is, after a self-test of its own.
"""

import ctypes
import functools
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from fusionzoo.ops.native import NotBuiltError, address, library, num_threads
from fusionzoo.ops.recording import is_plain_cpu
from fusionzoo.ops.selective_scan import backends, reference
from fusionzoo.ops.selective_scan.cpu import CHUNK, TASKS, WORTH_A_THREAD
from fusionzoo.ops.selective_scan.operator import num_operations

SOURCE = Path(__file__).with_name("maps.c")
DTYPES = (torch.float32, torch.float64)
NUM_DIRECTIONS = 4

_CPU = torch.device("cpu")
_log = logging.getLogger(__name__)


def scans(x: Float[Tensor, "batch channels height width"], backend: str = "auto") -> bool:
    """Whether the kernel is there and made for these maps, where a backend is asked for.

    Not while a graph is recorded, which then has the scan of sequences, for any compiler.
    """
    return (
        backend in ("auto", "cpu")
        and is_plain_cpu(x)
        and x.dtype in DTYPES
        and x.numel() > 0
        and backends.selected_backend(x.device, backend) == "cpu"
        and why_not() is None
    )


def scan_maps(
    x: Float[Tensor, "batch channels height width"],
    delta: Float[Tensor, "4 batch length channels"],
    A: Float[Tensor, "4 channels"],
    B: Float[Tensor, "batch length 4"],
    C: Float[Tensor, "batch length 4"],
    D: Float[Tensor, "4 channels"],
    delta_bias: Float[Tensor, "4 channels"],
) -> Float[Tensor, "batch channels height width"]:
    """The sum of the selective scans of a map along its rows, columns, and both from the end.

    For direction k, whose step t is at position p,

        s_t = softplus(delta[k]_p + delta_bias[k]),   h_t = exp(s_t A[k]) h_{t-1} + s_t B_pk x_p
        y_p = sum over k of C_pk h_t + D[k] x_p

    Args:
        x: The map.
        delta: Step sizes before bias and softplus, at every position of the map, row after row.
        A: Rates of decay, of one state per channel.
        B: What is written, at every position, for each direction.
        C: What is read.
        D: Weight of the map itself.
        delta_bias: Added to `delta`.

    Returns:
        y, channels last in memory.
    """
    given = [y.contiguous() for y in (delta, A, B, C, D, delta_bias)]
    y, _ = _forward(x.contiguous(memory_format=torch.channels_last), *given)
    return y


_ARGUMENTS = "Tensor x, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor D, Tensor delta_bias"


@torch.library.custom_op(
    "fusionzoo::scan_maps", mutates_args=(), schema=f"({_ARGUMENTS}) -> (Tensor, Tensor)"
)
def _forward(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """The result, and the states at the chunks' starts."""
    x = x.contiguous(memory_format=torch.channels_last)
    y, kept = torch.empty_like(x), x.new_empty(_kept_shape(x))
    tensors = (x, delta, A, B, C, D, delta_bias)
    _call(_library(x.dtype).maps_forward, tensors, address(y), address(kept))
    return y, kept


@_forward.register_fake
def _(x: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
    y = torch.empty_like(x, memory_format=torch.channels_last)
    return y, x.new_empty(_kept_shape(x))


@torch.library.custom_op(
    "fusionzoo::scan_maps_backward",
    mutates_args=(),
    schema=f"(Tensor dy, Tensor kept, {_ARGUMENTS}) -> ({', '.join(['Tensor'] * 7)})",
)
def _backward(
    dy: Tensor,
    kept: Tensor,
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of all arguments."""
    x, dy = (y.contiguous(memory_format=torch.channels_last) for y in (x, dy))
    batch, channels, height, width = x.shape
    slices, size = min(-(-TASKS // batch), -(-channels // 16)), (NUM_DIRECTIONS, height * width)
    dx, ddelta = torch.empty_like(x), torch.empty_like(delta)
    dA, dD, dbias = (x.new_empty(batch, NUM_DIRECTIONS, channels) for _ in range(3))
    dB, dC = (x.new_empty(batch, slices, *size) for _ in range(2))
    outputs = map(address, (dy, kept, dx, ddelta, dA, dB, dC, dD, dbias))
    tensors = (x, delta, A, B, C, D, delta_bias)
    _call(_library(x.dtype).maps_backward, tensors, ctypes.c_int64(slices), *outputs)
    dB, dC = (y.sum(1).mT.contiguous() for y in (dB, dC))
    return dx, ddelta, dA.sum(0), dB, dC, dD.sum(0), dbias.sum(0)


@_backward.register_fake
def _(
    dy: Tensor, kept: Tensor, *given: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    dx, *rest = map(torch.empty_like, given)
    dx = dx.contiguous(memory_format=torch.channels_last)
    return dx, rest[0], rest[1], rest[2], rest[3], rest[4], rest[5]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])


def _differentiate(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor, ...]:
    *tensors, kept = ctx.saved_tensors
    return _backward(dy, kept, *tensors)


_forward.register_autograd(_differentiate, setup_context=_keep)


@register_flop_formula(torch.ops.fusionzoo.scan_maps)
def _(x: Any, *rest: Any, **result: Any) -> int:
    batch, channels, height, width = x
    return num_operations((batch, NUM_DIRECTIONS * channels, height * width), 1, skip=True)


@register_flop_formula(torch.ops.fusionzoo.scan_maps_backward)
def _(dy: Any, *rest: Any, **result: Any) -> int:
    batch, channels, height, width = dy
    return 3 * num_operations((batch, NUM_DIRECTIONS * channels, height * width), 1, skip=True)


@functools.cache
def why_not() -> str | None:
    """Why the kernel can't be used, or None if it can; told once.

    Asked in a thread of its own, where no fake tensors, default devices or autocast reach it.
    """
    with ThreadPoolExecutor(1) as thread:
        reason = thread.submit(_examine).result()
    if reason is not None:
        _log.warning("Maps are scanned as sequences: %s.", reason)
    return reason


def _examine() -> str | None:
    try:
        _library(torch.float32)
    except NotBuiltError as error:
        return str(error)
    return backends.failure_of("maps", _CPU, self_test)


def self_test() -> float:
    """Largest relative error of the result and its gradients."""
    generator = torch.Generator().manual_seed(0)
    batch, channels, height, width = 2, 22, 9, 13
    per_channel, per_position = (4, channels), (batch, height * width, 4)
    shapes: list[tuple[int, ...]] = [(batch, channels, height, width)]
    shapes += [(4, batch, height * width, channels), per_channel, per_position, per_position]
    shapes += [per_channel, per_channel]
    exact = [
        torch.randn(shape, generator=generator, dtype=torch.float64, device=_CPU)
        for shape in shapes
    ]
    exact[2] = -exact[2].abs() - 0.1
    given = [y.float().requires_grad_() for y in exact]
    leaves = [y.requires_grad_() for y in exact]
    y, expected = scan_maps(*given), by_sequences(*leaves)
    dy = torch.linspace(-1, 1, y.numel(), device=_CPU).view(y.shape)
    found = torch.autograd.grad(y, given, dy)
    true = torch.autograd.grad(expected, leaves, dy.double())
    return backends.largest_error((y.detach(), *found), (expected, *true))


def by_sequences(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
) -> Tensor:
    """What `scan_maps` computes, by the readable recurrence over four sequences."""
    batch, channels, height, width = x.shape
    rows = torch.arange(height * width, device=x.device)
    columns = rows.view(height, width).T.flatten()
    y = torch.zeros_like(x.flatten(2))
    for k, order in enumerate((rows, columns, rows.flip(0), columns.flip(0))):
        scanned = reference.scan(
            x.flatten(2)[:, :, order],
            delta[k].mT[:, :, order],
            A[k, :, None],
            B[:, order, k].view(batch, 1, 1, -1),
            C[:, order, k].view(batch, 1, 1, -1),
            D[k],
            delta_bias[k],
            True,
        )
        y = y.index_add(2, order, scanned)
    return y.view(batch, channels, height, width)


def _kept_shape(x: Tensor) -> tuple[int, ...]:
    batch, channels, height, width = x.shape
    return batch, NUM_DIRECTIONS, -(-height * width // CHUNK), channels


def _call(kernel: Any, tensors: tuple[Tensor, ...], *rest: Any) -> None:
    """Call one of the two kernels: the arguments that both begin with, then the others."""
    batch, channels, height, width = tensors[0].shape
    rows = torch.arange(height * width, dtype=torch.int32, device=tensors[0].device)
    columns = rows.view(height, width).T.contiguous()
    threads = num_threads(NUM_DIRECTIONS * tensors[0].numel(), WORTH_A_THREAD)
    sizes = [ctypes.c_int64(n) for n in (batch, height * width, channels)]
    kernel(*map(address, (*tensors, columns)), *sizes, threads, *rest)


@functools.cache
def _library(dtype: torch.dtype) -> ctypes.CDLL:
    """The kernel of a type."""
    return library(SOURCE, *(("-DSCAN_DOUBLE",) if dtype == torch.float64 else ()))


__all__ = ["by_sequences", "scan_maps", "scans", "why_not"]
