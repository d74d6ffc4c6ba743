"""Other types and devices: float64, bfloat16 by autocast, the meta device, a GPU."""

import torch

from fusionzoo.conformance.examination import (
    Check,
    Examination,
    difference,
    features_only,
    run,
)
from fusionzoo.conformance.probes import Probe
from fusionzoo.conformance.quiet import seeded
from fusionzoo.conformance.report import Fault, Inapplicable, NotRun

#: Float32 against float64, and eight bits of mantissa against float32, relative norms.
_SINGLE, _BRAIN = 1e-3, 0.15


def check_double(examined: Examination) -> None:
    """In float64 it gives float64, and what it gives in float32."""
    setting = examined.first
    probe, inputs = setting.build(), setting.inputs()
    single = run(probe, inputs)
    try:
        double = run(probe.double(), {n: x.double() for n, x in inputs.items()})
    except (RuntimeError, TypeError) as error:
        raise Fault(f"After .double() it fails: {error}") from error
    other = [f"{n!r} as {x.dtype}" for n, x in double.items() if x.dtype != torch.float64]
    if other:
        raise Fault(f"After .double() it gives {other[0]}.")
    apart = difference(single, double, tolerance=_SINGLE)
    if apart:
        raise Fault(f"In float32, {apart} from what it is in float64.")


def check_autocast(examined: Examination) -> None:
    """Under bfloat16 autocast it runs forward and backward and stays near float32."""
    setting = examined.first
    probe, inputs = setting.build(), setting.inputs()
    whole = features_only(run(probe, inputs))
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = features_only(run(probe, inputs))
            with seeded(0):
                trained = probe.train()(inputs)
                loss = torch.stack([x.float().sum() for x in trained.values()]).sum()
        if loss.requires_grad:
            loss.backward()
    except (RuntimeError, TypeError) as error:
        raise Fault(f"Under autocast to bfloat16 it fails: {error}") from error
    apart = difference(mixed, whole, tolerance=_BRAIN)
    if apart:
        raise Fault(f"Under autocast to bfloat16, {apart}.")
    if not bool(torch.isfinite(loss)):
        raise Fault("Under autocast to bfloat16, the training loss is not finite.")


def check_meta(examined: Examination) -> None:
    """On the meta device it gives the same shapes, and keeps no tensor behind.

    A part that reads values while it runs can't, and isn't exported either; it says so.
    """
    setting = examined.first
    probe = setting.build()
    wanted = run(probe, setting.inputs())
    _moved(probe, "meta")
    try:
        found = run(probe, setting.inputs(device="meta"))
    except Exception as error:
        if not examined.cls.exports:
            raise Inapplicable("it declares exports=False: it reads values to run") from error
        raise Fault(
            f"On the meta device it fails: {type(error).__name__}: {error} Assembly checks shapes "
            "there; make tensors with `device=x.device`, and don't read values, or set "
            "exports = False."
        ) from error
    other = [name for name, x in found.items() if x.device.type != "meta"]
    if other:
        raise Fault(f"On the meta device it gives {other[0]!r} on {found[other[0]].device}.")
    wrong = [name for name in wanted if found[name].shape != wanted[name].shape]
    if wrong:
        name = wrong[0]
        raise Fault(
            f"On the meta device {name!r} is {tuple(found[name].shape)}, elsewhere "
            f"{tuple(wanted[name].shape)}."
        )


def check_cuda(examined: Examination) -> None:
    """On a GPU it gives what it gives on the CPU."""
    if not torch.cuda.is_available():
        raise NotRun("there is no CUDA device")
    setting = examined.first
    probe, inputs = setting.build(), setting.inputs()
    wanted = features_only(run(probe, inputs))
    _moved(probe, "cuda")
    found = features_only(run(probe, {name: x.cuda() for name, x in inputs.items()}))
    apart = difference({n: x.cpu() for n, x in found.items()}, wanted, tolerance=1e-2)
    if apart:
        raise Fault(f"On the GPU, {apart} from what it is on the CPU.")


def _moved(probe: Probe, device: str) -> None:
    try:
        probe.to(device)
    except (NotImplementedError, RuntimeError) as error:
        raise Fault(f".to({device!r}) fails: {error}") from error
    behind = [
        f"{name}.{attribute}".lstrip(".")
        for name, module in probe.named_modules()
        for attribute, value in vars(module).items()
        if torch.is_tensor(value) and value.device.type != device
    ]
    if behind:
        raise Fault(
            f"After .to({device!r}), {', '.join(behind[:3])} stays where it was. Make it a buffer."
        )


CHECKS = (
    Check(
        "float64",
        "In float64 it computes the same.",
        check_double,
        after=("features", "registration", "determinism"),
    ),
    Check(
        "autocast",
        "Under autocast to bfloat16 it runs, forward and backward, and stays near float32.",
        check_autocast,
        after=("features", "registration", "determinism", "float64"),
    ),
    Check(
        "meta device",
        "It runs on the meta device, where assembly checks shapes without memory.",
        check_meta,
        after=("features", "registration"),
    ),
    Check(
        "GPU",
        "On a GPU it gives what it gives on the CPU.",
        check_cuda,
        after=("features", "registration", "determinism", "meta device"),
    ),
)
