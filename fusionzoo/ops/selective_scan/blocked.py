"""Selective scan in plain PyTorch, backend `torch`: wherever PyTorch runs.

The length is cut into chunks that advance side by side, so that about 3 sqrt(length) steps on
matrices take the place of `length` steps on vectors. After the steps x_1..x_T of a chunk,

    h_T = (h_T for h_0 = 0) + exp(A (x_1 + ... + x_T)) h_0

so a first pass finds each chunk's end for h_0 = 0, a short recurrence over the chunks the true
ends, and a second pass all states. Channels go through in blocks that fit a cache, time is the
first axis. The backward pass recomputes the states; the arguments are all that is kept.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionzoo.ops.selective_scan.arguments import Gradients, Scan

READS_HALF = False
#: Elements of a block: some buffers of this size fit the cache of a core, or fill a GPU.
BLOCK_ON_CPU = 2**18
BLOCK_ELSEWHERE = 2**24
#: Lengths up to this are gone through step by step, as one chunk.
SHORT = 64


def missing(device: torch.device) -> str | None:
    """Why it can't run on a device: it always can."""
    return None


def kept_shape(scan: Scan) -> tuple[Any, ...]:
    """Shape of what the forward pass keeps for the backward pass: nothing."""
    return (0,)


def forward(scan: Scan) -> tuple[Tensor, Tensor]:
    """The result, and nothing kept."""
    y = torch.empty_like(scan.u)
    for block in _blocks(scan, num_buffers=5):
        u, x, xu, decay, h = block.buffers()
        block.take(u, scan.u)
        block.take(x, scan.delta)
        block.to_steps_(x)
        torch.mul(x, u, out=xu)
        total = u.zero_() if scan.D is None else u.mul_(block.of_channels(scan.D))
        sums = block.sum_of_chunks(x)
        recur = _Recurrence(block, decay, h)
        for rate, write, read in block.states():
            torch.mul(x, rate, out=decay).exp_()
            torch.mul(xu, write, out=h)
            recur((sums * rate).exp_())
            total.addcmul_(h, read)
        block.put(y, total)
    return y, y.new_empty(0)


def backward(scan: Scan, kept: Tensor, dy: Tensor) -> Gradients:
    """Gradients of all arguments.

    With g_t = dL/dh_t = C_t dy_t + exp(x_{t+1} A) g_{t+1}: dB = g x u and dC = dy h, summed over
    the channels of the group; du = D dy + x sum_n g B; dx = sum_n g (A exp(x A) h_{t-1} + B u),
    times the slope of the softplus for delta; dA = sum_t g x exp(x A) h_{t-1}.
    """
    found = Gradients.empty(scan)
    dA, dD, dbias = (_per_item(scan, x) for x in (found.A, found.D, found.delta_bias))
    dB, dC = (x.flatten(0, 1).zero_() for x in (found.B, found.C))
    for block in _blocks(scan, num_buffers=11):
        u, out, x_and_0, xu, slope, decay, h, g, product, from_A, from_B = block.buffers(extra=1)
        u, out, xu, slope, g, product = (b[:-1] for b in (u, out, xu, slope, g, product))
        from_A, from_B = from_A[:-1].zero_(), from_B[:-1].zero_()
        x, x_and_0[-1], decay[-1], h[0] = x_and_0[:-1], 0, 1, 0
        block.take(u, scan.u)
        block.take(out, dy)
        block.take(x, scan.delta)
        block.to_steps_(x, slope)
        torch.mul(x, u, out=xu)
        sums, sums_after = block.sum_of_chunks(x), block.sum_of_chunks(x_and_0[1:])
        recur = _Recurrence(block, decay[:-1], h[1:])
        recur_back = _Recurrence(block, decay[1:], g, backwards=True)
        for n, (rate, write, read) in enumerate(block.states()):
            torch.mul(x, rate, out=decay[:-1]).exp_()
            torch.mul(xu, write, out=h[1:])
            recur((sums * rate).exp_())
            torch.mul(out, read, out=g)
            recur_back((sums_after * rate).exp_())
            block.add_columns(dB, n, torch.mul(g, xu, out=product))
            block.add_columns(dC, n, torch.mul(out, h[1:], out=product))
            from_B.addcmul_(g, write)
            g.mul_(decay[:-1]).mul_(h[:-1])
            from_A.addcmul_(g, rate)
            dA[block.units, block.channels, n] = g.mul_(x).sum(0)
        ddelta = from_A.addcmul_(from_B, u)
        du = from_B.mul_(x)
        if scan.delta_softplus:
            ddelta.mul_(slope)
        if scan.delta_bias is not None:
            dbias[block.units, block.channels] = ddelta[: block.length].sum(0)
        if scan.D is not None:
            du.addcmul_(out, block.of_channels(scan.D))
            dD[block.units, block.channels] = out.mul_(u).sum(0)
        block.put(found.u, du)
        block.put(found.delta, ddelta)
    for total, parts in ((found.A, dA), (found.D, dD), (found.delta_bias, dbias)):
        torch.sum(parts.view(scan.u.shape[0], *total.shape), 0, out=total)
    return found


