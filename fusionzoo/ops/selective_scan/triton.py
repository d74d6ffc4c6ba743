"""Selective scan as Triton kernels, backend `triton`: forward and backward, on a GPU.

One program takes some channels of a group through the whole length, chunk after chunk; within a
chunk the recurrence is an associative scan of the pairs (decay, value). The forward pass keeps the
states at the chunks' starts, the backward pass recomputes a chunk from them. Tensors are read in
their own types and everything is computed in float32 (float64 for float64 sequences). The sums over
the channels, dB and dC, are added up per program and then over the programs, always in one order.

With TRITON_INTERPRET=1 the same kernels run on CPU tensors, slowly: that is how they are tested.
"""

import os
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fusionzoo.ops.selective_scan.arguments import Gradients, Scan

READS_HALF = True
#: Steps of a chunk, and the most channels of a program.
CHUNK = 64
WIDTH = 8


def missing(device: torch.device) -> str | None:
    """Why it can't run on a device, or None if it can."""
    if device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
        return None
    return f"it computes on CUDA tensors only, not on {device.type}"


def kept_shape(scan: Scan) -> tuple[Any, ...]:
    """Shape of what the forward pass keeps: the states before every chunk."""
    batch, channels, _, states, length = scan.sizes
    return batch, -(-length // CHUNK), states, channels


def forward(scan: Scan) -> tuple[Tensor, Tensor]:
    """The result, and the states at the chunks' starts."""
    y = torch.empty_like(scan.u)
    kept = scan.u.new_empty(kept_shape(scan), dtype=scan.work_dtype)
    width, programs = _grid(scan)
    _forward[programs](*_pointers(scan), y, kept, *_sizes(scan), **_options(scan, width))
    return y, kept


def backward(scan: Scan, kept: Tensor, dy: Tensor) -> Gradients:
    """Gradients of all arguments."""
    batch, channels, groups, states, length = scan.sizes
    width, programs = _grid(scan)

    def new(*shape: int) -> Tensor:
        return scan.u.new_empty(shape, dtype=scan.work_dtype)

    du, ddelta = torch.empty_like(scan.u), torch.empty_like(scan.delta)
    dA, dD, dbias = new(batch, channels, states), new(batch, channels), new(batch, channels)
    dB, dC = (new(batch, groups, programs[1], states, length) for _ in range(2))
    _backward[programs](
        *_pointers(scan),
        dy,
        kept,
        du,
        ddelta,
        dA,
        dB,
        dC,
        dD,
        dbias,
        *_sizes(scan),
        **_options(scan, width),
    )
    return Gradients(du, ddelta, dA.sum(0), dB.sum(2), dC.sum(2), dD.sum(0), dbias.sum(0))


def _grid(scan: Scan) -> tuple[int, tuple[int, int]]:
    """Channels of a program, and the programs: one axis of units, one of blocks in a unit."""
    batch, channels, groups, _, _ = scan.sizes
    per_group = channels // groups
    width = min(WIDTH, triton.next_power_of_2(per_group))
    return width, (batch * groups, triton.cdiv(per_group, width))


def _pointers(scan: Scan) -> tuple[Tensor, ...]:
    """The tensors; in place of those that are None, one that is never read."""
    return tuple(scan.u if x is None else x for x in scan.tensors)


def _sizes(scan: Scan) -> tuple[int, ...]:
    _, channels, groups, _, length = scan.sizes
    return channels, groups, length


def _options(scan: Scan, width: int) -> dict[str, object]:
    states = scan.A.shape[1]
    return {
        "STATES": states,
        "PADDED": triton.next_power_of_2(states),
        "SKIP": scan.D is not None,
        "BIAS": scan.delta_bias is not None,
        "SOFTPLUS": scan.delta_softplus,
        "WIDTH": width,
        "CHUNK": CHUNK,
        "WORK": tl.float64 if scan.work_dtype == torch.float64 else tl.float32,
    }


@triton.jit
def _combine(decay, value, next_decay, next_value):
    return decay * next_decay, next_decay * value + next_value


@triton.jit
def _step_size(raw, SOFTPLUS: tl.constexpr):
    """The step size, by log(1 + z) z / ((1 + z) - 1), which is exact for small z = exp(-|raw|)."""
    if SOFTPLUS:
        z = tl.exp(-tl.abs(raw))
        whole = 1 + z
        small = whole == 1
        log1p = tl.where(small, z, tl.log(whole) * (z / tl.where(small, 1, whole - 1)))
        raw = tl.maximum(raw, 0, propagate_nan=tl.PropagateNan.ALL) + log1p
    return raw


@triton.jit
def _slope(raw, SOFTPLUS: tl.constexpr):
    """The derivative of the step size."""
    slope = tl.full(raw.shape, 1, raw.dtype)
    if SOFTPLUS:
        z = tl.exp(-tl.abs(raw))
        slope = tl.where(raw < 0, z, 1) / (1 + z)
    return slope


@triton.jit
def _forward(
    u_ptr, delta_ptr, A_ptr, B_ptr, C_ptr, D_ptr, bias_ptr, y_ptr, kept_ptr,
    channels, groups, length,
    STATES: tl.constexpr, PADDED: tl.constexpr, SKIP: tl.constexpr, BIAS: tl.constexpr,
    SOFTPLUS: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr, WORK: tl.constexpr,
):  # fmt: skip
    unit = tl.program_id(0).to(tl.int64)
    item = unit // groups
    per_group = channels // groups
    within = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    real = within < per_group
    channel = unit % groups * per_group + within
    state = tl.arange(0, PADDED)
    skip = tl.zeros((WIDTH,), WORK)
    bias = tl.zeros((WIDTH,), WORK)
    if SKIP:
        skip = tl.load(D_ptr + channel, mask=real, other=0).to(WORK)
    if BIAS:
        bias = tl.load(bias_ptr + channel, mask=real, other=0).to(WORK)
    carried = tl.zeros((WIDTH, PADDED), WORK)
    chunks = tl.cdiv(length, CHUNK)
    for k in range(chunks):
        time = k * CHUNK + tl.arange(0, CHUNK)
        inside = time < length
        both = real[:, None] & inside[None, :]
        at = (item * channels + channel)[:, None] * length + time[None, :]
        u = tl.load(u_ptr + at, mask=both, other=0).to(WORK)
        raw = tl.load(delta_ptr + at, mask=both, other=0).to(WORK) + bias[:, None]
        x = tl.where(both, _step_size(raw, SOFTPLUS), 0)
        y = skip[:, None] * u
        for n in range(STATES):
            start = tl.sum(tl.where(state[None, :] == n, carried, 0), 1)
            tl.store(
                kept_ptr + ((item * chunks + k) * STATES + n) * channels + channel, start, mask=real
            )
            rate = tl.load(A_ptr + channel * STATES + n, mask=real, other=0).to(WORK)
            columns = (unit * STATES + n) * length + time
            write = tl.load(B_ptr + columns, mask=inside, other=0).to(WORK)
            read = tl.load(C_ptr + columns, mask=inside, other=0).to(WORK)
            decay = tl.exp(x * rate[:, None])
            decays, values = tl.associative_scan((decay, x * u * write[None, :]), 1, _combine)
            h = values + decays * start[:, None]
            y += h * read[None, :]
            end = tl.sum(tl.where(tl.arange(0, CHUNK)[None, :] == CHUNK - 1, h, 0), 1)
            carried = tl.where(state[None, :] == n, end[:, None], carried)
        tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=both)


