"""Merging each 2x2 square of a map into one position of twice the channels.

Source: Liu et al., Swin Transformer, ICCV 2021, Sec. 3.1; IIMGF-Net has it between its levels.
Differs from the paper: any cell, along any number of axes, and any channels of the result.
"""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.errors import LayoutMismatch


class PatchMerging(nn.Module):
    """`W norm([x_00, x_10, x_01, x_11])`, x_ij the positions of row i and column j of a square.

    Along other numbers of axes too, the first axis goes fastest.

    Args:
        channels: Channels of the map.
        out_channels: Channels of the result; twice as many where left out.
        cell: Positions that become one, per axis.
    """

    def __init__(
        self, channels: int, out_channels: int | None = None, *, cell: Sequence[int] = (2, 2)
    ):
        super().__init__()
        merged = math.prod(cell) * channels
        self.cell = tuple(cell)
        self.norm = nn.LayerNorm(merged)
        self.reduction = nn.Linear(merged, out_channels or 2 * channels, bias=False)

    def forward(
        self, x: Float[Tensor, "batch channels *space"]
    ) -> Float[Tensor, "batch merged *cells"]:
        """A map with one position per cell."""
        if any(length % part for length, part in zip(x.shape[2:], self.cell, strict=True)):
            size, cell = ("x".join(map(str, n)) for n in (x.shape[2:], self.cell))
            raise LayoutMismatch(
                f"Patch merging takes cells of {cell} out of a map of {size}, which must be "
                "multiples of them. Resize the image to a multiple of all of its halvings."
            )
        axes = range(len(self.cell))
        split = " ".join(f"(s{axis} i{axis})" for axis in axes)
        space, inside = (" ".join(f"{letter}{axis}" for axis in axes) for letter in "si")
        last = " ".join(reversed(inside.split()))
        cells = rearrange(
            x,
            f"batch channels {split} -> batch {space} ({last} channels)",
            **{f"i{axis}": part for axis, part in enumerate(self.cell)},
        )
        merged = self.reduction(self.norm(cells))
        return rearrange(merged, f"batch {space} channels -> batch channels {space}")

    def onto(
        self, x: Float[Tensor, "batch channels *space"], size: Sequence[int]
    ) -> Float[Tensor, "batch merged *cells"]:
        """The map merged to `size`, with zeros at the ends where it doesn't fill the cells."""
        missing: list[int] = []
        for length, after, part in zip(x.shape[2:], size, self.cell, strict=True):
            missing = [0, after * part - length, *missing]
        return self(F.pad(x, missing) if any(missing) else x)


__all__ = ["PatchMerging"]
