"""Percentile intervals from resampling patients: drawn with replacement, with all their cases.

Replicates are case weights, so that every metric is computed for all of them at once. A replicate
in which a metric is undefined is left out; where that happens to more than a tenth of them there is
no interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusionzoo.evaluation.metrics import Scored, check_names, check_scored, compute_metrics
from fusionzoo.evaluation.weighted import Array

#: Least share of replicates in which a metric must be defined for it to have an interval.
MIN_DEFINED = 0.9
_CHUNK_VALUES = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A percentile interval.

    Args:
        low: Lower limit, NaN where there is none.
        high: Upper limit, NaN where there is none.
        reason: Why there is none, or what to beware of.
    """

    low: float
    high: float
    reason: str = ""


@dataclass(frozen=True)
class Difference:
    """A paired difference of one metric, first minus second.

    Args:
        value: The difference on all cases.
        low: Lower limit of its interval.
        high: Upper limit.
        p: Two-sided bootstrap p-value: twice the smaller share of replicates on one side of zero,
            never below 2 / (replicates + 1).
        reason: Why something of it is undefined.
    """

    value: float
    low: float
    high: float
    p: float
    reason: str = ""


@dataclass(frozen=True)
class Resampling:
    """How often each patient was drawn in each replicate; one for all metrics, outputs and tasks.

    Args:
        patients: Distinct patients, sorted.
        counts: `replicates patients`.
    """

    patients: NDArray[Any]
    counts: NDArray[np.int64]

    @classmethod
    def draw(cls, groups: ArrayLike, *, replicates: int = 2000, seed: int = 0) -> Resampling:
        """Draw as many patients as there are, with replacement, `replicates` times.

        Args:
            groups: Patient of each case; the order of the cases doesn't matter.
            replicates: Number of draws.
            seed: Seed of the draws.
        """
        patients = np.unique(np.asarray(groups, dtype=str))
        rng = np.random.default_rng(seed)
        shares = np.full(len(patients), 1 / max(len(patients), 1))
        return cls(patients, rng.multinomial(len(patients), shares, size=replicates))

    def replicates(
        self, scored: Scored, groups: ArrayLike, threshold: float | Array, names: Sequence[str]
    ) -> dict[str, Array]:
        """Each metric in each replicate.

        Args:
            scored: Labels and probabilities of the labelled cases.
            groups: Patient of each of these cases; all are among `patients`.
            threshold: One number or one per case.
            names: Which metrics.
        """
        rows = max(1, _CHUNK_VALUES // max(len(scored.labels), 1))
        starts = range(0, len(self.counts), rows)
        chunks = (self.weights(groups, slice(start, start + rows)) for start in starts)
        parts = [scored.replicates(weights, threshold, names) for weights in chunks]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def weights(self, groups: ArrayLike, rows: slice = slice(None)) -> Array:
        """How often each case was drawn, `replicates cases`, in the replicates `rows`."""
        codes = np.searchsorted(self.patients, np.asarray(groups, dtype=str))
        return self.counts[rows][:, codes].astype(float)


def bootstrap_intervals(
    labels: ArrayLike,
    probs: ArrayLike,
    groups: ArrayLike,
    *,
    threshold: float | Array = 0.5,
    names: Sequence[str] | None = None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile intervals of metrics, resampling patients.

    Args:
        labels: Class codes, `cases`; cases with -1 are left out.
        probs: `cases` (probability of class 1) or `cases classes`.
        groups: Patient of each case.
        threshold: One number or one per case; it is not chosen anew in each replicate.
        names: Which metrics, all that the task has by default.
        replicates: Number of draws.
        seed: Seed of the draws.
        level: Confidence.
    """
    scored = check_scored(labels, probs)
    chosen = check_names(names, scored.names)
    patients = np.asarray(groups, dtype=str)[scored.kept]
    resampling = Resampling.draw(patients, replicates=replicates, seed=seed)
    drawn = resampling.replicates(scored, patients, _kept(threshold, scored), chosen)
    return {name: percentile_interval(drawn[name], level) for name in chosen}


def bootstrap_differences(
    labels: ArrayLike,
    probs_a: ArrayLike,
    probs_b: ArrayLike,
    groups: ArrayLike,
    *,
    thresholds: tuple[float | Array, float | Array] = (0.5, 0.5),
    names: Sequence[str] | None = None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Differences of metrics between two models on the same cases, resampling patients for both.

    Args:
        labels: Class codes, `cases`; cases with -1 are left out.
        probs_a: The first model's probabilities, `cases` or `cases classes`.
        probs_b: The second model's, for the same cases in the same order.
        groups: Patient of each case.
        thresholds: The first and the second model's.
        names: Which metrics, all that the task has by default.
        replicates: Number of draws.
        seed: Seed of the draws.
        level: Confidence.
    """
    models = [check_scored(labels, probs) for probs in (probs_a, probs_b)]
    chosen = check_names(names, models[0].names)
    patients = np.asarray(groups, dtype=str)[models[0].kept]
    resampling = Resampling.draw(patients, replicates=replicates, seed=seed)
    drawn_a, drawn_b = (
        resampling.replicates(scored, patients, _kept(threshold, scored), chosen)
        for scored, threshold in zip(models, thresholds, strict=True)
    )
    values_a, values_b = (
        compute_metrics(labels, probs, threshold=threshold, names=chosen)
        for probs, threshold in zip((probs_a, probs_b), thresholds, strict=True)
    )
    return {
        name: difference(
            values_a[name].value, values_b[name].value, drawn_a[name], drawn_b[name], level
        )
        for name in chosen
    }


def percentile_interval(drawn: Array, level: float = 0.95) -> Interval:
    """The middle `level` of the defined replicates."""
    defined = drawn[np.isfinite(drawn)]
    if len(defined) < MIN_DEFINED * max(len(drawn), 1):
        return Interval(
            np.nan, np.nan, f"undefined in {len(drawn) - len(defined)} of {len(drawn)} replicates"
        )
    if defined.min() == defined.max():
        same = float(defined[0])
        return Interval(same, same, "the same in every replicate: the interval is too narrow")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def difference(
    value_a: float, value_b: float, drawn_a: Array, drawn_b: Array, level: float = 0.95
) -> Difference:
    """The paired difference from both models' values and replicates of the same draws."""
    if not np.isfinite(value_a - value_b):
        return Difference(
            np.nan, np.nan, np.nan, np.nan, "the metric of one of the two is undefined"
        )
    drawn = drawn_a - drawn_b
    interval = percentile_interval(drawn, level)
    if not np.isfinite(interval.low):
        return Difference(value_a - value_b, np.nan, np.nan, np.nan, interval.reason)
    return Difference(
        value_a - value_b, interval.low, interval.high, two_sided_p(drawn), interval.reason
    )


def two_sided_p(drawn: Array) -> float:
    """Twice the smaller share of replicates at or beyond zero, one added to both counts."""
    defined = drawn[np.isfinite(drawn)]
    smaller = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return float(min(1.0, 2 * (smaller + 1) / (len(defined) + 1)))


def _kept(threshold: float | Array, scored: Scored) -> float | Array:
    return threshold if np.ndim(threshold) == 0 else np.asarray(threshold)[scored.kept]


__all__ = [
    "Difference",
    "Interval",
    "Resampling",
    "bootstrap_differences",
    "bootstrap_intervals",
    "difference",
    "percentile_interval",
    "two_sided_p",
]
