"""One check, and what all checks of one component share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fusionzoo.conformance.probes import Probe
from fusionzoo.conformance.report import Inapplicable
from fusionzoo.conformance.settings import Setting
from fusionzoo.conformance.subject import Subject

MODELS = frozenset({"encoder", "neck", "fusion", "head"})
EVERY = MODELS | {"dataset", "augmentation"}


@dataclass
class Examination:
    """A component while it is checked.

    Args:
        subject: The component.
        fitting: Settings that it can be built for.
        refused: Its reasons to refuse the other settings.
        crashed: What went wrong while it was built, where it didn't say so with an error of the
            package.
    """

    subject: Subject
    fitting: list[Setting] = field(default_factory=list)
    refused: Mapping[str, str] = field(default_factory=dict)
    crashed: str = ""

    @property
    def first(self) -> Setting:
        """The setting that is enough for checks that sizes don't matter to."""
        return self.fitting[0]

    @property
    def each_kind(self) -> list[Setting]:
        """One setting for every set of inputs, whatever their sizes."""
        return list({setting.inputs_kind: setting for setting in reversed(self.fitting)}.values())

    @property
    def cls(self) -> Any:
        """The component's class."""
        return self.subject.cls


@dataclass(frozen=True)
class Check:
    """One promise of the interface.

    Args:
        name: What reports call it.
        promise: What it holds a component to, in one sentence.
        run: Looks; raises `Fault` with what it found, or `NotRun` or `Inapplicable` with a reason.
        kinds: Kinds of components that make the promise.
        after: Checks whose failure would make this one fail too; it isn't run then.
        slow: Whether it takes more than a second or so, and is left out unless asked for.
    """

    name: str
    promise: str
    run: Callable[[Examination], None]
    kinds: frozenset[str] = MODELS
    after: tuple[str, ...] = ()
    slow: bool = False


def run(probe: Callable[..., Any], inputs: dict[str, Tensor], **options: Any) -> dict[str, Tensor]:
    """Outputs without gradients."""
    with torch.no_grad():
        return probe(inputs, **options)


def features_only(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Outputs per case, without the losses, which speak of the whole batch."""
    return {name: x for name, x in outputs.items() if not name.startswith("loss ")}


def difference(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, tolerance: float = 0.0
) -> str:
    """The first output that differs, in words; nothing where all agree.

    Args:
        found: Outputs by name.
        wanted: What they should be.
        tolerance: Largest norm of the difference, relative to that of what is wanted (or to 1).
    """
    for name, expected in wanted.items():
        x, y = found[name].detach().double(), expected.detach().double()
        if x.shape != y.shape:
            return f"{name!r} has shape {tuple(x.shape)} instead of {tuple(y.shape)}"
        if not bool(torch.isfinite(x).all()):
            return f"{name!r} has values that are not finite"
        apart = float((x - y).norm() / y.norm().clamp(min=1.0)) if x.numel() else 0.0
        if apart > tolerance:
            return f"{name!r} differs by {apart:.2g} of its size"
    return ""


def weights_of(probe: Probe) -> dict[str, torch.nn.Parameter]:
    """Parameters of the component, and of what comes with it, that are to be trained."""
    found = {name: p for name, p in probe.part.named_parameters() if p.requires_grad}
    if probe.more is not None:
        found |= {
            f"summary.{name}": p for name, p in probe.more.named_parameters() if p.requires_grad
        }
    return found


def need_weights(probe: Probe) -> dict[str, torch.nn.Parameter]:
    """The same, for checks that say nothing about a component without any."""
    found = weights_of(probe)
    if not found:
        raise Inapplicable("it has no weights to train")
    return found