@triton.jit
def _backward(
    u_ptr, delta_ptr, A_ptr, B_ptr, C_ptr, D_ptr, bias_ptr, dy_ptr, kept_ptr,
    du_ptr, ddelta_ptr, dA_ptr, dB_ptr, dC_ptr, dD_ptr, dbias_ptr,
    channels, groups, length,
    STATES: tl.constexpr, PADDED: tl.constexpr, SKIP: tl.constexpr, BIAS: tl.constexpr,
    SOFTPLUS: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr, WORK: tl.constexpr,
):  # fmt: skip
    unit = tl.program_id(0).to(tl.int64)
    item = unit // groups
    per_group = channels // groups
    within = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    real = within < per_group
    channel = unit % groups * per_group + within
    state = tl.arange(0, PADDED)
    skip = tl.zeros((WIDTH,), WORK)
    bias = tl.zeros((WIDTH,), WORK)
    if SKIP:
        skip = tl.load(D_ptr + channel, mask=real, other=0).to(WORK)
    if BIAS:
        bias = tl.load(bias_ptr + channel, mask=real, other=0).to(WORK)
    carried = tl.zeros((WIDTH, PADDED), WORK)
    dA = tl.zeros((WIDTH, PADDED), WORK)
    dD = tl.zeros((WIDTH,), WORK)
    dbias = tl.zeros((WIDTH,), WORK)
    chunks = tl.cdiv(length, CHUNK)
    first = tl.arange(0, CHUNK)[None, :] == 0
    for back in range(chunks):
        k = chunks - 1 - back
        time = k * CHUNK + tl.arange(0, CHUNK)
        inside = time < length
        both = real[:, None] & inside[None, :]
        followed = real[:, None] & (time + 1 < length)[None, :]
        at = (item * channels + channel)[:, None] * length + time[None, :]
        u = tl.load(u_ptr + at, mask=both, other=0).to(WORK)
        dy = tl.load(dy_ptr + at, mask=both, other=0).to(WORK)
        raw = tl.load(delta_ptr + at, mask=both, other=0).to(WORK) + bias[:, None]
        raw_after = tl.load(delta_ptr + at + 1, mask=followed, other=0).to(WORK) + bias[:, None]
        x = tl.where(both, _step_size(raw, SOFTPLUS), 0)
        x_after = tl.where(followed, _step_size(raw_after, SOFTPLUS), 0)
        xu = x * u
        from_A = tl.zeros((WIDTH, CHUNK), WORK)
        from_B = tl.zeros((WIDTH, CHUNK), WORK)
        for n in range(STATES):
            rate = tl.load(A_ptr + channel * STATES + n, mask=real, other=0).to(WORK)
            columns = (unit * STATES + n) * length + time
            write = tl.load(B_ptr + columns, mask=inside, other=0).to(WORK)
            read = tl.load(C_ptr + columns, mask=inside, other=0).to(WORK)
            start = tl.load(
                kept_ptr + ((item * chunks + k) * STATES + n) * channels + channel,
                mask=real, other=0,
            )  # fmt: skip
            written = xu * write[None, :]
            decay = tl.exp(x * rate[:, None])
            decays, values = tl.associative_scan((decay, written), 1, _combine)
            h = values + decays * start[:, None]
            later = tl.sum(tl.where(state[None, :] == n, carried, 0), 1)
            decay_after = tl.exp(x_after * rate[:, None])
            decays, values = tl.associative_scan(
                (decay_after, dy * read[None, :]), 1, _combine, reverse=True
            )
            g = values + decays * later[:, None]
            begin = tl.sum(tl.where(first, g, 0), 1)
            carried = tl.where(state[None, :] == n, begin[:, None], carried)
            parts = ((unit * tl.num_programs(1) + tl.program_id(1)) * STATES + n) * length + time
            tl.store(dB_ptr + parts, tl.sum(g * xu, 0), mask=inside)
            tl.store(dC_ptr + parts, tl.sum(dy * h, 0), mask=inside)
            from_B += g * write[None, :]
            through = g * (h - written)
            from_A += through * rate[:, None]
            sum_A = tl.sum(through * x, 1)
            dA += tl.where(state[None, :] == n, sum_A[:, None], 0)
        ddelta = (from_A + from_B * u) * _slope(raw, SOFTPLUS)
        ddelta = tl.where(both, ddelta, 0)
        du = from_B * x + skip[:, None] * dy
        dD += tl.sum(dy * u, 1)
        dbias += tl.sum(ddelta, 1)
        tl.store(du_ptr + at, du.to(du_ptr.dtype.element_ty), mask=both)
        tl.store(ddelta_ptr + at, ddelta.to(ddelta_ptr.dtype.element_ty), mask=both)
    row = item * channels + channel
    tl.store(
        dA_ptr + row[:, None] * STATES + state[None, :],
        dA,
        mask=real[:, None] & (state < STATES)[None, :],
    )
    tl.store(dD_ptr + row, dD, mask=real)
    tl.store(dbias_ptr + row, dbias, mask=real)


__all__ = ["READS_HALF", "backward", "forward", "kept_shape", "missing"]
