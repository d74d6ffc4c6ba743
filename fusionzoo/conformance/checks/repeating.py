"""The same again: runs, cases in other company, and weights that were saved."""

import torch
from torch import nn

from fusionzoo.conformance.examination import (
    Check,
    Examination,
    difference,
    features_only,
    run,
)
from fusionzoo.conformance.probes import Probe
from fusionzoo.conformance.quiet import PYTHON, random_states, seeded
from fusionzoo.conformance.report import Fault, Inapplicable

#: Sums in another order, no more.
_ROUNDING = 1e-4


def check_determinism(examined: Examination) -> None:
    """Evaluation draws nothing, and training draws from the seeded generators only."""
    setting = examined.first
    probe, inputs = setting.build(), setting.inputs()
    before = random_states()
    first = run(probe, inputs)
    # Python's own generator is left out: type checkers in tests draw from it at every call.
    drawn = [n for n, state in random_states().items() if state != before[n] and n != PYTHON]
    if drawn:
        raise Fault(f"In evaluation mode it draws from {' and '.join(drawn)}.")
    apart = difference(run(probe, inputs), first)
    if apart:
        raise Fault(f"In evaluation mode, {apart} between two runs.")
    trained = []
    for _ in range(2):
        model = setting.build().train()
        with seeded(5):
            trained.append(run(model, inputs))
    apart = difference(trained[1], trained[0])
    if apart:
        raise Fault(f"In training mode, {apart} between two runs from the same seed.")


def check_independence(examined: Examination) -> None:
    """A case's output doesn't change with the others of its batch, nor with their number."""
    for setting in examined.each_kind:
        probe, inputs = setting.build(), setting.inputs()
        _settle(probe)
        whole = features_only(run(probe, inputs))
        others = {
            n: torch.cat([x[:1], 3 * y[1:]])
            for (n, x), y in zip(inputs.items(), setting.inputs(seed=9).values(), strict=True)
        }
        alone = {name: x[:1] for name, x in inputs.items()}
        for batch, told in ((others, "with other cases"), (alone, "alone")):
            found = {n: x[:1] for n, x in features_only(run(probe, batch)).items()}
            apart = difference(found, {n: x[:1] for n, x in whole.items()}, tolerance=_ROUNDING)
            if apart:
                raise Fault(
                    f"For {setting.label}, {apart} when a case is {told}. In evaluation mode a "
                    "case must not depend on the rest of its batch."
                )


def _settle(probe: Probe) -> None:
    """Weights a little off where they begin, so that a gate at zero hides nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in probe.parameters():
            if not bool(weight.any()):
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))


def check_saving(examined: Examination) -> None:
    """Weights go through safetensors into a new one that then gives the same."""
    from safetensors.torch import load, save

    setting = examined.first
    probe, inputs = setting.build(), setting.inputs()
    probe.train()
    with seeded(0):
        run(probe, inputs)  # running statistics are part of what is saved
    probe.eval()
    state = probe.state_dict()
    if not state:
        raise Inapplicable("it has no weights")
    plain = {name: x.contiguous().clone() for name, x in state.items()}
    new = setting.build(seed=1)
    try:
        new.load_state_dict(load(save(plain)))
    except (RuntimeError, TypeError, ValueError) as error:
        raise Fault(f"Saved weights can't be loaded again: {error}") from error
    apart = difference(run(new, inputs), run(probe, inputs), tolerance=1e-6)
    if apart:
        raise Fault(
            f"After saving and loading, {apart}. Something that counts is in no parameter and no "
            "buffer, or the order of weights isn't that of the names."
        )


def check_copies(examined: Examination) -> None:
    """A deep copy is one of its own."""
    from copy import deepcopy

    setting = examined.first
    probe, inputs = setting.build(), setting.inputs()
    before = run(probe, inputs)
    try:
        copy: nn.Module = deepcopy(probe)
    except Exception as error:
        raise Fault(f"It can't be copied: {type(error).__name__}: {error}") from error
    with torch.no_grad():
        for weight in copy.parameters():
            weight.fill_(0.5)
    apart = difference(run(probe, inputs), before)
    if apart:
        raise Fault(f"Changing the weights of a copy changes it: {apart}.")


CHECKS = (
    Check(
        "determinism",
        "The same input gives the same output, in training from the same seed.",
        check_determinism,
        after=("features",),
    ),
    Check(
        "independence",
        "In evaluation mode, a case's output doesn't depend on the rest of its batch.",
        check_independence,
        after=("features", "determinism"),
    ),
    Check(
        "saving",
        "Weights that were saved and loaded give the same output.",
        check_saving,
        after=("features", "registration", "determinism"),
    ),
    Check(
        "copies",
        "A copy shares no weights with it.",
        check_copies,
        after=("features", "registration", "determinism"),
    ),
)
