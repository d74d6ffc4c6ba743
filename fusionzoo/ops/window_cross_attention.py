"""Attention of one map to itself and another, window by window, along any number of axes.

Source: Zhang et al., TFormer, Computers in Biology and Medicine 157, 2023, after Liu et al., Swin
Transformer, ICCV 2021, Sec. 3.2.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from fusionzoo.errors import BadOption


class Windows:
    """How a map is cut into windows, all alike and with at most `window` positions along an axis.

    An axis of n positions has ceil(n / window) windows of side w = ceil(n / that number); what is
    missing at its end is filled up with zeros that no position sees. With a shift, windows begin
    w // 2 positions later and go round the end, but only along axes of several windows.

    Args:
        size: Size of the map.
        window: Most positions of a window along an axis.
        shifted: Whether windows are shifted.
    """

    def __init__(self, size: Sequence[int], *, window: int, shifted: bool = False):
        self.size = tuple(size)
        self.counts = tuple(-(-n // window) for n in size)
        self.sides = tuple(-(-n // count) for n, count in zip(size, self.counts, strict=True))
        self.shifts = tuple(
            side // 2 if shifted and count > 1 else 0
            for side, count in zip(self.sides, self.counts, strict=True)
        )
        axes = range(len(self.size))
        self._axes = tuple(axis + 1 for axis in axes)
        apart, inside = (" ".join(f"{letter}{axis}" for axis in axes) for letter in "nw")
        both = " ".join(f"(n{axis} w{axis})" for axis in axes)
        self._whole = f"batch {both} channels"
        self._cut = f"(batch {apart}) ({inside}) channels"
        self._lengths = {f"w{axis}": side for axis, side in enumerate(self.sides)}
        self._lengths |= {f"n{axis}": count for axis, count in enumerate(self.counts)}

    def cut(
        self, x: Float[Tensor, "batch *space channels"]
    ) -> Float[Tensor, "windows tokens channels"]:
        """A map's windows as tokens; those of one case follow each other."""
        x = torch.roll(x, tuple(-shift for shift in self.shifts), self._axes)
        axes = zip(self.size, self.counts, self.sides, strict=True)
        missing = [count * side - n for n, count, side in axes]
        x = F.pad(x, [0, 0, *(n for end in reversed(missing) for n in (0, end))])
        return rearrange(x, f"{self._whole} -> {self._cut}", **self._lengths)

    def join(
        self, windows: Float[Tensor, "windows tokens channels"]
    ) -> Float[Tensor, "batch *space channels"]:
        """The map that was cut."""
        x = rearrange(windows, f"{self._cut} -> {self._whole}", **self._lengths)
        x = x[(slice(None), *(slice(n) for n in self.size))]
        return torch.roll(x, self.shifts, self._axes)

    def apart(self) -> Bool[Tensor, "windows tokens tokens"]:
        """Pairs of one window that are no neighbours in the map, or of which one is filled up."""
        region = torch.ones(1, *self.size, 1)
        for axis, (n, shift) in enumerate(zip(self.size, self.shifts, strict=True)):
            shape = [-1 if other == axis else 1 for other in range(len(self.size))]
            region = 2 * region + (torch.arange(n) < shift).reshape(1, *shape, 1)
        cut = self.cut(region)[..., 0]
        return cut[:, :, None] != cut[:, None, :]

    def offsets(self) -> Int[Tensor, "tokens tokens"]:
        """Row of a bias table for each pair of positions: one per offset, the last axis fastest."""
        places = torch.cartesian_prod(*(torch.arange(side) for side in self.sides))
        places = places.reshape(-1, len(self.sides))
        row = torch.zeros(len(places), len(places), dtype=torch.long)
        for axis, side in enumerate(self.sides):
            offset = places[:, None, axis] - places[None, :, axis] + side - 1
            row = row * (2 * side - 1) + offset
        return row

    @property
    def num_offsets(self) -> int:
        """Rows of a bias table."""
        return math.prod(2 * side - 1 for side in self.sides)


