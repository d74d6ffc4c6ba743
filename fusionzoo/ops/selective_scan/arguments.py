"""What a selective scan takes and what its gradients are, in one form for every backend."""

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from fusionzoo.errors import LayoutMismatch


class Scan(NamedTuple):
    """The arguments of a scan; B and C have an axis of groups, and all fit each other.

    Args:
        u: Sequence, `batch channels length`.
        delta: Step sizes before bias and softplus, as `u`.
        A: Rates, `channels states`.
        B: What is written into the states, `batch groups states length`.
        C: What is read from them, as `B`.
        D: Weight of the skip, `channels`, or None.
        delta_bias: Added to `delta`, `channels`, or None.
        delta_softplus: Whether step sizes go through a softplus.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    delta_bias: Tensor | None
    delta_softplus: bool

    @property
    def sizes(self) -> tuple[Any, Any, Any, Any, Any]:
        """Batch, channels, groups, states and length; numbers, or symbols while tracing."""
        batch, channels, length = self.u.shape
        return batch, channels, self.B.shape[1], self.A.shape[1], length

    @property
    def work_dtype(self) -> torch.dtype:
        """What it is computed in: float64 for float64 sequences, float32 for all others."""
        return torch.float64 if self.u.dtype == torch.float64 else torch.float32

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """All arguments but the last."""
        return self[:-1]

    def of(self, tensors: Iterable[Tensor | None]) -> "Scan":
        """The same scan of other tensors."""
        return Scan(*cast(Any, (*tensors, self.delta_softplus)))

    def dense(self, dtype: torch.dtype | None) -> "Scan":
        """The same with contiguous tensors, of another type where one is given."""
        return self.of(
            None if x is None else x.to(dtype or x.dtype).contiguous() for x in self.tensors
        )


class Gradients(NamedTuple):
    """Gradients by argument; what stands for those of arguments that are None means nothing."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    delta_bias: Tensor

    @classmethod
    def empty(cls, scan: Scan) -> "Gradients":
        """Contiguous tensors of the shapes and types of the arguments, to be filled."""
        return cls(
            *(scan.u.new_empty(0) if x is None else x.new_empty(x.shape) for x in scan.tensors)
        )


def check(scan: Scan) -> None:
    """Refuse shapes that don't fit, before any backend sees them.

    Raises:
        LayoutMismatch: The first misfit, with what was given and what would fit.
    """
    u, delta, A, B, C, D, bias, _ = scan
    if u.ndim != 3 or not u.shape[2]:
        raise LayoutMismatch(
            f"A selective scan needs u of (batch, channels, length), length at least 1; u is "
            f"{_shape(u)}."
        )
    batch, channels, length = u.shape
    if A.ndim != 2 or A.shape[0] != channels or not A.shape[1]:
        raise LayoutMismatch(
            f"A selective scan over {channels} channels needs A of ({channels}, states), states "
            f"at least 1; A is {_shape(A)}."
        )
    states = A.shape[1]
    _expect("delta", delta, (batch, channels, length), "as u")
    _expect("D", D, (channels,), "one per channel")
    _expect("delta_bias", bias, (channels,), "one per channel")
    for name, x in (("B", B), ("C", C)):
        if x.ndim != 4 or (x.shape[0], *x.shape[2:]) != (batch, states, length):
            raise LayoutMismatch(
                f"A selective scan of u {_shape(u)} and A {_shape(A)} needs {name} of ({batch}, "
                f"{states}, {length}), or ({batch}, groups, {states}, {length}); {name} is "
                f"{_shape(x)}."
            )
    groups = B.shape[1]
    if C.shape[1] != groups or not groups or channels % groups:
        raise LayoutMismatch(
            f"A selective scan needs as many groups in B as in C, and a number that divides its "
            f"{channels} channels; B has {groups} and C has {C.shape[1]}."
        )
    found = {name: x for name, x in scan._asdict().items() if isinstance(x, Tensor)}
    devices = {str(x.device) for x in found.values()}
    if len(devices) > 1 or not all(x.is_floating_point() for x in found.values()):
        listed = ", ".join(f"{name}: {x.dtype} on {x.device}" for name, x in found.items())
        raise LayoutMismatch(
            f"A selective scan needs floating-point tensors on one device; given {listed}."
        )


def _expect(name: str, x: Tensor | None, shape: tuple[int, ...], reason: str) -> None:
    if x is not None and tuple(x.shape) != shape:
        raise LayoutMismatch(
            f"A selective scan needs {name} of {shape}, {reason}; {name} is {_shape(x)}."
        )


def _shape(x: Tensor) -> str:
    return f"({', '.join(str(n) for n in x.shape)})"


__all__ = ["Gradients", "Scan", "check"]
