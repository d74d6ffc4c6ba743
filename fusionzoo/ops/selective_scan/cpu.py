"""Selective scan by a native kernel, backend `cpu`: `scan.c`, compiled on first use.

The forward pass keeps the states of every 64th step, which the backward pass starts its recomputing
from. `fusionzoo.ops.native` says what it is compiled with.
"""

import ctypes
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionzoo.ops.native import NotBuiltError, address, library, num_threads
from fusionzoo.ops.selective_scan.arguments import Gradients, Scan

READS_HALF = False
SOURCE = Path(__file__).with_name("scan.c")
#: Steps between kept states, as in `vectors.h`, and the most states that `scan.c` has room for.
CHUNK = 64
MAX_STATES = 64
#: Tasks of the backward pass, with sums of their own; the same however many threads there are.
TASKS = 64
#: Below this many states over time, a second thread costs more than it helps.
WORTH_A_THREAD = 2**15


def missing(device: torch.device) -> str | None:
    """Why it can't run on a device, or None if it can."""
    if device.type != "cpu":
        return f"it computes on CPU tensors only, not on {device.type}"
    try:
        _library(torch.float32)
    except NotBuiltError as error:
        return str(error)
    return None


def kept_shape(scan: Scan) -> tuple[Any, ...]:
    """Shape of what the forward pass keeps: the states before every chunk."""
    batch, channels, _, states, length = scan.sizes
    return batch, -(-length // CHUNK), states, channels


def forward(scan: Scan) -> tuple[Tensor, Tensor]:
    """The result, and the states at the chunks' starts."""
    kernel = _library(scan.u.dtype)
    y, kept = torch.empty_like(scan.u), scan.u.new_empty(kept_shape(scan))
    _checked(kernel.scan_forward(*_arguments(scan), address(y), address(kept)), scan)
    return y, kept


def backward(scan: Scan, kept: Tensor, dy: Tensor) -> Gradients:
    """Gradients of all arguments."""
    kernel = _library(scan.u.dtype)
    batch, channels, groups, states, length = scan.sizes
    slices = max(1, min(-(-TASKS // (batch * groups)), channels // groups // 16))
    new = scan.u.new_empty
    du, ddelta = torch.empty_like(scan.u), torch.empty_like(scan.u)
    dA, dD, dbias = new(batch, channels, states), new(batch, channels), new(batch, channels)
    dB, dC = (new(batch, groups, slices, states, length) for _ in range(2))
    outputs = [address(x) for x in (dy, kept, du, ddelta, dA, dB, dC, dD, dbias)]
    status = kernel.scan_backward(*_arguments(scan), ctypes.c_int64(slices), *outputs)
    _checked(status, scan)
    return Gradients(du, ddelta, dA.sum(0), dB.sum(2), dC.sum(2), dD.sum(0), dbias.sum(0))


def _checked(status: int, scan: Scan) -> None:
    if status:
        raise NotBuiltError(f"the kernel has room for {MAX_STATES} states, A has {scan.A.shape[1]}")


def _arguments(scan: Scan) -> list[object]:
    """The arguments that both kernels begin with."""
    threads = num_threads(scan.u.numel() * scan.A.shape[1], WORTH_A_THREAD)
    tensors = [address(x) for x in scan.tensors]
    sizes = [ctypes.c_int64(n) for n in scan.sizes]
    return [*tensors, int(scan.delta_softplus), *sizes, threads]


@functools.cache
def _library(dtype: torch.dtype) -> ctypes.CDLL:
    """The kernel of a type."""
    return library(SOURCE, *(("-DSCAN_DOUBLE",) if dtype == torch.float64 else ()))


__all__ = ["READS_HALF", "NotBuiltError", "backward", "forward", "kept_shape", "missing"]
