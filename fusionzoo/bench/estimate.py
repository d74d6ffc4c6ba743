"""What a cell will take: from runs of the same spec where there are some, else from its FLOPs.

Two runs are compared by their work, the operations of all passes over the training cases:

    work = FLOPs of a case * cases * (3 * epochs + views + 1)

A training step is taken for three predictions, and each cached view for one. The fusion's stage on
cached features is left out. An estimate is the median over the reference runs of seconds * work /
their work.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusionzoo.api import flops_of
from fusionzoo.bench.expand import Cell
from fusionzoo.records.environment import cpu_name
from fusionzoo.records.index import IndexRow


@dataclass(frozen=True)
class Estimate:
    """What a cell will take.

    Args:
        seconds: Wall time of its training; None where nothing can be said.
        basis: Where that comes from, for people.
    """

    seconds: float | None
    basis: str


class Estimator:
    """Estimates the cells of a bench.

    Args:
        known: What is known of runs in the store; those of this processor, or of a GPU, count,
            unless there is none of them.
        gpu: Whether the cells run on a GPU.
    """

    def __init__(self, known: Sequence[IndexRow], *, gpu: bool):
        here = [row for row in known if row.train_seconds and (row.gpu is not None) == gpu]
        self._known = [row for row in here if gpu or row.cpu == cpu_name()] or here
        self._rate: float | None = None

    def __call__(self, cell: Cell) -> Estimate:
        """The estimate of one cell."""
        spec = str(cell.plan.combo)
        same = [row for row in self._known if row.spec == spec]
        todo = _work_of(cell)
        if same:
            scaled = [
                _seconds(row) * (todo / done if todo and (done := _work(row)) else 1.0)
                for row in same
            ]
            runs = f"{len(same)} run{'s' if len(same) > 1 else ''} of the same spec"
            return Estimate(statistics.median(scaled), runs)
        if not todo:
            return Estimate(None, "its FLOPs can't be counted")
        others = [(row, done) for row in self._known if (done := _work(row))]
        if others:
            rate = statistics.median(done / _seconds(row) for row, done in others)
            return Estimate(todo / rate, f"FLOPs, at the rate of {len(others)} other runs")
        if self._rate is None:
            self._rate = _measured_rate()
        return Estimate(todo / self._rate, "FLOPs, at the rate of a convolution here")


def _seconds(row: IndexRow) -> float:
    return max(row.train_seconds or 0.0, 1e-3)


def _work_of(cell: Cell) -> float | None:
    plan = cell.plan
    kinds = {plan.dataset.spec.modality(name).kind for name in plan.combo.modalities}
    flops = flops_of(plan.combo, plan.dataset.spec)
    return _passes(flops, len(plan.split.train), plan.config.to_json(), kinds == {"table"})


def _work(row: IndexRow) -> float | None:
    tables_only = all("table" in part for part in row.spec.partition(" ->")[0].split(", "))
    return _passes(row.flops, row.train_cases, row.settings, tables_only)


def _passes(
    flops: int | None, cases: int, settings: Mapping[str, Any], tables_only: bool
) -> float | None:
    if not flops or not cases:
        return None
    epochs = settings.get("fuse_epochs" if tables_only else "epochs", 1)
    return float(flops) * cases * (3 * epochs + settings.get("views", 0) + 1)


def _measured_rate(seconds: float = 0.3) -> float:
    """Operations a second of a small convolution, on one thread of this processor."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        conv = torch.nn.Conv3d(16, 16, 3, padding=1)
        x = torch.zeros(4, 16, 16, 16, 16)
        operations = 2 * 16 * 16 * 27 * 4 * 16**3
        began, rounds = time.perf_counter(), 0
        with torch.inference_mode():
            while time.perf_counter() - began < seconds:
                conv(x)
                rounds += 1
        return operations * rounds / (time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)


def in_words(seconds: float) -> str:
    """A time for people: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 1:
        return "1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def total_seconds(estimates: Iterable[Estimate]) -> float | None:
    """The sum; None where one of them is unknown."""
    seconds = [estimate.seconds for estimate in estimates]
    known = [one for one in seconds if one is not None]
    return sum(known, 0.0) if len(known) == len(seconds) else None


__all__ = ["Estimate", "Estimator", "in_words", "total_seconds"]
