"""Selective scan in plain PyTorch, backend `torch`: wherever PyTorch runs.

The length is cut into chunks that advance side by side, so that about 3 sqrt(length) steps on
matrices take the place of `length` steps on vectors. After the steps x_1..x_T of a chunk,

    h_T = (h_T for h_0 = 0) + exp(A (x_1 + ... + x_T)) h_0

so a first pass finds each chunk's end for h_0 = 0, a short recurrence over the chunks the true
ends, and a second pass all states. Channels go through in blocks that fit a cache. In a block's
buffers the same step of all chunks and channels lies together, so that a step is one operation on
contiguous memory. The backward pass recomputes the states; the arguments are all that is kept.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionzoo.ops.selective_scan.arguments import Gradients, Scan

READS_HALF = False
#: Elements of a block: some buffers of this size fit the cache of a core, or fill a GPU.
BLOCK_ON_CPU = 2**19
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
    y, recurrences = torch.empty_like(scan.u), _Recurrences()
    for block in _blocks(scan, num_buffers=5):
        u, x, xu, decay, h = block.buffers()
        block.take(u, scan.u)
        block.take(x, scan.delta)
        block.to_steps_(x, (xu, decay, h))
        torch.mul(x, u, out=xu)
        total = u.zero_() if scan.D is None else u.mul_(block.of_channels(scan.D))
        sums = block.sum_of_chunks(x)
        recur = recurrences.of(block, decay, h)
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
    forth, back = _Recurrences(), _Recurrences()
    for block in _blocks(scan, num_buffers=11):
        u, out, x_and_next, xu, slope, decay, h, g, product, from_A, from_B = block.buffers(1)
        u, out, xu, slope, g, product, from_A, from_B = (
            b[:-1] for b in (u, out, xu, slope, g, product, from_A, from_B)
        )
        x, state, before = x_and_next[:-1], h[1:], h[:-1]
        block.take(u, scan.u)
        block.take(out, dy)
        block.take(x, scan.delta)
        block.to_steps_(x, (xu, g, product), slope)
        torch.mul(x, u, out=xu)
        block.set_next(x_and_next, 0)
        sums, sums_after = block.sum_of_chunks(x), block.sum_of_chunks(x_and_next[1:])
        recur = forth.of(block, decay[:-1], state, h[0])
        recur_back = back.of(block, decay[1:], g, backwards=True)
        from_A.zero_()
        from_B.zero_()
        for n, (rate, write, read) in enumerate(block.states()):
            torch.mul(x, rate, out=decay[:-1]).exp_()
            block.set_next(decay, 1)
            torch.mul(xu, write, out=state)
            recur((sums * rate).exp_())
            torch.mul(out, read, out=g)
            recur_back((sums_after * rate).exp_())
            block.put_columns(found.B, n, torch.mul(g, xu, out=product))
            block.put_columns(found.C, n, torch.mul(out, state, out=product))
            from_B.addcmul_(g, write)
            g.mul_(decay[:-1]).mul_(before)
            from_A.addcmul_(g, rate)
            dA[block.units, block.channels, n] = g.mul_(x).sum((0, 3))
        ddelta = from_A.addcmul_(from_B, u)
        du = from_B.mul_(x)
        if scan.delta_softplus:
            ddelta.mul_(slope)
        if scan.delta_bias is not None:
            dbias[block.units, block.channels] = block.cut_(ddelta).sum((0, 3))
        if scan.D is not None:
            du.addcmul_(out, block.of_channels(scan.D))
            dD[block.units, block.channels] = out.mul_(u).sum((0, 3))
        block.put(found.u, du)
        block.put(found.delta, ddelta)
    for total, parts in ((found.A, dA), (found.D, dD), (found.delta_bias, dbias)):
        torch.sum(parts.view(scan.u.shape[0], *total.shape), 0, out=total)
    return found


class _Block:
    """Some channels of some units, a unit being one group of one item.

    Buffers are `steps units channels chunks`: step i of chunk k is time i + k * steps, filled up to
    whole chunks.
    """

    def __init__(
        self, scan: Scan, units: slice, channels: slice, steps: int, chunks: int, first: bool
    ):
        self.scan = scan
        self.units = units
        self.channels = channels
        self.steps, self.chunks = steps, chunks
        self.length = scan.u.shape[2]
        self.padding = steps * chunks - self.length
        self.columns = (units.stop - units.start, channels.stop - channels.start, chunks)
        #: Whether it is the first one of its units, the sums over whose channels begin with it.
        self.first = first
        self.memory = scan.u.new_empty(0)

    def buffers(self, extra: int = 0) -> list[Tensor]:
        """Views of the shared memory, with `extra` steps at the end."""
        size = (self.steps + extra) * math.prod(self.columns)
        return [flat[:size].view(self.steps + extra, *self.columns) for flat in self.memory]

    def _part(self, x: Tensor) -> Tensor:
        """The block's part of `batch channels length`, as rows of time."""
        *_, groups, _, length = self.scan.sizes
        part = x.view(-1, x.shape[1] // groups, length)[self.units, self.channels]
        return part.view(-1, length)

    def _by_step(self, buffer: Tensor) -> Tensor:
        """A buffer as a matrix of steps, without its extra ones."""
        return buffer[: self.steps].view(self.steps, -1)

    def take(self, buffer: Tensor, x: Tensor) -> None:
        """Fill a buffer with the block's part of a sequence, and zeros after its end."""
        part = self._part(x)
        part = F.pad(part, (0, self.padding)) if self.padding else part
        self._by_step(buffer).copy_(part.view(-1, self.steps).t())

    def put(self, x: Tensor, buffer: Tensor) -> None:
        """The reverse of `take`."""
        part, rows = self._part(x), self._by_step(buffer).t()
        if self.padding:
            part.copy_(rows.reshape(len(part), -1)[:, : self.length])
        else:
            part.view(-1, self.steps).copy_(rows)

    def cut_(self, buffer: Tensor) -> Tensor:
        """The buffer with zeros after the end."""
        buffer[self.steps - self.padding : self.steps, ..., -1] = 0
        return buffer

    def set_next(self, buffer: Tensor, last: int) -> None:
        """Fill the extra step with what follows each chunk: the first step of the next one."""
        after, starts = buffer[self.steps], buffer[0]
        after[..., :-1], after[..., -1] = starts[..., 1:], last

    def of_channels(self, x: Tensor) -> Tensor:
        """The values `channels` of the block, per unit and channel."""
        batch, _, groups, _, _ = self.scan.sizes
        grouped = x.view(1, groups, -1).expand(batch, -1, -1)
        return grouped.flatten(0, 1)[self.units, self.channels, None]

    def to_steps_(
        self, x: Tensor, spares: tuple[Tensor, Tensor, Tensor], slope: Tensor | None = None
    ) -> None:
        """Turn deltas into step sizes, 0 after the end, where a step then changes nothing."""
        if self.scan.delta_bias is not None:
            x += self.of_channels(self.scan.delta_bias)
        if self.scan.delta_softplus:
            if slope is not None:
                torch.sigmoid(x, out=slope)
            _softplus_(x, *spares)
        self.cut_(x)

    def sum_of_chunks(self, x: Tensor) -> Tensor:
        """The sum of each chunk, `units channels chunks`."""
        return x.sum(0)

    def put_columns(self, x: Tensor, state: int, buffer: Tensor) -> None:
        """Add a buffer's sum over the channels to `batch groups states length`."""
        rows = buffer.sum(2).permute(1, 2, 0).flatten(1)[:, : self.length]
        target = x.flatten(0, 1)[self.units, state]
        if self.first:
            target.copy_(rows)
        else:
            target.add_(rows)

    def states(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Per state: the rates, and what is written and read over time."""
        B, C = (
            F.pad(x.flatten(0, 1)[self.units], (0, self.padding))
            .unflatten(2, (self.chunks, self.steps))
            .permute(1, 3, 0, 2)
            .unsqueeze(3)
            .contiguous()
            for x in (self.scan.B, self.scan.C)
        )
        for rate, write, read in zip(self.scan.A.unbind(1), B, C, strict=True):
            yield self.of_channels(rate.contiguous()), write, read


class _Recurrence:
    """values[t] += decay[t] * values[t - 1] in place, or values[t + 1] if `backwards`.

    `before` gets what each chunk starts from.
    """

    def __init__(
        self,
        block: _Block,
        decay: Tensor,
        values: Tensor,
        before: Tensor | None = None,
        *,
        backwards: bool = False,
    ):
        self.direction = -1 if backwards else 1
        steps = (x.view(block.steps, -1).unbind(0) for x in (decay, values))
        self.steps = list(zip(*steps, strict=True))[:: self.direction]
        self.starts = values.new_zeros(block.columns) if before is None else before
        self.ends = values.new_empty(math.prod(block.columns))
        #: Ends and starts of chunks, the chunks' axis first; there is none before the first one.
        bounds = values.new_zeros(block.chunks + 1, *block.columns[:-1])
        ends, starts = bounds[1:], bounds[:-1]
        self.by_chunk = (starts, ends) if backwards else (ends, starts)
        self.rows = self.by_chunk[0].unbind(0)[:: self.direction]

    def __call__(self, products: Tensor) -> None:
        """Run; `products` are those of each chunk's decays, `units channels chunks`."""
        ends, starts = self.by_chunk
        if len(self.rows) > 1:
            found = self.ends.copy_(self.steps[0][1])
            for decay, value in self.steps[1:]:
                torch.addcmul(value, decay, found, out=found)
            ends.copy_(found.view(self.starts.shape).movedim(-1, 0))
            factors = products.movedim(-1, 0).contiguous().unbind(0)[:: self.direction]
            last = self.rows[0]
            for end, factor in zip(self.rows[1:], factors[1:], strict=True):
                last = end.addcmul_(factor, last)
        self.starts.copy_(starts.movedim(0, -1))
        found = self.starts.view(-1)
        for decay, value in self.steps:
            found = value.addcmul_(decay, found)


class _Recurrences(dict[tuple[int, int, int], _Recurrence]):
    """One recurrence for all blocks of a size: they have the same memory.

    Taking buffers apart into steps costs about as much as the steps.
    """

    def of(self, block: _Block, *buffers: Tensor, backwards: bool = False) -> _Recurrence:
        """That of a block's buffers."""
        if block.columns not in self:
            self[block.columns] = _Recurrence(block, *buffers, backwards=backwards)
        return self[block.columns]


def _softplus_(x: Tensor, z: Tensor, w: Tensor, spare: Tensor) -> None:
    """log(1 + e^x) in place; the other buffers are overwritten.

    With z = e^x and w = 1 + z rounded, it is log(w) + (z - (w - 1)) / w to the last digits, in a
    quarter of the time of PyTorch's own functions for it. Far above 0 it is x, and z no number.
    """
    torch.clamp(x, max=60, out=z).exp_()
    torch.add(z, 1, out=w)
    z.sub_(torch.sub(w, 1, out=spare)).div_(w)
    torch.maximum(x, w.log_().add_(z), out=x)


def _per_item(scan: Scan, x: Tensor) -> Tensor:
    """Room for `channels ...` per unit; the sum over the items is left for the end."""
    batch, channels, groups, _, _ = scan.sizes
    width = channels // groups if x.numel() else 0
    return x.new_empty(batch * groups, width, *x.shape[1:])


def _cut(length: int) -> tuple[int, int]:
    """Steps of a chunk, near sqrt(length / 2), and number of chunks; without a rest if possible."""
    if length <= SHORT:
        return length, 1
    best = math.sqrt(length / 2)
    factors = [n for n in range(int(best / 2), int(2 * best)) if length % n == 0]
    steps = min(factors, key=lambda n: abs(math.log(n / best)), default=round(best))
    return steps, -(-length // steps)


def _blocks(scan: Scan, num_buffers: int) -> Iterator[_Block]:
    """All of a scan's blocks, one after the other in the same memory."""
    batch, channels, groups, _, length = scan.sizes
    (steps, chunks), width = _cut(length), channels // groups
    most = BLOCK_ON_CPU if scan.u.device.type == "cpu" else BLOCK_ELSEWHERE
    wanted = most // (steps * chunks)
    units, parts = max(1, wanted // width), -(-width // max(1, wanted))
    made = [
        _Block(
            scan,
            slice(first, min(first + units, batch * groups)),
            slice(width * part // parts, width * (part + 1) // parts),
            steps,
            chunks,
            first=part == 0,
        )
        for first in range(0, batch * groups, units)
        for part in range(parts)
    ]
    largest = max(math.prod(block.columns) for block in made)
    memory = scan.u.new_empty(num_buffers, (steps + 1) * largest)
    for block in made:
        block.memory = memory
        yield block


__all__ = ["READS_HALF", "backward", "forward", "kept_shape", "missing"]
