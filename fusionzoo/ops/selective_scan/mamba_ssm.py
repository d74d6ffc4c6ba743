"""Selective scan by the CUDA kernel of the mamba-ssm package, backend `mamba_ssm`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fusionzoo.ops.selective_scan.arguments import Gradients, Scan

READS_HALF = False


def missing(device: torch.device) -> str | None:
    """Why it can't run on a device, or None if it can."""
    if device.type != "cuda":
        return f"it computes on CUDA tensors only, not on {device.type}"
    try:
        _scan_of_the_package()
    except ImportError as error:
        return f"the package can't be imported ({error}); pip install 'fusionzoo[mamba]'"
    return None


def kept_shape(scan: Scan) -> tuple[Any, ...]:
    """Shape of what the forward pass keeps for the backward pass: nothing."""
    return (0,)


def forward(scan: Scan) -> tuple[Tensor, Tensor]:
    """The result, and nothing kept."""
    with torch.no_grad():
        return _run(scan), scan.u.new_empty(0)


def backward(scan: Scan, kept: Tensor, dy: Tensor) -> Gradients:
    """Gradients of all arguments, by the package's own backward after a second forward pass."""
    with torch.enable_grad():
        leaves = [None if x is None else x.detach().requires_grad_() for x in scan.tensors]
        y = _run(scan.of(leaves))
    found = iter(torch.autograd.grad(y, [x for x in leaves if x is not None], dy))
    return Gradients(*(dy.new_empty(0) if x is None else next(found) for x in leaves))


def _run(scan: Scan) -> Tensor:
    """The package's function; its gate stays unused, and it skips nothing without D."""
    u, delta, A, B, C, D, bias, softplus = scan
    function = _scan_of_the_package()
    return function(u, delta, A, B, C, D=D, delta_bias=bias, delta_softplus=softplus)


def _scan_of_the_package() -> Callable[..., Tensor]:
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    return selective_scan_fn


__all__ = ["READS_HALF", "backward", "forward", "kept_shape", "missing"]
