"""Windows of a map: cutting it into squares, and attention inside of them.

Source: Liu et al., Swin Transformer, ICCV 2021, Sec. 3.2.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from fusionzoo.errors import BadOption

#: Added to the scores of pairs that were no neighbours before a shift, as the released code does.
APART = -100.0


def to_windows(
    x: Float[Tensor, "batch channels height width"], window: int
) -> Float[Tensor, "windows tokens channels"]:
    """Squares of `window` x `window` positions as tokens, row after row.

    The map is padded with zeros at its lower and right ends to a multiple of `window`. Windows of
    one case follow each other, row after row.
    """
    below, right = (-length % window for length in x.shape[2:])
    pattern = "batch channels (rows i) (columns j) -> (batch rows columns) (i j) channels"
    return rearrange(F.pad(x, (0, right, 0, below)), pattern, i=window, j=window)


def from_windows(
    windows: Float[Tensor, "windows tokens channels"], window: int, height: int, width: int
) -> Float[Tensor, "batch channels {height} {width}"]:
    """The map of `height` x `width` that `to_windows` cut."""
    pattern = "(batch rows columns) (i j) channels -> batch channels (rows i) (columns j)"
    rows, columns = -(-height // window), -(-width // window)
    whole = rearrange(windows, pattern, rows=rows, columns=columns, i=window, j=window)
    return whole[:, :, :height, :width]


def relative_positions(window: int) -> Int[Tensor, "tokens tokens"]:
    """Row of the bias table for each pair of a query and a key: one per offset between them."""
    axis = torch.arange(window)
    places = torch.cartesian_prod(axis, axis)
    offsets = places[:, None] - places[None] + window - 1
    return offsets[..., 0] * (2 * window - 1) + offsets[..., 1]


def apart_after_shift(
    height: int, width: int, window: int, shift: int, device: torch.device | None = None
) -> Float[Tensor, "windows tokens tokens"]:
    """`APART` for pairs of a window that a shift by `shift` brought together, 0 for others.

    Args:
        height: Rows of the map, a multiple of `window`.
        width: Its columns, too.
        window: Side of a window.
        shift: Rows and columns that were rolled.
        device: Where the result is.
    """

    def bands(length: int) -> Tensor:
        place = torch.arange(length, device=device)
        return (place >= length - window).long() + (place >= length - shift).long()

    regions = 3 * bands(height)[:, None] + bands(width)
    cut = to_windows(regions[None, None].float(), window)[..., 0]
    return APART * (cut[:, :, None] != cut[:, None, :]).float()


class WindowAttention(nn.Module):
    """softmax(Q K^T / sqrt(d) + bias) V inside of each window, projected; bias per offset and head.

    With a shift, the map is rolled before it is cut and rolled back afterwards, and pairs that are
    no neighbours hardly see each other.

    Args:
        channels: Channels of the map.
        num_heads: Heads; divides `channels`.
        window: Side of a window in positions.
        shift: Positions that windows are shifted by.

    Raises: BadOption: `num_heads` doesn't divide `channels`
    """

    index: Tensor

    def __init__(self, channels: int, num_heads: int, *, window: int = 7, shift: int = 0):
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise BadOption(
                f"Attention over {channels} channels can't be split into {num_heads} heads. Use a "
                f"number of heads that divides {channels}."
            )
        self.num_heads, self.window, self.shift = num_heads, window, shift
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        self.register_buffer("index", relative_positions(window), persistent=False)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """A map of the same shape."""
        height, width = x.shape[2:]
        below, right = (-length % self.window for length in (height, width))
        x = F.pad(x, (0, right, 0, below))
        apart = None
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (2, 3))
            rows, columns = x.shape[2:]
            apart = apart_after_shift(rows, columns, self.window, self.shift, x.device).to(x)
        tokens = self.attend(to_windows(x, self.window), apart)
        x = from_windows(tokens, self.window, *x.shape[2:])
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (2, 3))
        return x[:, :, :height, :width]

    def attend(
        self,
        tokens: Float[Tensor, "windows tokens channels"],
        apart: Float[Tensor, "per_case tokens tokens"] | None = None,
    ) -> Float[Tensor, "windows tokens channels"]:
        """Attention among the tokens of each window; `apart` is added to a case's scores."""
        pattern = "windows tokens (three heads dim) -> three windows heads tokens dim"
        q, k, v = rearrange(self.qkv(tokens), pattern, three=3, heads=self.num_heads)
        bias = rearrange(self.bias[self.index], "query key heads -> heads query key")
        scores = q @ k.mT * q.shape[-1] ** -0.5 + bias
        if apart is not None:
            cases = scores.unflatten(0, (-1, len(apart)))
            scores = (cases + apart[:, None]).flatten(0, 1)
        found = torch.softmax(scores, dim=-1) @ v
        return self.proj(rearrange(found, "windows heads tokens dim -> windows tokens (heads dim)"))


__all__ = [
    "WindowAttention",
    "apart_after_shift",
    "from_windows",
    "relative_positions",
    "to_windows",
]
