"""SS2D, the selective scan of a map along four directions, and what it is made of.

Source: Liu et al., VMamba, NeurIPS 2024, arXiv 2401.10166, Sec. 4.2-4.4; the released code's
variant `v05_noz`, which has no gate.
"""

import math
from typing import Any, cast

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.ops.linear2d import Linear2d, linear2d
from fusionzoo.ops.selective_scan import selective_scan
from fusionzoo.ops.selective_scan.maps import NUM_DIRECTIONS, scan_maps, scans

#: Bounds of the first step sizes, and the least of them.
STEP_BOUNDS, LEAST_STEP = (1e-3, 1e-1), 1e-4


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of a map."""

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """A map of the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def cross_scan(
    x: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch 4 channels length"]:
    """The map row after row, column after column, and both of these from the end."""
    return cast(Tensor, _CrossScan.apply(x))


def cross_merge(
    y: Float[Tensor, "batch 4 channels length"], height: int, width: int
) -> Float[Tensor, "batch channels height width"]:
    """The sum of four sequences, each position where `cross_scan` took it from.

    In memory, its channels come last.
    """
    return cast(Tensor, _CrossMerge.apply(y, height, width))


class _CrossScan(torch.autograd.Function):
    """`cross_scan`, whose gradient is `cross_merge`, in fewer copies than autograd makes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.size = x.shape[2:]
        return _four_sequences(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _CrossMerge.apply(*grads, *ctx.size)


class _CrossMerge(torch.autograd.Function):
    """`cross_merge`, whose gradient is `cross_scan`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, height: int, width: int) -> Tensor:
        return _one_map(y, height, width)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _CrossScan.apply(*grads), None, None


def _four_sequences(x: Tensor) -> Tensor:
    """Written to where they belong, so that nothing is stacked; columns come from rows."""
    height, width = x.shape[2:]
    four = x.new_empty(x.shape[0], NUM_DIRECTIONS, x.shape[1], height * width)
    rows, columns = four[:, 0].unflatten(2, (height, width)), four[:, 1]
    rows.copy_(x)
    columns.unflatten(2, (width, height)).copy_(rows.mT)
    four[:, 2:].copy_(four[:, :2].flip(3))
    return four


def _one_map(y: Tensor, height: int, width: int) -> Tensor:
    """Both backward sequences turned in one go; channels last, as the norm after it wants them."""
    both = y[:, 2:].flip(3).add_(y[:, :2])
    rows, columns = (
        both[:, 0].unflatten(2, (height, width)),
        both[:, 1].unflatten(2, (width, height)),
    )
    merged = torch.empty_like(rows, memory_format=torch.channels_last)
    return torch.add(rows, columns.mT, out=merged)


def initialise_steps_(
    weight: Float[Tensor, "*any inner rank"], bias: Float[Tensor, "*any inner"]
) -> None:
    """Fill what gives the step sizes: after the softplus, the bias alone is log-uniform."""
    widest = weight.shape[-1] ** -0.5
    nn.init.uniform_(weight, -widest, widest)
    low, high = (math.log(bound) for bound in STEP_BOUNDS)
    with torch.no_grad():
        steps = bias.uniform_(low, high).exp().clamp(min=LEAST_STEP)
        bias.copy_(steps + torch.log(-torch.expm1(-steps)))


def initialise_rates_(A_log: Float[Tensor, "channels states"]) -> None:
    """Fill the logarithms of the rates 1, 2, ..., as in S4D-real."""
    with torch.no_grad():
        rates = torch.arange(1, A_log.shape[1] + 1, dtype=A_log.dtype)
        A_log.copy_(rates.log().expand_as(A_log))


