"""What a component declares about its features, at several sizes."""

from typing import Any

import torch

from fusionzoo.conformance.examination import Check, Examination, run
from fusionzoo.conformance.probes import FusionProbe, joined_shapes
from fusionzoo.conformance.report import Fault
from fusionzoo.interface import AbstractEncoder


def check_sizes(examined: Examination) -> None:
    """It can be built for more than one setting, and refuses the others in words."""
    if examined.crashed:
        raise Fault(examined.crashed)
    if len(examined.fitting) < 2:
        reasons = "".join(f"\n{where}: {why}" for where, why in examined.refused.items())
        raise Fault(
            f"It can be built for {len(examined.fitting)} of "
            f"{len(examined.fitting) + len(examined.refused)} settings; two are the least. If it "
            f"needs other options, give them in the class's `small`.{reasons}"
        )


def check_declared(examined: Examination) -> None:
    """Every output has the shape that was declared, for one case and for several."""
    for setting in examined.fitting:
        probe = setting.build()
        declared = setting.declares(probe)
        for cases in (1, 3):
            inputs = setting.inputs(cases=cases)
            if isinstance(probe, FusionProbe):
                with torch.no_grad():
                    found: Any = joined_shapes(probe, inputs)
            else:
                found = {name: tuple(x.shape) for name, x in run(probe, inputs).items()}
            wanted = {name: (cases, *shape) for name, shape in declared.items()}
            if set(found) != set(wanted):
                raise Fault(
                    f"For {setting.label} it declares {_words(wanted)}; it gives {_words(found)}."
                )
            wrong = [name for name in wanted if found[name] != wanted[name]]
            if wrong:
                name = wrong[0]
                raise Fault(
                    f"For {setting.label} and {cases} cases it declares {name!r} as "
                    f"{wanted[name]}; it gives {found[name]}."
                )
        _check_stages(setting, probe)


def _check_stages(setting: Any, probe: Any) -> None:
    """The stages of a staged encoder, one by one."""
    if not isinstance(probe.part, AbstractEncoder) or not probe.part.staged:
        return
    encoder = probe.part
    with torch.no_grad():
        x: Any = encoder.stem(setting.inputs(cases=2)["input"])
        for level, spec in enumerate(encoder.stages):
            x = encoder.stage(level, x)
            shape = (
                (2, spec.num_tokens, spec.channels)
                if spec.layout == "tokens"
                else (2, spec.channels, *spec.size)
            )
            if spec.layout != "pyramid" and tuple(x.shape) != shape:
                raise Fault(
                    f"For {setting.label}, stage {level} declares {shape}; it gives "
                    f"{tuple(x.shape)}."
                )


def _words(names: Any) -> str:
    return ", ".join(map(repr, names)) or "nothing"


CHECKS = (
    Check(
        "sizes",
        "It can be built for several sizes, and what it can't be built for it refuses in words.",
        check_sizes,
    ),
    Check(
        "features",
        "It gives the shapes that it declares, at every size and number of cases.",
        check_declared,
        after=("sizes",),
    ),
)