class WindowCrossAttention(nn.Module):
    """P concat_h softmax(Q_h [K_h(x), K_h(y)]^T / sqrt(d) + [B_h, B_h]) [V_h(x), V_h(y)].

    Within each window; B is one number per offset between two positions and head, the same for both
    maps.

    Args:
        channels: Channels of both maps.
        num_heads: Heads; divides `channels`.
        windows: How the maps are cut.

    Raises: BadOption: `num_heads` doesn't divide `channels`
    """

    offsets: Tensor
    apart: Tensor

    def __init__(self, channels: int, *, num_heads: int, windows: Windows):
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise BadOption(
                f"Attention over {channels} channels can't be split into {num_heads} heads. "
                f"Use a number of heads that divides {channels}."
            )
        self.num_heads = num_heads
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros(windows.num_offsets, num_heads)
        )
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.to_q = nn.Linear(channels, channels)
        self.to_kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.register_buffer("offsets", windows.offsets(), persistent=False)
        self.register_buffer("apart", windows.apart(), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "windows tokens channels"],
        y: Float[Tensor, "windows tokens channels"],
    ) -> Float[Tensor, "windows tokens channels"]:
        """What each position of x gathers from its window of x and of y."""
        by_head = "windows tokens (parts heads dim) -> parts windows heads tokens dim"
        (q,) = rearrange(self.to_q(x), by_head, parts=1, heads=self.num_heads)
        both = self.to_kv(torch.cat([x, y], dim=1))
        k, v = rearrange(both, by_head, parts=2, heads=self.num_heads)
        bias = self.relative_position_bias_table[self.offsets].movedim(-1, 0)
        scores = q @ k.mT / math.sqrt(q.shape[-1]) + torch.cat([bias, bias], dim=-1)
        per_case = scores.unflatten(0, (-1, len(self.apart)))
        apart = torch.cat([self.apart, self.apart], dim=-1)[:, None]
        weights = per_case.masked_fill(apart, -torch.inf).softmax(dim=-1).flatten(0, 1)
        return self.proj(
            rearrange(weights @ v, "windows heads tokens dim -> windows tokens (heads dim)")
        )


class WindowCrossBlock(nn.Module):
    """z = x + attention(norm_1(x), norm_1(y)), then z + MLP(norm_2(z)) with GELU, as Swin's block.

    Args:
        channels: Channels of both maps.
        size: Size of both maps.
        num_heads: Heads of attention.
        window: Most positions of a window along an axis.
        shifted: Whether windows are shifted.
        mlp_ratio: Width of the MLP in units of `channels`.
    """

    def __init__(
        self,
        channels: int,
        size: Sequence[int],
        *,
        num_heads: int,
        window: int = 7,
        shifted: bool = False,
        mlp_ratio: int = 4,
    ):
        super().__init__()
        self.windows = Windows(size, window=window, shifted=shifted)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = WindowCrossAttention(channels, num_heads=num_heads, windows=self.windows)
        self.mlp = FeedForward(channels, mlp_ratio * channels)

    def forward(
        self,
        x: Float[Tensor, "batch *space channels"],
        y: Float[Tensor, "batch *space channels"],
    ) -> Float[Tensor, "batch *space channels"]:
        """A map of the same shape."""
        both = (self.windows.cut(self.norm1(z)) for z in (x, y))
        x = x + self.windows.join(self.attn(*both))
        return x + self.mlp(self.norm2(x))


class FeedForward(nn.Module):
    """W_2 gelu(W_1 x + b_1) + b_2.

    Args:
        channels: Channels of the input and of the result.
        hidden: Width between the two layers.
    """

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Float[Tensor, "*any channels"]) -> Float[Tensor, "*any channels"]:
        """A tensor of the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))


__all__ = ["FeedForward", "WindowCrossAttention", "WindowCrossBlock", "Windows"]