class SS2D(nn.Module):
    """`W_out norm(merge(scan(cross_scan(silu(conv(W_in x))))))`.

    For the sequence u of each direction, step sizes, B and C are linear in u: the rows of
    `x_proj_weight` give, in this order, a projection of rank `dt_rank` that `dt_projs_weight` turns
    into one step size per channel, then B, then C.

    Args:
        channels: Channels of the map.
        num_states: States per channel.
        ratio: Inner channels as a multiple of `channels`.
        backend: Backend of the selective scan.
    """

    def __init__(
        self, channels: int, *, num_states: int = 1, ratio: float = 1.0, backend: str = "auto"
    ):
        super().__init__()
        inner, rank = round(ratio * channels), math.ceil(channels / 16)
        self.num_states, self.rank, self.scan_backend = num_states, rank, backend
        self.in_proj = Linear2d(channels, inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        rows = torch.empty(NUM_DIRECTIONS, rank + 2 * num_states, inner)
        self.x_proj_weight = nn.Parameter(rows)
        self.dt_projs_weight = nn.Parameter(torch.empty(NUM_DIRECTIONS, inner, rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(NUM_DIRECTIONS, inner))
        self.A_logs = nn.Parameter(torch.empty(NUM_DIRECTIONS * inner, num_states))
        self.Ds = nn.Parameter(torch.ones(NUM_DIRECTIONS * inner))
        self.out_norm = LayerNorm2d(inner)
        self.out_proj = Linear2d(inner, channels, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        for linear in self.x_proj_weight:
            nn.init.kaiming_uniform_(linear, a=math.sqrt(5))
        initialise_steps_(self.dt_projs_weight, self.dt_projs_bias)
        initialise_rates_(self.A_logs)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """A map of the same shape."""
        x = F.silu(self.conv2d(self.in_proj(x)))
        if self.num_states == 1 and scans(x, self.scan_backend):
            y = self.scan_map(x)
        else:
            y = cross_merge(self.scan(cross_scan(x), self.projected(x)), *x.shape[2:])
        return self.out_proj(self.out_norm(y))

    def scan_map(
        self, x: Float[Tensor, "batch inner height width"]
    ) -> Float[Tensor, "batch inner height width"]:
        """The scans of all directions, added up, where the map lies."""
        rows = linear2d(x, self.x_proj_weight.flatten(0, 1))
        rows = rearrange(rows, "batch (k rows) h w -> (batch h w) k rows", k=NUM_DIRECTIONS)
        narrow, B, C = rows.split([self.rank, 1, 1], 2)
        delta = torch.bmm(narrow.transpose(0, 1), self.dt_projs_weight.mT)
        B, C = (y.view(len(x), -1, NUM_DIRECTIONS) for y in (B, C))
        A, D = (-torch.exp(self.A_logs)).view_as(self.dt_projs_bias), self.Ds
        delta = delta.unflatten(1, B.shape[:2])
        return scan_maps(x, delta, A, B, C, D.view_as(A), self.dt_projs_bias)

    def projected(
        self, x: Float[Tensor, "batch inner height width"]
    ) -> Float[Tensor, "batch 4 rows length"]:
        """What each direction's step sizes, B and C come from.

        Computed of the map and put in order afterwards: one product in place of four, and of its
        gradients one map is added up, not the four sequences.
        """
        rows = linear2d(x, self.x_proj_weight.flatten(0, 1))
        maps = rearrange(rows, "batch (k rows) h w -> k batch rows h w", k=NUM_DIRECTIONS)
        forth = torch.stack([maps[0].flatten(2), maps[1].mT.flatten(2)], 1)
        back = torch.stack([maps[2].flatten(2), maps[3].mT.flatten(2)], 1)
        return torch.cat([forth, back.flip(3)], 1)

    def scan(
        self,
        sequences: Float[Tensor, "batch 4 inner length"],
        rows: Float[Tensor, "batch 4 rows length"],
    ) -> Float[Tensor, "batch 4 inner length"]:
        """The scan of all directions, stacked on channels: direction k is group k."""
        narrow, B, C = rows.split([self.rank, self.num_states, self.num_states], 2)
        delta = torch.matmul(self.dt_projs_weight, narrow)
        stacked = "batch k inner length -> batch (k inner) length"
        y = selective_scan(
            rearrange(sequences, stacked),
            rearrange(delta, stacked),
            -torch.exp(self.A_logs),
            B,
            C,
            self.Ds,
            self.dt_projs_bias.flatten(),
            delta_softplus=True,
            backend=self.scan_backend,
        )
        return y.unflatten(1, sequences.shape[1:3])


__all__ = [
    "SS2D",
    "LayerNorm2d",
    "cross_merge",
    "cross_scan",
    "initialise_rates_",
    "initialise_steps_",
]
