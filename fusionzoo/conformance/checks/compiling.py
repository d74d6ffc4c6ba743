"""`torch.compile` and `torch.export`."""

from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.conformance.examination import (
    Check,
    Examination,
    difference,
    features_only,
    run,
)
from fusionzoo.conformance.probes import Probe
from fusionzoo.conformance.report import Fault, Inapplicable

_TOLERANCE = 1e-4


def check_compiled(examined: Examination) -> None:
    """A compiled one gives the same; traced as for any backend, and run without code of its own."""
    setting = examined.first
    probe, inputs = setting.build(), setting.inputs()
    wanted = run(probe, inputs)
    torch._dynamo.reset()
    try:
        found = run(torch.compile(probe, backend="aot_eager"), inputs)
    except Exception as error:
        raise Fault(f"torch.compile fails: {_first(error)}") from error
    finally:
        torch._dynamo.reset()
    apart = difference(found, wanted, tolerance=_TOLERANCE)
    if apart:
        raise Fault(f"Compiled, {apart}.")


class _Listed(nn.Module):
    """A probe whose inputs and outputs come in turn, as exported programs have them."""

    def __init__(self, probe: Probe, names: tuple[str, ...]):
        super().__init__()
        self.probe, self.names = probe, names

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Outputs by name, without losses."""
        return features_only(self.probe(dict(zip(self.names, inputs, strict=True))))


def check_exported(examined: Examination) -> None:
    """An exported one gives the same, for other values than it was written down with."""
    if not examined.cls.exports:
        raise Inapplicable("it declares exports=False")
    setting = examined.first
    probe = _Listed(setting.build(), tuple(setting.shapes))
    written: Any = tuple(setting.inputs().values())
    other = tuple(setting.inputs(seed=3).values())
    try:
        with torch.no_grad():
            program = torch.export.export(probe, written, strict=False)
            found = program.module()(*other)
    except Exception as error:
        raise Fault(
            f"torch.export fails: {_first(error)} If that can't be helped, set exports = False."
        ) from error
    with torch.no_grad():
        apart = difference(found, probe(*other), tolerance=_TOLERANCE)
    if apart:
        raise Fault(f"Exported, {apart}.")


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])[:300]}"


CHECKS = (
    Check(
        "compile",
        "torch.compile changes nothing.",
        check_compiled,
        after=("features", "determinism"),
        slow=True,
    ),
    Check(
        "export",
        "torch.export writes it down, and the program gives the same.",
        check_exported,
        after=("features", "determinism"),
        slow=True,
    ),
)
