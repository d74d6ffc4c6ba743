"""Variance of AUROCs and the paired test of two of them on the same cases.

With one case a patient: DeLong, DeLong and Clarke-Pearson, Biometrics 1988, computed by midranks as
in Sun and Xu, IEEE Signal Processing Letters 2014. Where patients repeat: the clustered form of
Obuchowski, Biometrics 1997, which is the same thing when they don't. With M positives X and N
negatives Y, psi(x, y) = 1, 1/2 or 0 for x >, = or < y:

    V10(X_i) = mean_j psi(X_i, Y_j)      V01(Y_j) = mean_i psi(X_i, Y_j)      A = mean_i V10(X_i)

and, with sums over the cases of each patient p, a_p = sum V10(X) - m_p A and b_p = sum V01(Y) - n_p
A,

    var A = S10 / M + S01 / N + 2 S11 / (M N)
    S10 = I10 / ((I10 - 1) M) sum_p a_p^2    S01 = I01 / ((I01 - 1) N) sum_p b_p^2    S11 = I / (I -
    1) sum_p a_p b_p

over I patients, of whom I10 have positives and I01 negatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusionzoo.errors import DataError
from fusionzoo.evaluation.metrics import check_scored
from fusionzoo.evaluation.weighted import Array

DELONG = "DeLong 1988"
CLUSTERED = "Obuchowski 1997 (patients repeat)"


@dataclass(frozen=True)
class AurocEstimate:
    """An AUROC with its standard error; NaN with a reason where there is none.

    Args:
        auroc: The AUROC.
        se: Its standard error.
        method: `DELONG` or `CLUSTERED`.
        reason: Why it has none.
    """

    auroc: float
    se: float
    method: str
    reason: str = ""


@dataclass(frozen=True)
class AurocComparison:
    """Two models' AUROCs on the same cases, first minus second.

    Args:
        auroc_a: The first model's.
        auroc_b: The second model's.
        difference: `auroc_a - auroc_b`.
        se: Standard error of the difference.
        low: Lower limit, difference - z se.
        high: Upper limit.
        p: Two-sided p-value of a difference of zero.
        correlation: Correlation of the two AUROCs.
        method: `DELONG` or `CLUSTERED`.
        reason: Why something of it is undefined.
    """

    auroc_a: float
    auroc_b: float
    difference: float
    se: float
    low: float
    high: float
    p: float
    correlation: float
    method: str
    reason: str = ""

    def detectable(self, *, power: float = 0.8, alpha: float = 0.05) -> float:
        """Smallest true difference that this test finds: (z_alpha/2 + z_power) se."""
        return (_z(1 - alpha / 2) + _z(power)) * self.se


def auroc_estimate(
    labels: ArrayLike, probs: ArrayLike, groups: ArrayLike | None = None
) -> AurocEstimate:
    """AUROC and standard error.

    Args:
        labels: 0, 1, or -1 where missing, `cases`.
        probs: Scores of class 1 between 0 and 1, `cases`.
        groups: Patient of each case; None if each is another one.

    Raises:
        DataError: The arrays don't fit or hold impossible values.
    """
    aurocs, covariance, method, reason = _estimate(labels, [probs], groups)
    se = _root(covariance[0, 0])
    return AurocEstimate(
        float(aurocs[0]), se, method, reason or ("" if se else "the scores separate perfectly")
    )


def compare_aurocs(
    labels: ArrayLike,
    probs_a: ArrayLike,
    probs_b: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> AurocComparison:
    """The paired test of two models' AUROCs.

    Args:
        labels: 0, 1, or -1 where missing, `cases`.
        probs_a: The first model's scores, `cases`.
        probs_b: The second model's, for the same cases in the same order.
        groups: Patient of each case; None if each is another one.
        level: Confidence of the interval.

    Raises:
        DataError: The arrays don't fit or hold impossible values.
    """
    aurocs, covariance, method, reason = _estimate(labels, [probs_a, probs_b], groups)
    gap = float(aurocs[0] - aurocs[1])
    # Rounding can leave a variance of -1e-20 where the two models order all cases alike.
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    scale = covariance[0, 0] + covariance[1, 1]
    se = 0.0 if abs(variance) <= 1e-12 * scale else _root(variance)
    if se == 0 and gap != 0:
        reason = "the difference has no variance"
    p = _two_sided(gap, se)
    margin = _z((1 + level) / 2) * se if not reason else math.nan
    spread = math.sqrt(covariance[0, 0] * covariance[1, 1]) if not math.isnan(se) else 0.0
    correlation = float(covariance[0, 1] / spread) if spread > 0 else math.nan
    return AurocComparison(
        float(aurocs[0]),
        float(aurocs[1]),
        gap,
        se,
        gap - margin,
        gap + margin,
        p,
        correlation,
        method,
        reason,
    )


def mean_over_folds(
    comparisons: Sequence[AurocComparison], *, level: float = 0.95
) -> AurocComparison:
    """The mean of one comparison per fold, for models as they were trained.

    The folds' test sets have no patient in common, so variances add: se = sqrt(sum se_k^2) / K.

    Args:
        comparisons: One per fold.
        level: Confidence of the interval.

    Raises:
        DataError: There is none.
    """
    if not comparisons:
        raise DataError(["there is no fold to average"], "the comparison of AUROCs")
    folds = len(comparisons)
    gap = sum(one.difference for one in comparisons) / folds
    se = math.sqrt(sum(one.se**2 for one in comparisons)) / folds
    reason = "; ".join(dict.fromkeys(one.reason for one in comparisons if one.reason))
    margin = _z((1 + level) / 2) * se if not reason else math.nan
    methods = [one.method for one in comparisons]
    return AurocComparison(
        sum(one.auroc_a for one in comparisons) / folds,
        sum(one.auroc_b for one in comparisons) / folds,
        gap,
        se,
        gap - margin,
        gap + margin,
        _two_sided(gap, se),
        sum(one.correlation for one in comparisons) / folds,
        CLUSTERED if CLUSTERED in methods else DELONG,
        reason,
    )


def auroc_covariance(labels: ArrayLike, probs: ArrayLike, groups: ArrayLike) -> tuple[Array, Array]:
    """AUROCs of several models on the same cases, and their covariance.

    Args:
        labels: 0 or 1, `cases`; two of each at least, from two patients each.
        probs: `models cases`.
        groups: Patient of each case.

    Returns:
        `models` and `models models`.
    """
    positive = np.asarray(labels) == 1
    scores = np.asarray(probs, dtype=float)
    v10, v01 = placements(scores[:, positive], scores[:, ~positive])
    aurocs = v10.mean(axis=1)
    patients, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    a = _patient_sums(v10 - aurocs[:, None], codes[positive], len(patients))
    b = _patient_sums(v01 - aurocs[:, None], codes[~positive], len(patients))
    m, n, i = v10.shape[1], v01.shape[1], len(patients)
    i10, i01 = len(np.unique(codes[positive])), len(np.unique(codes[~positive]))
    s10 = i10 / ((i10 - 1) * m) * (a @ a.T)
    s01 = i01 / ((i01 - 1) * n) * (b @ b.T)
    s11 = i / (i - 1) * (a @ b.T)
    return aurocs, s10 / m + s01 / n + (s11 + s11.T) / (m * n)


def placements(positives: Array, negatives: Array) -> tuple[Array, Array]:
    """V10 and V01 of several models by midranks, in O(cases log cases).

    Args:
        positives: `models positives`.
        negatives: `models negatives`.

    Returns:
        `models positives` and `models negatives`.
    """
    m, n = positives.shape[1], negatives.shape[1]
    joint = _midranks(np.concatenate([positives, negatives], axis=1))
    v10 = (joint[:, :m] - _midranks(positives)) / n
    v01 = 1 - (joint[:, m:] - _midranks(negatives)) / m
    return v10, v01


def _midranks(rows: Array) -> Array:
    ranks = []
    for row in rows:
        ordered = np.sort(row)
        ranks.append(
            (np.searchsorted(ordered, row, "left") + np.searchsorted(ordered, row, "right") + 1) / 2
        )
    return np.stack(ranks)


def _estimate(
    labels: ArrayLike, models: list[ArrayLike], groups: ArrayLike | None
) -> tuple[Array, Array, str, str]:
    checked = [check_scored(labels, probs) for probs in models]
    first = checked[0]
    if not all(scored.binary for scored in checked):
        raise DataError(
            ["DeLong's test is for two classes, the probabilities have more"], "the predictions"
        )
    given = np.arange(len(first.kept)) if groups is None else np.asarray(groups)
    if given.shape != first.kept.shape:
        raise DataError(
            [f"labels have shape {first.kept.shape}, groups {given.shape}"], "the predictions"
        )
    patients = given.astype(str)[first.kept]
    method = CLUSTERED if len(np.unique(patients)) < len(patients) else DELONG
    for code, word in ((1, "positive"), (0, "negative")):
        if len(np.unique(patients[first.labels == code])) < 2:
            undefined = np.full((len(models), len(models)), np.nan)
            return undefined[0], undefined, method, f"fewer than two patients with a {word} case"
    scores = np.stack([scored.probs for scored in checked])
    return *auroc_covariance(first.labels, scores, patients), method, ""


def _patient_sums(values: Array, codes: NDArray[np.int64], num_patients: int) -> Array:
    return np.stack([np.bincount(codes, weights=row, minlength=num_patients) for row in values])


def _two_sided(gap: float, se: float) -> float:
    if se == 0:
        return 1.0 if gap == 0 else math.nan
    return math.erfc(abs(gap) / se / math.sqrt(2))


def _root(variance: float) -> float:
    return math.sqrt(max(float(variance), 0.0)) if not math.isnan(variance) else math.nan


def _z(probability: float) -> float:
    return NormalDist().inv_cdf(probability)
