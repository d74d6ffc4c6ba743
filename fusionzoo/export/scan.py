"""The selective scan in PyTorch's own operators, without a loop over time: for graphs.

h_t = a_t h_(t-1) + b_t is a product of affine maps. By recursive doubling, log2(length) steps
combine every map with the one 1, 2, 4, ... before it, until each reaches back to the beginning
(Hillis and Steele, Data Parallel Algorithms, CACM 1986). It does more work than the backends of
`fusionzoo.ops.selective_scan`, and it can be written down as a short graph.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def scan_by_doubling(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """What the operator `fusionzoo::selective_scan` gives; arguments as there.

    Returns:
        y, `batch channels length`, and an empty tensor for what a backward pass would need.
    """
    dtype = torch.float64 if u.dtype == torch.float64 else torch.float32
    x = delta.to(dtype)
    if delta_bias is not None:
        x = x + delta_bias.to(dtype)[:, None]
    x = F.softplus(x) if delta_softplus else x
    rates, value = A.to(dtype)[:, :, None], u.to(dtype)
    per_group = u.shape[1] // B.shape[1]
    write, read = (y.to(dtype).repeat_interleave(per_group, dim=1) for y in (B, C))
    a = torch.exp(x[:, :, None] * rates)
    h = (x * value)[:, :, None] * write
    step, length = 1, u.shape[2]
    while step < length:
        h = h + a * F.pad(h[..., :-step], (step, 0))
        a = a * F.pad(a[..., :-step], (step, 0))
        step *= 2
    y = (h * read).sum(dim=2)
    if D is not None:
        y = y + D.to(dtype)[:, None] * value
    return y.to(u.dtype), u.new_empty(0)


__all__ = ["scan_by_doubling"]
