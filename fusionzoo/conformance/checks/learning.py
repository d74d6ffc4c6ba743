"""Whether a component can be trained: weights are known, and gradients reach what matters."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.conformance.examination import Check, Examination, need_weights
from fusionzoo.conformance.probes import Probe
from fusionzoo.conformance.quiet import seeded
from fusionzoo.conformance.report import Fault, Inapplicable
from fusionzoo.conformance.settings import Setting

#: Seeds that are tried before a weight counts as unreached: dropout, stochastic depth and units
#: that never fire may hide one.
_TRIES = 4


def check_registered(examined: Examination) -> None:
    """No weight lies where the optimiser and the checkpoint don't look."""
    probe = examined.first.build()
    modules = [probe.part, *([probe.more] if probe.more is not None else [])]
    known = {id(p) for module in modules for p in module.parameters()}
    hidden = [
        f"{path} {_shown(weight)}"
        for module in modules
        for path, weight in _hidden(module)
        if id(weight) not in known
    ]
    if hidden:
        raise Fault(
            f"Not registered, so never trained or saved: {', '.join(hidden[:5])}. Use "
            "nn.Parameter, nn.ModuleList or nn.ModuleDict."
        )


def _hidden(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights in plain attributes of a module and its children: in lists, dicts and closures."""
    for name, child in module.named_modules():
        for attribute, value in vars(child).items():
            if attribute not in ("_parameters", "_modules", "_buffers"):
                yield from _inside(f"{name}.{attribute}".lstrip("."), value, 0)


def _inside(path: str, value: Any, depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        if value.requires_grad:
            yield path, value
    elif isinstance(value, nn.Module):
        for name, weight in value.named_parameters():
            yield f"{path}.{name}", weight
    elif depth < 4:
        for key, item in _items(value):
            yield from _inside(f"{path}[{key!r}]", item, depth + 1)


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple | set):
        yield from enumerate(value)
    elif isinstance(value, partial):
        yield from value.keywords.items()


def _shown(weight: Tensor) -> str:
    return "x".join(map(str, weight.shape)) or "scalar"


def check_weights(examined: Examination) -> None:
    """A gradient reaches every weight that isn't declared an exception, in some setting."""
    left: set[str] | None = None
    for attempt in range(_TRIES):
        for setting in examined.fitting:
            unreached = _unreached(setting, attempt)
            left = unreached if left is None else left & unreached
            if not _unexcused(left, examined.cls.no_gradient):
                return
    names = sorted(_unexcused(left or set(), examined.cls.no_gradient))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    raise Fault(
        f"No gradient reaches {', '.join(names[:5])}{more}. Use it, drop it, freeze it "
        "(requires_grad=False), or name it in `no_gradient` with the reason."
    )


def _unexcused(names: set[str], patterns: frozenset[str]) -> set[str]:
    return {name for name in names if not any(fnmatchcase(name, p) for p in patterns)}


def _unreached(setting: Setting, seed: int) -> set[str]:
    """Weights without a gradient, with the weights, inputs and draws of one seed."""
    probe = setting.build(seed).train()
    _move_zeros(probe)
    weights = need_weights(probe)
    with seeded(seed):
        loss = _loss(probe(setting.inputs(seed)), seed)
    if not loss.requires_grad:
        raise Fault(f"For {setting.label}, no output depends on any weight.")
    loss.backward()
    strange = [n for n, p in weights.items() if p.grad is not None and not _finite(p.grad)]
    if strange:
        raise Fault(f"For {setting.label}, the gradient of {strange[0]} is not finite.")
    return {name for name, p in weights.items() if p.grad is None or not bool(p.grad.any())}


def _finite(x: Tensor) -> bool:
    return bool(torch.isfinite(x).all())


def _move_zeros(probe: Probe) -> None:
    """Weights that begin at zero are moved, so that a closed gate hides nothing behind it."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in probe.parameters():
            if not bool(weight.any()):
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))


def _loss(outputs: dict[str, Tensor], seed: int) -> Tensor:
    """Every output weighed at random, and the losses as they are."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack(
        [
            x if name.startswith("loss ") else (x * _draws(x, generator)).sum()
            for name, x in outputs.items()
        ]
    ).sum()


def _draws(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator).to(x)


def check_inputs(examined: Examination) -> None:
    """A gradient reaches every input, for every set of inputs."""
    for setting in examined.each_kind:
        probe = setting.build().train()
        _move_zeros(probe)
        inputs = {name: x.requires_grad_() for name, x in setting.inputs().items()}
        with seeded(0):
            loss = _loss(probe(inputs), 0)
        if not loss.requires_grad:
            raise Fault(f"For {setting.label}, no output depends on any input.")
        loss.backward()
        silent = [n for n, x in inputs.items() if x.grad is None or not bool(x.grad.any())]
        if silent:
            raise Fault(
                f"For {setting.label}, no gradient reaches {', '.join(silent)}: nothing before it "
                "would ever learn."
            )


def check_frozen(examined: Examination) -> None:
    """Nothing that a gradient can't reach is declared as an exception without need."""
    allowed: frozenset[str] = examined.cls.no_gradient
    if not allowed:
        raise Inapplicable("it declares no exceptions")
    names = list(need_weights(examined.first.build()))
    stale = [p for p in sorted(allowed) if not any(fnmatchcase(name, p) for name in names)]
    if stale:
        raise Fault(
            f"`no_gradient` names {', '.join(stale)}, and no weight is called so. It has: "
            f"{', '.join(names[:8])}."
        )


CHECKS = (
    Check(
        "registration",
        "Every weight is registered, so that it is trained, saved and moved.",
        check_registered,
        after=("sizes",),
    ),
    Check(
        "gradient of weights",
        "A gradient reaches every weight, but for the exceptions that it declares.",
        check_weights,
        after=("features", "registration"),
    ),
    Check(
        "gradient of inputs",
        "A gradient reaches every input, and so every modality.",
        check_inputs,
        after=("features",),
    ),
    Check(
        "exceptions",
        "The weights that it declares without a gradient are there.",
        check_frozen,
        after=("sizes", "registration"),
    ),
)