class _Block:
    """Some channels of some units, a unit being one group of one item.

    Buffers are `time units channels`, time filled up to whole chunks.
    """

    def __init__(self, scan: Scan, units: slice, channels: slice, chunks: tuple[int, int]):
        self.scan = scan
        self.units = units
        self.channels = channels
        self.chunks = chunks
        self.length = scan.u.shape[2]
        self.rows = math.prod(chunks)
        self.columns = (units.stop - units.start, channels.stop - channels.start)
        self.memory = scan.u.new_empty(0)

    def buffers(self, extra: int = 0) -> list[Tensor]:
        """Views of the shared memory, with `extra` rows at the end."""
        size = (self.rows + extra) * math.prod(self.columns)
        return [flat[:size].view(self.rows + extra, *self.columns) for flat in self.memory]

    def _part(self, x: Tensor) -> Tensor:
        """The block's part of `batch channels length`."""
        *_, groups, _, length = self.scan.sizes
        return x.view(-1, x.shape[1] // groups, length)[self.units, self.channels]

    def take(self, buffer: Tensor, x: Tensor) -> None:
        """Fill a buffer with the block's part of a sequence, and zeros after its end."""
        part = self._part(x)
        buffer[: self.length].view(self.length, -1).copy_(part.reshape(-1, self.length).t())
        buffer[self.length :] = 0

    def put(self, x: Tensor, buffer: Tensor) -> None:
        """The reverse of `take`."""
        rows = buffer[: self.length].view(self.length, -1).t()
        part = self._part(x)
        part.copy_(rows.view(part.shape))

    def of_channels(self, x: Tensor) -> Tensor:
        """The values `channels ...` of the block, per unit and channel."""
        batch, _, groups, _, _ = self.scan.sizes
        grouped = x.view(1, groups, -1, *x.shape[1:]).expand(batch, *(-1,) * (x.ndim + 1))
        return grouped.flatten(0, 1)[self.units, self.channels]

    def to_steps_(self, x: Tensor, slope: Tensor | None = None) -> None:
        """Turn deltas into step sizes, 0 after the end, where a step then changes nothing."""
        if self.scan.delta_bias is not None:
            x += self.of_channels(self.scan.delta_bias)
        if self.scan.delta_softplus:
            if slope is not None:
                torch.sigmoid(x, out=slope)
            torch.logaddexp(x, x.new_zeros(()), out=x)
        x[self.length :] = 0

    def by_chunk(self, x: Tensor) -> Tensor:
        """A buffer as `chunks steps columns`."""
        return x.view(*self.chunks, -1)

    def sum_of_chunks(self, x: Tensor) -> Tensor:
        """The sum of each chunk, `chunks units channels`."""
        return self.by_chunk(x).sum(1).view(-1, *self.columns)

    def add_columns(self, x: Tensor, state: int, buffer: Tensor) -> None:
        """Add a buffer's sum over the channels to `units states length`."""
        x[self.units, state] += buffer.sum(2)[: self.length].t()

    def states(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Per state: the rates, and what is written and read over time."""
        fill = (0, self.rows - self.length)
        B, C = (F.pad(x.flatten(0, 1)[self.units], fill) for x in (self.scan.B, self.scan.C))
        rates = self.of_channels(self.scan.A).unbind(-1)
        for rate, write, read in zip(rates, B.unbind(1), C.unbind(1), strict=True):
            yield rate, write.t()[:, :, None], read.t()[:, :, None]


class _Recurrence:
    """values[t] += decay[t] * values[t - 1] in place, or values[t + 1] if `backwards`.

    Made once for two buffers of a block, since taking views apart costs as much as the steps.
    """

    def __init__(self, block: _Block, decay: Tensor, values: Tensor, backwards: bool = False):
        self.direction = -1 if backwards else 1
        steps = (block.by_chunk(x).unbind(1) for x in (decay, values))
        self.steps = list(zip(*steps, strict=True))[:: self.direction]
        num_chunks, _ = block.chunks
        self.bounds = values.new_zeros(num_chunks + 1, math.prod(block.columns))
        self.ends, self.starts = self.bounds[1:], self.bounds[:-1]
        if backwards:
            self.ends, self.starts = self.starts, self.ends
        self.rows = self.ends.unbind(0)[:: self.direction]

    def __call__(self, products: Tensor) -> None:
        """Run; `products` are those of each chunk's decays."""
        if len(self.rows) > 1:
            ends = self.ends.copy_(self.steps[0][1])
            for decay, value in self.steps[1:]:
                torch.addcmul(value, decay, ends, out=ends)
            factors = products.flatten(1).unbind(0)[:: self.direction]
            before = self.rows[0]
            for end, factor in zip(self.rows[1:], factors[1:], strict=True):
                before = end.addcmul_(factor, before)
        before = self.starts
        for decay, value in self.steps:
            before = value.addcmul_(decay, before)


def _per_item(scan: Scan, x: Tensor) -> Tensor:
    """Room for `channels ...` per unit; the sum over the items is left for the end."""
    batch, channels, groups, _, _ = scan.sizes
    width = channels // groups if x.numel() else 0
    return x.new_empty(batch * groups, width, *x.shape[1:])


def _blocks(scan: Scan, num_buffers: int) -> Iterator[_Block]:
    """All of a scan's blocks, one after the other in the same memory."""
    batch, channels, groups, _, length = scan.sizes
    num_steps = length if length <= SHORT else math.isqrt(length // 2)
    chunks = (-(-length // num_steps), num_steps)
    width = channels // groups
    wanted = (BLOCK_ON_CPU if scan.u.device.type == "cpu" else BLOCK_ELSEWHERE) // math.prod(chunks)
    units, parts = max(1, wanted // width), -(-width // max(1, wanted))
    made = [
        _Block(
            scan,
            slice(first, min(first + units, batch * groups)),
            slice(width * part // parts, width * (part + 1) // parts),
            chunks,
        )
        for first in range(0, batch * groups, units)
        for part in range(parts)
    ]
    largest = max(math.prod(block.columns) for block in made)
    memory = scan.u.new_empty(num_buffers, (math.prod(chunks) + 1) * largest)
    for block in made:
        block.memory = memory
        yield block


__all__ = ["READS_HALF", "backward", "forward", "kept_shape", "missing"]
