"""Whether a graph of the model is being recorded, for a compiler, an export or another runtime."""

import torch


def is_recorded() -> bool:
    """Whether torch is compiling, exporting or tracing.

    Ways of computing that depend on sizes, or on code of this package, are then left alone: the
    graph has torch's own operators, which every runtime knows, for any number of cases.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]


__all__ = ["is_recorded"]
