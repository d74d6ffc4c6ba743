"""The public function, and the operator that PyTorch's own machinery sees.

The operator is registered with PyTorch with what its results look like, its gradient and its
number of operations, so that the meta device, `torch.compile`, FLOP counters and
DistributedDataParallel treat it as one of theirs. It keeps nothing between calls.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from fusionzoo.ops.selective_scan import backends, reference
from fusionzoo.ops.selective_scan.arguments import Gradients, Scan, check

_ARGUMENTS = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? delta_bias, "
    "bool delta_softplus, str backend"
)


def selective_scan(
    u: Float[Tensor, "batch channels length"],
    delta: Float[Tensor, "..."],
    A: Float[Tensor, "..."],
    B: Float[Tensor, "..."],
    C: Float[Tensor, "..."],
    D: Float[Tensor, "..."] | None = None,
    delta_bias: Float[Tensor, "..."] | None = None,
    delta_softplus: bool = False,
    backend: str = "auto",
) -> Float[Tensor, "batch channels length"]:
    """The selective state-space recurrence of Mamba, with its gradients.

    For every item, channel c of group g and time t = 1..length, with h_0 = 0,

        x_t = softplus(delta_t + delta_bias[c])              (or without the softplus)
        h_t[n] = exp(x_t A[c, n]) h_{t-1}[n] + x_t B_t[g, n] u_t
        y_t = sum over n of C_t[g, n] h_t[n] + D[c] u_t

    computed in float64 where `u` is float64 and in float32 otherwise, under autocast too.

    Args:
        u: The sequence.
        delta: Step sizes before bias and softplus, shaped as `u`.
        A: Rates of decay, `channels states`; negative ones decay.
        B: What is written, `batch states length` for all channels, or `batch groups states length`,
            channel c reading group c // (channels / groups).
        C: What is read, shaped as `B`.
        D: Weight of the sequence itself in the result, `channels`; none if left out.
        delta_bias: Added to `delta`, `channels`.
        delta_softplus: Whether the step sizes go through log(1 + exp(.)).
        backend: `auto`, or one of `reference` (which alone can be differentiated twice), `torch`,
            `cpu`, `triton`, `mamba_ssm`.

    Returns:
        y, shaped and typed as `u`.

    Raises:
        LayoutMismatch: Shapes, types or devices don't fit.
        BadOption: There is no such backend.
        MissingExtra: The backend can't be used on this device; the message says why.

    Source: Gu and Dao, Mamba, arXiv 2312.00752, Alg. 2: zero-order hold for A, Euler for B.

    Example:
        >>> u, delta = torch.randn(2, 6, 10), torch.rand(2, 6, 10)
        >>> A, B, C = -torch.rand(6, 4), torch.randn(2, 4, 10), torch.randn(2, 4, 10)
        >>> selective_scan(u, delta, A, B, C).shape
        torch.Size([2, 6, 10])
    """
    backends.check_name(backend)
    B = B.unsqueeze(1) if B.ndim == 3 else B
    C = C.unsqueeze(1) if C.ndim == 3 else C
    scan = Scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
    check(scan)
    if backend == "reference":
        with torch.autocast(u.device.type, enabled=False):
            return reference.scan(*scan.dense(scan.work_dtype)).to(u.dtype)
    y, _ = _forward(*scan, backend)
    return y


@torch.library.custom_op(
    "fusionzoo::selective_scan",
    mutates_args=(),
    schema=f"({_ARGUMENTS}) -> (Tensor, Tensor)",
)
def _forward(
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
    """The result, and what the backend keeps for its backward pass."""
    scan = Scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
    module = backends.module(backends.selected_backend(u.device, backend))
    given = scan.dense(None if module.READS_HALF else scan.work_dtype)
    if u.numel() == 0:
        return torch.empty_like(given.u, dtype=u.dtype), given.u.new_empty(module.kept_shape(given))
    with torch.autocast(u.device.type, enabled=False):
        y, kept = module.forward(given)
    return y.to(u.dtype), kept


@_forward.register_fake
def _(
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
    scan = Scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
    name = "torch" if u.device.type == "meta" else backends.selected_backend(u.device, backend)
    kept = u.new_empty(backends.module(name).kept_shape(scan), dtype=scan.work_dtype)
    return u.new_empty(u.shape), kept


@torch.library.custom_op(
    "fusionzoo::selective_scan_backward",
    mutates_args=(),
    schema=f"(Tensor dy, Tensor kept, {_ARGUMENTS}) -> ({', '.join(['Tensor'] * 7)})",
)
def _backward(
    dy: Tensor,
    kept: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of all arguments; empty for those that are None."""
    scan = Scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
    if u.numel() == 0:
        return Gradients(*(x.zero_() for x in Gradients.empty(scan)))
    module = backends.module(backends.selected_backend(u.device, backend))
    dtype = None if module.READS_HALF else scan.work_dtype
    with torch.autocast(u.device.type, enabled=False):
        found = module.backward(scan.dense(dtype), kept, dy.to(dtype or dy.dtype).contiguous())
    return Gradients(
        *(
            u.new_empty(0) if x is None else gradient.to(x.dtype)
            for x, gradient in zip(scan.tensors, found, strict=True)
        )
    )


@_backward.register_fake
def _(
    dy: Tensor,
    kept: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return Gradients.empty(Scan(u, delta, A, B, C, D, delta_bias, delta_softplus))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.delta_softplus, ctx.backend = inputs
    ctx.save_for_backward(*tensors, output[1])


def _differentiate(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, kept = ctx.saved_tensors
    found = _backward(dy, kept, *tensors, ctx.delta_softplus, ctx.backend)
    given = zip(found, tensors, strict=True)
    return (*(None if x is None else gradient for gradient, x in given), None, None)


_forward.register_autograd(_differentiate, setup_context=_keep)


def num_operations(shape: Sequence[int], num_states: int, *, skip: bool) -> int:
    """Per state and time: rate, exp, decay, write and add, read and add; then the skip."""
    return math.prod(shape) * (7 * num_states + 1 + 2 * skip)


@register_flop_formula(torch.ops.fusionzoo.selective_scan)
def _(u: Any, delta: Any, A: Any, B: Any, C: Any, D: Any, *rest: Any, **result: Any) -> int:
    return num_operations(u, A[1], skip=D is not None)


@register_flop_formula(torch.ops.fusionzoo.selective_scan_backward)
def _(
    dy: Any,
    kept: Any,
    u: Any,
    delta: Any,
    A: Any,
    B: Any,
    C: Any,
    D: Any,
    *rest: Any,
    **result: Any,
) -> int:
    return 3 * num_operations(u, A[1], skip=D is not None)


__all__ = ["num_operations", "selective_scan"]
