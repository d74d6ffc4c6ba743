"""Selective scan as it reads: one step after the other, gradients by autograd.

What every other backend is compared with. Slow, but its memory and time grow with the length, not
with its square: the steps are taken apart by `unbind`, whose gradient is one `stack`.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def scan(
    u: Float[Tensor, "batch channels length"],
    delta: Float[Tensor, "batch channels length"],
    A: Float[Tensor, "channels states"],
    B: Float[Tensor, "batch groups states length"],
    C: Float[Tensor, "batch groups states length"],
    D: Float[Tensor, " channels"] | None,
    delta_bias: Float[Tensor, " channels"] | None,
    delta_softplus: bool,
) -> Float[Tensor, "batch channels length"]:
    """The recurrence of `selective_scan`, in the precision of its arguments."""
    groups = B.shape[1]
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    grouped = "batch (groups width) length -> batch groups width 1 length"
    steps = rearrange(delta, grouped, groups=groups)
    inputs = rearrange(delta * u, grouped, groups=groups)
    rates = rearrange(A, "(groups width) states -> groups width states", groups=groups)
    columns = "batch groups states length -> batch groups 1 states length"
    state = torch.zeros_like(steps[..., 0] * rates)
    outputs = []
    for step, given, write, read in zip(
        steps.unbind(-1),
        inputs.unbind(-1),
        rearrange(B, columns).unbind(-1),
        rearrange(C, columns).unbind(-1),
        strict=True,
    ):
        state = torch.exp(step * rates) * state + given * write
        outputs.append((state * read).sum(-1))
    y = rearrange(
        torch.stack(outputs, -1), "batch groups width length -> batch (groups width) length"
    )
    return y if D is None else y + D[:, None] * u


__all__ = ["scan"]
