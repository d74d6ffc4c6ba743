"""Scans for tests: golden ones and random ones, and how a backend's numbers are compared."""

from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from fusionzoo.ops.selective_scan import reference
from fusionzoo.ops.selective_scan.arguments import Scan

GOLDEN = Path(__file__).parents[2] / "golden"
#: Written by a float32 loop; in each name the states, the length and the groups.
FILES = ("N1_L49_shared", "N1_L100_g4", "N4_L49_g4", "N4_L100_g1", "N16_L49_shared", "N16_L49_g1")
ARGUMENTS = ("u", "delta", "A", "B", "C", "D", "delta_bias")


def golden(file: str) -> dict[str, Tensor]:
    """The arrays of a golden file, `in/u`, `out/y`, `grad/in:u` and so on."""
    with np.load(GOLDEN / f"selscan_{file}.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def random_scan(
    batch: int,
    channels: int,
    groups: int,
    states: int,
    length: int,
    *,
    softplus: bool = True,
    extras: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Scan:
    """Arguments of a backend, the same at every call."""
    generator = torch.Generator().manual_seed(states * length + channels)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    delta = normal(batch, channels, length)
    return Scan(
        normal(batch, channels, length),
        delta - 1 if softplus else delta.abs() / 4,
        -normal(channels, states).abs() - 0.05,
        normal(batch, groups, states, length),
        normal(batch, groups, states, length),
        normal(channels) if extras else None,
        normal(channels) / 4 if extras else None,
        softplus,
    )


def assert_equals_reference(backend: ModuleType, scan: Scan, close: float) -> None:
    """Result and gradients against the recurrence in float64, relative to the largest value."""
    y, kept = backend.forward(scan)
    assert kept.shape == backend.kept_shape(scan)
    dy = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape).cos()
    found = (y, *backend.backward(scan, kept, dy.to(y.dtype)))
    leaves = [None if x is None else x.double().requires_grad_() for x in scan[:-1]]
    exact = reference.scan(*leaves, scan.delta_softplus)
    wanted = [x for x in leaves if x is not None]
    gradients = iter(torch.autograd.grad(exact, wanted, dy))
    expected = (exact, *(None if x is None else next(gradients) for x in leaves))
    for name, ours, theirs in zip(("y", *ARGUMENTS), found, expected, strict=True):
        if theirs is None:
            continue
        scale = theirs.detach().abs().max().item() or 1.0
        torch.testing.assert_close(
            ours.double(),
            theirs,
            rtol=0,
            atol=close * scale,
            msg=lambda m, name=name: f"{name}: {m}",
        )
