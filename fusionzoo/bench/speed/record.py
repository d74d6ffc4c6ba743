"""What the speed suite found, as a record and as a table; free of torch."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.errors import RunError
from fusionzoo.records.environment import Environment
from fusionzoo.schema import dumps, from_json
from fusionzoo.storage import write_atomic

#: Version of the keys of `SpeedRecord`.
SCHEMA = 1


@dataclass(frozen=True)
class Timing:
    """One arm of one system.

    Args:
        system: The system.
        arm: `fusionzoo` or `plain`.
        spec: Its spec string.
        parameters: Trained and frozen parameters of the system.
        batch_size: Cases a step.
        step_s: Seconds of each training step: forward, backward and an SGD update of everything.
        predict_s: Seconds of each prediction of a batch.
        peak_mib: Memory that one training step takes, weights and gradients included, MiB.
        differences: What the plain arm does otherwise; empty for ours.
    """

    system: str
    arm: str
    spec: str
    parameters: int
    batch_size: int
    step_s: tuple[float, ...]
    predict_s: tuple[float, ...]
    peak_mib: float
    differences: tuple[str, ...]


@dataclass(frozen=True)
class SpeedRecord:
    """What one run of the suite found.

    Args:
        schema: Version of these keys, `SCHEMA`.
        device: `cpu` or `cuda`.
        size: `published` or `small`.
        threads: Threads that torch used.
        load: Load of the machine when it began, processes that wanted a core.
        rounds: Counted rounds.
        environment: Versions, commit and hardware.
        finished: When, UTC, ISO 8601.
        timings: The arms of every system.
        refused: Systems that couldn't be measured, and why.
    """

    schema: int
    device: str
    size: str
    threads: int
    load: float
    rounds: int
    environment: Environment
    finished: str
    timings: tuple[Timing, ...]
    refused: dict[str, str]

    def write(self, path: Path) -> Path:
        """Write the record.

        Raises:
            RunError: It can't be written.
        """
        return write_atomic(path, dumps(self) + "\n")


def read_speed(path: Path) -> SpeedRecord:
    """A record of the suite.

    Raises:
        RunError: The file is absent, damaged or of another schema.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise RunError(
            f"{str(path)!r} can't be read as a record of the speed suite ({cause}). Name a file "
            "that 'fusionzoo bench speed --out' wrote."
        ) from cause
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        raise RunError(
            f"{str(path)!r} is no record of the speed suite of schema {SCHEMA}. Measure again."
        )
    return from_json(SpeedRecord, told, str(path))


def speed_table(record: SpeedRecord) -> str:
    """The record as Markdown: one row a system, ours with what plain PyTorch takes as many times.

    Times are medians of a batch; a ratio is the median over rounds of plain to ours.
    """
    by_system: dict[str, dict[str, Timing]] = {}
    for timing in record.timings:
        by_system.setdefault(timing.system, {})[timing.arm] = timing
    hardware = record.environment.hardware
    where = hardware.gpu or f"{hardware.cpu}, {record.threads} threads"
    versions = record.environment.versions
    batch = ", ".join(sorted({str(timing.batch_size) for timing in record.timings}))
    lines = [
        f"{where}; torch {versions.get('torch', '?')}; {record.size} sizes, batch {batch}, medians "
        f"of {record.rounds} rounds, load {record.load:.1f} at the start; {record.finished[:10]}",
        "",
        "| system | parameters | step | cases/s | prediction | memory | plain: step | prediction "
        "| memory | what plain does otherwise |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for system, arms in by_system.items():
        lines.append(_row(system, arms["fusionzoo"], arms.get("plain")))
    lines += [f"\n{system} wasn't measured: {why}" for system, why in record.refused.items()]
    return "\n".join(lines) + "\n"


def _row(system: str, ours: Timing, plain: Timing | None) -> str:
    step = statistics.median(ours.step_s)
    cells = [
        system,
        f"{ours.parameters / 1e6:.1f} M",
        _time(step),
        f"{ours.batch_size / step:.3g}",
        _time(statistics.median(ours.predict_s)),
        f"{ours.peak_mib:.0f} MiB",
    ]
    if plain is None:
        cells += ["same", "same", "same", ""]
    else:
        cells += [
            _ratio(ours.step_s, plain.step_s),
            _ratio(ours.predict_s, plain.predict_s),
            f"{plain.peak_mib / ours.peak_mib:.2f}x",
            "; ".join(plain.differences),
        ]
    return "| " + " | ".join(cells) + " |"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _ratio(ours: tuple[float, ...], plain: tuple[float, ...]) -> str:
    return f"{statistics.median(b / a for a, b in zip(ours, plain, strict=True)):.2f}x"
