"""Tests of one model against another, over cases or folds, and correction for multiplicity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fusionzoo.errors import DataError
from fusionzoo.evaluation.weighted import Array


@dataclass(frozen=True)
class McNemar:
    """The exact McNemar test.

    Args:
        only_a: Cases that only the first model gets right.
        only_b: Cases that only the second model gets right.
        p: Two-sided p-value, 1 where they disagree on nothing.
    """

    only_a: int
    only_b: int
    p: float


@dataclass(frozen=True)
class FoldTest:
    """A paired test over folds.

    Args:
        difference: Mean difference, first minus second.
        statistic: The test statistic.
        p: Two-sided p-value; NaN with a reason where there is none.
        smallest_p: The smallest p-value that this many folds can give.
        reason: Why it has none.
    """

    difference: float
    statistic: float
    p: float
    smallest_p: float
    reason: str = ""


def mcnemar(labels: ArrayLike, called_a: ArrayLike, called_b: ArrayLike) -> McNemar:
    """Exact test of whether two models are right equally often on the same cases.

    Cases must be independent: with several cases a patient, use the patient-level bootstrap
    difference in accuracy.

    Args:
        labels: Class codes, `cases`; cases with -1 are left out.
        called_a: The first model's classes.
        called_b: The second model's.

    Raises:
        DataError: The lengths differ.
    """
    from scipy.stats import binomtest

    truth, first, second = (np.asarray(codes) for codes in (labels, called_a, called_b))
    _same_length(labels=truth, called_a=first, called_b=second)
    known = truth >= 0
    right_a, right_b = (first == truth)[known], (second == truth)[known]
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(~right_a & right_b))
    split = only_a + only_b
    return McNemar(only_a, only_b, float(binomtest(only_a, split, 0.5).pvalue) if split else 1.0)


def corrected_t_test(values_a: ArrayLike, values_b: ArrayLike, *, test_share: float) -> FoldTest:
    """Nadeau and Bengio's t-test for (repeated) cross-validation, whose training parts overlap.

        t = mean(d) / sqrt((1 / J + n_test / n_train) var(d)),  J - 1 degrees of freedom

    Source: Nadeau and Bengio, Machine Learning 52, 2003; for repeated k-fold: Bouckaert and Frank,
        PAKDD 2004.

    Args:
        values_a: The first model's metric per fold (and repeat), J of them.
        values_b: The second model's, same folds.
        test_share: Share of the cases that a fold tests, 1/5 for five folds; n_test / n_train is
            then 1/4.

    Raises:
        DataError: The lengths differ, a value is not finite, or the share is not between 0 and 1.
    """
    from scipy.stats import t as student

    gaps = _gaps(values_a, values_b)
    if not 0 < test_share < 1:
        raise DataError(
            [f"test_share must lie between 0 and 1, is {test_share}"], "the comparison over folds"
        )
    mean = float(gaps.mean())
    if len(gaps) < 2 or np.ptp(gaps) == 0:
        if len(gaps) >= 2 and mean == 0:
            return FoldTest(0.0, 0.0, 1.0, 0.0)
        reason = "one fold only" if len(gaps) < 2 else "the same difference in every fold"
        return FoldTest(mean, math.nan, math.nan, 0.0, reason)
    ratio = test_share / (1 - test_share)
    statistic = mean / math.sqrt((1 / len(gaps) + ratio) * float(gaps.var(ddof=1)))
    return FoldTest(mean, statistic, float(2 * student.sf(abs(statistic), len(gaps) - 1)), 0.0)


def wilcoxon_folds(values_a: ArrayLike, values_b: ArrayLike) -> FoldTest:
    """Wilcoxon's signed-rank test over folds; exact for few folds without ties.

    Five folds can't give less than p = 0.0625, which `smallest_p` says.

    Args:
        values_a: The first model's metric per fold.
        values_b: The second model's, same folds.

    Raises:
        DataError: The lengths differ or a value is not finite.
    """
    from scipy.stats import wilcoxon

    gaps = _gaps(values_a, values_b)
    changed = gaps[gaps != 0]
    smallest = 2.0 ** (1 - len(changed)) if len(changed) else 1.0
    if not len(changed):
        return FoldTest(0.0, 0.0, 1.0, smallest)
    ties = len(np.unique(np.abs(changed))) < len(changed)
    result = wilcoxon(changed, method="exact" if not ties and len(changed) <= 50 else "auto")
    return FoldTest(float(gaps.mean()), float(result.statistic), float(result.pvalue), smallest)


def holm(p_values: Sequence[float] | Array) -> Array:
    """Adjusted p-values of Holm's step-down method, for the chance of any false finding.

    NaN stays NaN and doesn't count.

    Source: Holm, Scandinavian Journal of Statistics 1979.
    """
    given = np.asarray(p_values, dtype=float)
    adjusted = np.full(given.shape, np.nan)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1.0)
    return adjusted


def benjamini_hochberg(p_values: Sequence[float] | Array) -> Array:
    """Adjusted p-values of Benjamini and Hochberg, for the share of false findings.

    NaN stays NaN and doesn't count.

    Source: Benjamini and Hochberg, Journal of the Royal Statistical Society B 1995.
    """
    from scipy.stats import false_discovery_control

    given = np.asarray(p_values, dtype=float)
    adjusted = np.full(given.shape, np.nan)
    known = ~np.isnan(given)
    if known.any():
        adjusted[known] = false_discovery_control(given[known])
    return adjusted


def _gaps(values_a: ArrayLike, values_b: ArrayLike) -> Array:
    first, second = np.asarray(values_a, dtype=float), np.asarray(values_b, dtype=float)
    _same_length(values_a=first, values_b=second)
    gaps: Array = first - second
    if not len(gaps) or not np.isfinite(gaps).all():
        raise DataError(
            ["every fold needs a finite value of both models"], "the comparison over folds"
        )
    return gaps


def _same_length(**arrays: np.ndarray) -> None:
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError([f"the arrays must have one shape, have {shapes}"], "the comparison")
