"""Whether a graph of the model is being recorded, for a compiler, an export or another runtime.

And so whether a computation may be done in a way of this package's own.
"""

import torch
from torch import Tensor


def is_recorded() -> bool:
    """Whether torch is compiling, exporting or tracing.

    Ways of computing that depend on sizes, or on code of this package, are then left alone: the
    graph has torch's own operators, which every runtime knows, for any number of cases.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]


def is_plain_cpu(x: Tensor) -> bool:
    """Whether a tensor is computed with on a CPU, in its own precision, and nothing is recorded."""
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not is_recorded()


__all__ = ["is_plain_cpu", "is_recorded"]
