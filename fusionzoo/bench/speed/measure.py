"""How long a system's training step and prediction take, and the memory they need.

Both arms, ours and the plain equivalent, hold the same weights and take turns in one process, so
that a busy machine slows both. Peak memory is measured in a process of its own per arm on a CPU,
where the operating system only knows the whole process, and by the allocator on a GPU.
"""

import copy
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fusionzoo.bench.speed.plain import compose_plainly
from fusionzoo.bench.speed.record import Timing
from fusionzoo.errors import RunError
from fusionzoo.grammar import Combo, parse
from fusionzoo.interface import Batch
from fusionzoo.models.assemble import assemble
from fusionzoo.models.model import FusionModel
from fusionzoo.spec import DataSpec, Modality, TaskSpec
from fusionzoo.systems import load_system
from fusionzoo.training.loop import total_loss

_BINARY = (TaskSpec("label", ("no", "yes")),)
#: Numbers of classes of Derm7pt's eight tasks.
_EIGHT = tuple(
    TaskSpec(f"task{i}", tuple("abcde"[:n])) for i, n in enumerate((5, 3, 2, 3, 3, 3, 3, 2))
)
#: What the papers' systems read: the published sizes, and small ones with which to try the suite.
_PUBLISHED = {
    "ct": Modality("ct", "volume", 1, (12, 192, 192)),
    "table": Modality("table", "table", 7),
    "clinic": Modality("clinic", "image", 3, (224, 224)),
    "derm": Modality("derm", "image", 3, (224, 224)),
}
_SMALL = {
    **_PUBLISHED,
    "ct": Modality("ct", "volume", 1, (8, 32, 32)),
    "clinic": Modality("clinic", "image", 3, (64, 64)),
    "derm": Modality("derm", "image", 3, (64, 64)),
}
SIZES: Mapping[str, Mapping[str, Modality]] = {"published": _PUBLISHED, "small": _SMALL}
#: Options for systems at the small size, as data sets suggest them.
_SMALL_PARTS: Mapping[str, Mapping[str, object]] = {
    "penet3d": {"width": 0.25, "depth": 14},
    "sam": {"width": 0.25, "depth": 4, "channels": (64, 128, 256)},
    "vmamba": {"channels": 16, "depths": [1, 1, 1, 1]},
}


def subject(system: str, size: str) -> tuple[Combo, DataSpec]:
    """A system's combo and a data set's description of the size that it is measured at."""
    combo = parse(load_system(system).spec)
    modalities = tuple(SIZES[size][name] for name in combo.modalities)
    tasks = _EIGHT if any(m.kind == "image" for m in modalities) else _BINARY
    return combo, DataSpec(size, modalities, tasks, _SMALL_PARTS if size == "small" else {})


def measurable(system: str) -> bool:
    """Whether all that a system reads has a published size."""
    return set(parse(load_system(system).spec).modalities) <= set(_PUBLISHED)


def measure(
    system: str,
    *,
    device: str = "cpu",
    size: str = "published",
    batch_size: int = 2,
    rounds: int = 3,
) -> tuple[Timing, ...]:
    """Time both arms of a system in this process; the first round warms up and isn't counted.

    The plain arm is left out where the system is plain as it is.
    """
    ours, data = _ours(system, device, size)
    plain = copy.deepcopy(ours)
    differences = compose_plainly(plain)
    models = {"fusionzoo": ours} | ({"plain": plain} if differences else {})
    batch = _noise(data, batch_size).to(device)
    steps: dict[str, list[float]] = {arm: [] for arm in models}
    predictions: dict[str, list[float]] = {arm: [] for arm in models}
    optimizers = {
        arm: torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-6)
        for arm, model in models.items()
    }
    for _ in range(rounds + 1):
        for arm, model in models.items():
            step = partial(_step, model, batch, data, optimizers[arm])
            steps[arm].append(_seconds(step, device))
            predictions[arm].append(_seconds(partial(_predict, model, batch), device))
    parameters = sum(p.numel() for p in models["fusionzoo"].parameters())
    return tuple(
        Timing(
            system,
            arm,
            load_system(system).spec,
            parameters,
            batch_size,
            tuple(steps[arm][1:]),
            tuple(predictions[arm][1:]),
            peak_mib(system, arm, device=device, size=size, batch_size=batch_size),
            differences if arm == "plain" else (),
        )
        for arm in models
    )


def peak_mib(system: str, arm: str, *, device: str, size: str, batch_size: int) -> float:
    """What one training step of one arm takes, weights and gradients included, MiB."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        _one_step(system, arm, device, size, batch_size)
        return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
    told = {"system": system, "arm": arm, "size": size, "batch_size": batch_size}
    command = [sys.executable, "-m", __name__, json.dumps(told)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(
            f"The memory of {system!r} ({arm}) can't be measured: a process for it ended with "
            f"{done.returncode}. It said: {done.stderr.strip()[-300:]}"
        )
    return float(done.stdout.splitlines()[-1])


def _ours(system: str, device: str, size: str) -> tuple[FusionModel, DataSpec]:
    combo, data = subject(system, size)
    return assemble(combo, data).to(device), data


def _noise(data: DataSpec, batch_size: int) -> Batch:
    """A batch of noise, classes in turn."""
    generator = torch.Generator().manual_seed(0)
    return Batch(
        {m.name: torch.rand(batch_size, *m.shape, generator=generator) for m in data.modalities},
        {m.name: torch.ones(batch_size, dtype=torch.bool) for m in data.modalities},
        {t.name: torch.arange(batch_size) % len(t.classes) for t in data.tasks},
        torch.arange(batch_size),
    )


def _step(
    model: FusionModel, batch: Batch, data: DataSpec, optimizer: torch.optim.Optimizer
) -> None:
    model.train()
    optimizer.zero_grad(set_to_none=True)
    output = model(batch)
    present = model.context(batch).present
    total_loss(output, batch, present, data.tasks, model.supervised, "bce").backward()
    optimizer.step()


@torch.no_grad()
def _predict(model: FusionModel, batch: Batch) -> None:
    model.eval()(batch)


def _seconds(work: Callable[[], None], device: str) -> float:
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _one_step(system: str, arm: str, device: str, size: str, batch_size: int) -> None:
    """One training step of one arm, from nothing."""
    model, data = _ours(system, device, size)
    if arm == "plain":
        compose_plainly(model)
    batch = _noise(data, batch_size).to(device)
    _step(model, batch, data, torch.optim.SGD(model.parameters(), lr=1e-6))


def _resident_peak() -> float:
    """Most memory that this process has had, MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # a process's own; what getrusage tells began with its parent's
        (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def _growth(told: Mapping[str, Any]) -> float:
    """What one step of one arm, model and batch included, adds to this process's memory, MiB."""
    load_system(told["system"])
    torch.ones(8).sum()
    before = _resident_peak()
    _one_step(told["system"], told["arm"], "cpu", told["size"], told["batch_size"])
    return _resident_peak() - before


if __name__ == "__main__":
    sys.stdout.write(f"{_growth(json.loads(sys.argv[1])):.1f}\n")
