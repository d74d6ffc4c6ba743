"""Merging each 2x2 square of a map into one position of twice the channels.

Source: Liu et al., Swin Transformer, ICCV 2021, Sec. 3.1; IIMGF-Net has it between its levels.
"""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.errors import LayoutMismatch


class PatchMerging(nn.Module):
    """`W norm([x_00, x_10, x_01, x_11])`, x_ij the positions of row i and column j of a square.

    Args:
        channels: Channels of the map; the result has twice as many.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch doubled halved_height halved_width"]:
        """A map of half the size and twice the channels."""
        if x.shape[2] % 2 or x.shape[3] % 2:
            raise LayoutMismatch(
                f"Patch merging takes squares of 2x2 out of a map of {x.shape[2]}x{x.shape[3]}, "
                f"which must be even. Resize the image to a multiple of all of its halvings."
            )
        squares = "batch channels (rows i) (columns j) -> batch rows columns (j i channels)"
        merged = self.reduction(self.norm(rearrange(x, squares, i=2, j=2)))
        return rearrange(merged, "batch rows columns channels -> batch channels rows columns")


__all__ = ["PatchMerging"]
