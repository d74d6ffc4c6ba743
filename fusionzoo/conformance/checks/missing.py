"""Cases without a modality, as the fusion declares that it takes them."""

import torch
from torch import Tensor

from fusionzoo.conformance.examination import Check, Examination, difference, features_only, run
from fusionzoo.conformance.probes import FusionProbe, Probe
from fusionzoo.conformance.quiet import seeded
from fusionzoo.conformance.report import Fault, Inapplicable
from fusionzoo.conformance.settings import CASES, Setting
from fusionzoo.errors import DataError

_POLICIES = ("zero", "mask", "refuse")
_ROUNDING = 1e-4


def check_missing(examined: Examination) -> None:
    """Each modality in turn is taken away from some cases, then from all."""
    for setting in examined.each_kind:
        probe, learning = setting.build(), setting.build().train()
        assert isinstance(probe, FusionProbe)
        policy = probe.fusion.missing
        if policy not in _POLICIES:
            raise Fault(f"missing={policy!r} is none of {', '.join(_POLICIES)}.")
        if len(setting.shapes) < 2:
            raise Inapplicable("it reads one modality")
        for name in setting.shapes:
            if policy == "refuse":
                _refused(probe, setting, name)
            else:
                _taken(probe, learning, setting, name)


def _refused(probe: FusionProbe, setting: Setting, name: str) -> None:
    try:
        run(probe, setting.inputs(), present=_mask(setting, name, [1]))
    except DataError:
        return
    raise Fault(
        f"For {setting.label}, it declares that it refuses cases without a modality, and one "
        f"without {name!r} passed."
    )


def _taken(probe: FusionProbe, learning: Probe, setting: Setting, name: str) -> None:
    """Some cases without it, and then all: everything finite, and the others as they were."""
    inputs = setting.inputs()
    whole = features_only(run(probe, inputs))
    for gone in ([1], list(range(CASES))):
        lacking = {n: x.clone() for n, x in inputs.items()}
        lacking[name][gone] = 0
        present = _mask(setting, name, gone)
        where = f"For {setting.label}, where {len(gone)} of {CASES} cases have no {name!r}"
        found = run(probe, lacking, present=present)
        strange = [output for output, x in found.items() if not bool(torch.isfinite(x).all())]
        if strange:
            raise Fault(f"{where}, {strange[0]!r} is not finite.")
        stay = [case for case in range(CASES) if case not in gone]
        apart = difference(
            {n: x[stay] for n, x in features_only(found).items()},
            {n: x[stay] for n, x in whole.items()},
            tolerance=_ROUNDING,
        )
        if apart:
            raise Fault(f"{where}, {apart} for the cases that have it.")
        _unread(probe, lacking, present, name, gone, where)
        _trained(learning, lacking, present, where)


def _unread(
    probe: FusionProbe,
    lacking: dict[str, Tensor],
    present: dict[str, Tensor],
    name: str,
    gone: list[int],
    where: str,
) -> None:
    """What stands in the place of what isn't there changes nothing (zeros, by the loader)."""
    if "exchange" in probe.fusion.places:
        return  # between stages the loader's zeros are read as they are
    filled = {n: x.clone() for n, x in lacking.items()}
    filled[name][gone] = 7.0
    apart = difference(
        _final(run(probe, filled, present=present)),
        _final(run(probe, lacking, present=present)),
        tolerance=_ROUNDING,
    )
    if apart:
        raise Fault(f"{where}, {apart} with what stands in its place.")


def _final(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the fusion decides; an output of a modality that isn't there may be anything."""
    return {name: x for name, x in outputs.items() if name.startswith("final ")}


def _trained(
    probe: Probe, lacking: dict[str, Tensor], present: dict[str, Tensor], where: str
) -> None:
    """Training with them has a finite loss and finite gradients."""
    probe.zero_grad(set_to_none=True)
    with seeded(0):
        outputs = probe(lacking, present)
    for output, x in outputs.items():
        if not bool(torch.isfinite(x).all()):
            raise Fault(f"{where}, {output!r} is not finite in training.")
    torch.stack([x.sum() for x in outputs.values()]).sum().backward()
    strange = [
        name
        for name, p in probe.named_parameters()
        if p.grad is not None and not bool(torch.isfinite(p.grad).all())
    ]
    if strange:
        raise Fault(f"{where}, the gradient of {strange[0]} is not finite.")


def _mask(setting: Setting, name: str, gone: list[int]) -> dict[str, Tensor]:
    present = {n: torch.ones(CASES, dtype=torch.bool) for n in setting.shapes}
    present[name][gone] = False
    return present


CHECKS = (
    Check(
        "missing",
        "Cases without a modality are taken or refused as it declares.",
        check_missing,
        frozenset({"fusion"}),
        after=("features", "determinism", "independence"),
    ),
)
