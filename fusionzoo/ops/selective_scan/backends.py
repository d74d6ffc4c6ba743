"""Which backend a scan runs on: the fastest that is there and passed its self-test.

Self-tests compare result and gradients with the recurrence in float64, once per device and version.
"""

import functools
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import torch

from fusionzoo.errors import BadOption, MissingExtra
from fusionzoo.ops import cache, native
from fusionzoo.ops.selective_scan import blocked, cpu, mamba_ssm, reference
from fusionzoo.ops.selective_scan.arguments import Scan

NAMES = ("auto", "reference", "torch", "cpu", "triton", "mamba_ssm")
#: What `auto` tries, best first, by the device's type.
PREFERENCES = {"cpu": ("cpu", "torch"), "cuda": ("triton", "mamba_ssm", "torch")}
#: Packages that are no part of the installation, so that nobody is told that they are not there.
OPTIONAL = ("mamba_ssm",)
#: Largest error of a self-test, relative to the largest value.
TOLERANCE = 1e-4

_log = logging.getLogger(__name__)


def check_name(name: str) -> None:
    """Refuse a backend that nobody has heard of."""
    if name not in NAMES:
        raise BadOption(
            f"There is no selective-scan backend {name!r}. Use one of: {', '.join(NAMES)}."
        )


def selected_backend(device: torch.device | str, backend: str = "auto") -> str:
    """The backend that a scan on a device runs on: what a record should name.

    Args:
        device: Where the tensors are.
        backend: What was asked for.

    Raises:
        BadOption: No backend has this name.
        MissingExtra: It can't be used there; the reason is in the message.
    """
    check_name(backend)
    device = torch.device(device)
    if backend == "reference" or device.type == "meta":
        return "reference" if backend == "reference" else "torch"
    if backend == "auto":
        for name in PREFERENCES.get(device.type, ("torch",)):
            reason = why_not(name, device)
            if reason is None:
                return name
            if name not in OPTIONAL:
                _tell(name, reason)
        return "reference"
    reason = why_not(backend, device)
    if reason is not None:
        raise MissingExtra(
            f"Selective-scan backend {backend!r} can't be used on {device}: {reason}. Use "
            f"'auto', which takes what is there, or 'torch', which runs everywhere."
        )
    return backend


def selective_scan_backends(device: torch.device | str = "cpu") -> dict[str, str]:
    """What can be said about each backend on a device: 'ready', or why it can't be used."""
    device = torch.device(device)
    return {name: why_not(name, device) or "ready" for name in NAMES if name != "auto"}


def module(name: str) -> ModuleType:
    """The backend of a name, with `missing`, `kept_shape`, `forward` and `backward`."""
    if name == "triton":
        from fusionzoo.ops.selective_scan import triton

        return triton
    return {"torch": blocked, "cpu": cpu, "mamba_ssm": mamba_ssm}[name]


@functools.cache
def why_not(name: str, device: torch.device) -> str | None:
    """Why a backend can't be used on a device, or None if it can.

    Asked in a thread of its own, where no fake tensors, default devices or autocast reach it.
    """
    if name == "reference":
        return None
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_examine, name, device).result()


def _examine(name: str, device: torch.device) -> str | None:
    try:
        reason = module(name).missing(device)
    except ImportError as error:
        return f"it can't be imported ({error})"
    if reason is not None:
        return str(reason)
    return failure_of(name, device, lambda: self_test(module(name), device))


def failure_of(name: str, device: torch.device, test: Callable[[], float]) -> str | None:
    """What is wrong with a kernel's results, or None; tested once per device and version.

    Args:
        name: The kernel's, among those of the scan.
        device: Where it computes.
        test: Gives its largest relative error.
    """
    passed = cache.folder() / f"scan-{name}-{cache.digest(*_versions(device))}.passed"
    if passed.is_file():
        return None
    try:
        off = test()
    except Exception as error:
        return f"its self-test fails ({type(error).__name__}: {error})"
    if not off < TOLERANCE:
        return f"its self-test is off by {off:.1e}, {TOLERANCE:.0e} is allowed"
    passed.touch()
    return None


def self_test(backend: ModuleType, device: torch.device) -> float:
    """Largest relative error of a backend's result and gradients, over several cases."""
    worst = 0.0
    for case, (groups, states, length) in enumerate(((2, 1, 149), (1, 4, 33), (1, 16, 3))):
        exact = _example(groups, states, length, seed=case, softplus=case != 1)
        given = exact.of(x.to(device, torch.float32) for x in exact.tensors if x is not None)
        y, kept = backend.forward(given)
        dy = torch.linspace(-1, 1, y.numel()).view(y.shape)
        found = (y, *backend.backward(given, kept, dy.to(device)))
        leaves = [x.requires_grad_() for x in exact.tensors if x is not None]
        true_y = reference.scan(*exact)
        expected = (true_y, *torch.autograd.grad(true_y, leaves, dy.double()))
        worst = max(worst, largest_error(found, expected))
    return worst


def largest_error(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """Of all results, the largest error relative to the largest value; infinite for no number."""
    errors = [
        ((ours.cpu().double() - theirs).abs().max() / theirs.abs().max()).item()
        for ours, theirs in zip(found, (x.detach() for x in expected), strict=True)
    ]
    return math.inf if any(map(math.isnan, errors)) else max(errors)


def _example(groups: int, states: int, length: int, seed: int, softplus: bool) -> Scan:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    channels, columns = 22, (2, groups, states, length)
    delta = normal(2, channels, length)
    return Scan(
        normal(2, channels, length),
        delta - 1 if softplus else 0.2 * delta.abs(),
        -normal(channels, states).abs() - 0.1,
        normal(*columns),
        normal(*columns),
        normal(channels),
        0.1 * normal(channels),
        softplus,
    )


def _versions(device: torch.device) -> list[object]:
    """Everything that a self-test's result depends on."""
    versions: list[object] = [_sources(), torch.__version__, device.type, cache.machine()]
    if device.type == "cuda":
        versions += [torch.cuda.get_device_name(device), torch.version.cuda]
    return versions


@functools.cache
def _sources() -> str:
    """Digest of the scan's source files and the flags' one, which every version of them changes."""
    paths = sorted(p for p in Path(__file__).parent.iterdir() if p.suffix in (".py", ".c", ".h"))
    paths.append(Path(native.__file__))
    return cache.digest(*(path.read_text(encoding="utf-8") for path in paths))


@functools.cache
def _tell(name: str, reason: str) -> None:
    """Say once why the better backend isn't used."""
    _log.warning("The selective scan doesn't use its backend %r: %s.", name, reason)


__all__ = [
    "NAMES",
    "check_name",
    "failure_of",
    "largest_error",
    "module",
    "selected_backend",
    "selective_scan_backends",
    "why_not",
]
