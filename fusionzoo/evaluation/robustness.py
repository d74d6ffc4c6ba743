"""What a model loses when its inputs get worse, as plain values with intervals.

A perturbation is drawn several times. A point's value is the mean over the draws, and each
bootstrap replicate goes with one of the draws, so that an interval holds both: which patients were
tested, and which of them were hit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.errors import RunError
from fusionzoo.evaluation.bootstrap import Difference, Resampling, difference, percentile_interval
from fusionzoo.evaluation.metrics import check_scored, compute_metrics
from fusionzoo.evaluation.results import Estimate
from fusionzoo.evaluation.weighted import Array, Labels
from fusionzoo.schema import dumps, from_json
from fusionzoo.storage import write_atomic

#: The file in a run's folder, and the version of its keys.
STRESS, SCHEMA = "stress.json", 1


@dataclass(frozen=True)
class Point:
    """One level of a perturbation.

    Args:
        level: How strong it is, in the curve's unit; 0 is the untouched input.
        num_changed: Cases whose probabilities it changed, mean over the draws.
        metrics: Each metric with its interval.
        changes: Each metric's difference to level 0, paired; negative where it fell.
    """

    level: float
    num_changed: float
    metrics: dict[str, Estimate]
    changes: dict[str, Difference]


@dataclass(frozen=True)
class Curve:
    """One perturbation of one modality, for one task.

    Args:
        task: The task.
        kind: `drop`, `cells`, `noise` or `shift`.
        modality: What is perturbed.
        unit: What a level counts.
        points: By level, ascending; empty where it is refused.
        refused: Why it can't be done; empty where it can.
    """

    task: str
    kind: str
    modality: str
    unit: str
    points: tuple[Point, ...]
    refused: str = ""


@dataclass(frozen=True)
class Robustness:
    """All curves of one run.

    Args:
        schema: Version of these keys, `SCHEMA`.
        run_id: The run.
        predictions_digest: Digest of the run's predictions.
        output: The output that was perturbed.
        num_cases: Test cases.
        num_patients: Patients that they are of.
        seed: Seed of perturbations and draws.
        draws: Draws of each perturbation.
        replicates: Bootstrap draws of patients.
        level: Confidence of the intervals.
        reproduced: Largest absolute difference between the probabilities at level 0 and the run's
            own.
        curves: One per task, kind and modality.
    """

    schema: int
    run_id: str
    predictions_digest: str
    output: str
    num_cases: int
    num_patients: int
    seed: int
    draws: int
    replicates: int
    level: float
    reproduced: float
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Scorer:
    """Scores probabilities of the same cases again and again, with the same draws of patients.

    Args:
        labels: Class codes, `cases`; -1 where missing.
        groups: Patient of each case.
        threshold: The run's threshold of a two-class task; 0.5 for more classes.
        resampling: Draws of patients.
        untouched: Probabilities of the untouched inputs, `cases classes`.
        level: Confidence of the intervals.
    """

    labels: Labels
    groups: NDArray[Any]
    threshold: float
    resampling: Resampling
    untouched: Array
    level: float = 0.95

    def point(self, level: float, draws: Sequence[Array]) -> Point:
        """One point of a curve.

        Args:
            level: How strong the perturbation is.
            draws: Probabilities of each draw, `cases classes`.
        """
        values, drawn = self._values(draws), self._replicates(draws)
        first, before = self._before
        changed = [float((probs != self.untouched).any(axis=1).sum()) for probs in draws]
        return Point(
            level,
            float(np.mean(changed)),
            {name: _estimate(value, drawn[name], self.level) for name, value in values.items()},
            {
                name: difference(value, first[name], drawn[name], before[name], self.level)
                for name, value in values.items()
            },
        )

    @cached_property
    def _before(self) -> tuple[dict[str, float], dict[str, Array]]:
        return self._values([self.untouched]), self._replicates([self.untouched])

    def _values(self, draws: Sequence[Array]) -> dict[str, float]:
        """Each metric on all cases, mean over the draws."""
        found = [compute_metrics(self.labels, p, threshold=self.threshold) for p in draws]
        return {name: float(np.mean([f[name].value for f in found])) for name in found[0]}

    def _replicates(self, draws: Sequence[Array]) -> dict[str, Array]:
        """Each metric in each replicate; the replicates are shared out among the draws."""
        counts = np.array_split(self.resampling.counts, len(draws))
        parts = []
        for probs, rows in zip(draws, counts, strict=True):
            scored = check_scored(self.labels, probs)
            own = Resampling(self.resampling.patients, rows)
            patients = self.groups[scored.kept]
            parts.append(own.replicates(scored, patients, self.threshold, scored.names))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _estimate(value: float, drawn: Array, level: float) -> Estimate:
    interval = percentile_interval(drawn, level)
    return Estimate(value, interval.low, interval.high, interval.reason)


def write_robustness(folder: str | os.PathLike[str], found: Robustness) -> Path:
    """Write `stress.json` into a run's folder, whole or not at all."""
    return write_atomic(Path(folder) / STRESS, dumps(found) + "\n")


def read_robustness(folder: str | os.PathLike[str]) -> Robustness:
    """Read and check the `stress.json` of a run's folder.

    Raises:
        RunError: It is absent, damaged or of another version.
    """
    path = Path(folder) / STRESS
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"Can't read {path} ({error}). 'fusionzoo stress' writes it.") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise RunError(
            f"{path} has schema {schema}; this fusionzoo reads schema {SCHEMA}. Run 'fusionzoo "
            "stress' again."
        )
    return from_json(Robustness, data, str(path))
