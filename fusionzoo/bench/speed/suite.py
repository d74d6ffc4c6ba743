"""The speed suite: every system, ours against plain PyTorch, as a record and as a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from fusionzoo.bench.speed.record import SCHEMA, SpeedRecord, Timing
from fusionzoo.errors import BadOption, FusionZooError, nearest
from fusionzoo.records.environment import collect_environment
from fusionzoo.records.record import utc_now
from fusionzoo.registry import names


def run_suite(
    systems: Sequence[str] = (),
    *,
    device: str = "cpu",
    size: str = "published",
    batch_size: int = 2,
    rounds: int = 3,
    tell: Callable[[str], None] = lambda text: None,
) -> SpeedRecord:
    """Measure systems, one after the other.

    Args:
        systems: Their names; all whose inputs have a published size by default.
        device: `cpu` or `cuda`.
        size: `published`, or `small` to try the suite.
        batch_size: Cases a step.
        rounds: Counted rounds of every system.
        tell: Hears of each system before it is measured.

    Raises:
        BadOption: An unknown system, or no usable GPU.
    """
    import torch

    from fusionzoo.bench.speed.measure import measurable, measure

    known = [name for name in names("system") if measurable(name)]
    unknown = [
        f"{name!r} ({nearest(name, known).strip()})" for name in systems if name not in known
    ]
    if unknown:
        raise BadOption(
            f"No system to be measured is called {', '.join(unknown)}. There are: "
            f"{', '.join(known)}."
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise BadOption("No CUDA device is usable here. Use --device cpu.")
    load = os.getloadavg()[0]
    timings: list[Timing] = []
    refused: dict[str, str] = {}
    for system in systems or known:
        tell(system)
        try:
            timings += measure(
                system, device=device, size=size, batch_size=batch_size, rounds=rounds
            )
        except FusionZooError as error:
            refused[system] = str(error)
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    return SpeedRecord(
        SCHEMA,
        device,
        size,
        torch.get_num_threads(),
        round(load, 2),
        rounds,
        collect_environment(gpu=gpu),
        utc_now(),
        tuple(timings),
        refused,
    )
