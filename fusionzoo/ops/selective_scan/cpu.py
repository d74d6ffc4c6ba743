"""Selective scan by a native kernel, backend `cpu`: `scan.c`, compiled on first use.

Any C compiler that knows GNU vectors (gcc, clang) builds it within a few seconds, once per machine
and version; the kernel speaks plain C, so no headers of PyTorch or Python are needed. The forward
pass keeps the states of every 64th step, which the backward pass starts its recomputing from.
"""

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionzoo.ops.selective_scan import cache
from fusionzoo.ops.selective_scan.arguments import Gradients, Scan

READS_HALF = False
SOURCE = Path(__file__).with_name("scan.c")
#: Steps between kept states, and the most states that the kernel has room for; as in `scan.c`.
CHUNK = 64
MAX_STATES = 64
#: Tasks of the backward pass, with sums of their own; the same however many threads there are.
TASKS = 64
#: Below this many states over time, a second thread costs more than it helps.
WORTH_A_THREAD = 2**15
#: No -ffast-math: infinities and what is not a number must come out as the reference gives them.
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
#: Tried in turn: some compilers have no OpenMP, some no -march=native.
OPTIONAL_FLAGS = (("-march=native", "-fopenmp"), ("-fopenmp",), ("-march=native",), ())


class NotBuiltError(RuntimeError):
    """Why there is no kernel here."""


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
    library = _library(scan.u.dtype)
    y, kept = torch.empty_like(scan.u), scan.u.new_empty(kept_shape(scan))
    _checked(library.scan_forward(*_arguments(scan), _address(y), _address(kept)), scan)
    return y, kept


def backward(scan: Scan, kept: Tensor, dy: Tensor) -> Gradients:
    """Gradients of all arguments."""
    library = _library(scan.u.dtype)
    batch, channels, groups, states, length = scan.sizes
    slices = max(1, min(-(-TASKS // (batch * groups)), channels // groups // 16))
    new = scan.u.new_empty
    du, ddelta = torch.empty_like(scan.u), torch.empty_like(scan.u)
    dA, dD, dbias = new(batch, channels, states), new(batch, channels), new(batch, channels)
    dB, dC = (new(batch, groups, slices, states, length) for _ in range(2))
    outputs = [_address(x) for x in (dy, kept, du, ddelta, dA, dB, dC, dD, dbias)]
    status = library.scan_backward(*_arguments(scan), ctypes.c_int64(slices), *outputs)
    _checked(status, scan)
    return Gradients(du, ddelta, dA.sum(0), dB.sum(2), dC.sum(2), dD.sum(0), dbias.sum(0))


def _checked(status: int, scan: Scan) -> None:
    if status:
        raise NotBuiltError(f"the kernel has room for {MAX_STATES} states, A has {scan.A.shape[1]}")


def _arguments(scan: Scan) -> list[object]:
    """The arguments that both kernels begin with."""
    worth = scan.u.numel() * scan.A.shape[1] // WORTH_A_THREAD
    threads = max(1, min(torch.get_num_threads(), worth))
    tensors = [_address(x) for x in scan.tensors]
    sizes = [ctypes.c_int64(n) for n in scan.sizes]
    return [*tensors, int(scan.delta_softplus), *sizes, threads]


def _address(x: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if x is None else x.data_ptr())


@functools.cache
def _library(dtype: torch.dtype) -> ctypes.CDLL:
    """The kernel of a type, built unless it is in the cache.

    Its OpenMP is PyTorch's, which is loaded already under the same name: one pool of threads.
    """
    compiler = _compiler()
    precision = ("-DSCAN_DOUBLE",) if dtype == torch.float64 else ()
    key = cache.digest(SOURCE.read_text(), FLAGS, precision, compiler, cache.machine())
    path = cache.folder() / f"scan-{key}.so"
    if not path.is_file():
        _build(compiler, precision, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NotBuiltError(f"the kernel {str(path)!r} can't be loaded ({error})") from error


def _compiler() -> str:
    names = filter(None, (os.environ.get("CC"), "cc", "gcc", "clang"))
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise NotBuiltError("no C compiler was found (cc, gcc, clang, or the one that CC names)")
    return found


def _build(compiler: str, precision: tuple[str, ...], path: Path) -> None:
    """Compile into a file of its own and move it, so that no other process meets half of it."""
    said = ""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / "scan.so"
        for optional in OPTIONAL_FLAGS:
            command = [compiler, *FLAGS, *optional, *precision, str(SOURCE), "-o", str(built)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            except (OSError, subprocess.SubprocessError) as error:
                said = str(error)
                continue
            if done.returncode == 0:
                built.replace(path)
                return
            said = (done.stderr.strip().splitlines() or ["no reason given"])[0]
    raise NotBuiltError(f"{compiler} can't compile the kernel ({said})")


__all__ = ["READS_HALF", "NotBuiltError", "backward", "forward", "kept_shape", "missing"]
