"""Every model of a board against every other one, corrected for how many comparisons that makes.

A pair's standard error comes from deviations d that all models share: replicates of the same draws
of patients (the paired bootstrap, `pairs_by_cases`), or values on the same folds (the corrected
t-test, `pairs_by_folds`):

    se_ij = sqrt(scale sum_k ((d_ik - m_i) - (d_jk - m_j))^2 / (K - 1))
    t_ij = (v_i - v_j) / se_ij

The best of a board is found by looking at all of them, so all n (n - 1) / 2 comparisons count, not
only the n - 1 with the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusionzoo.errors import BadOption, DataError
from fusionzoo.evaluation.bootstrap import MIN_DEFINED
from fusionzoo.evaluation.comparison import benjamini_hochberg, holm
from fusionzoo.evaluation.pooled import FoldMean, detectable_from_se
from fusionzoo.evaluation.weighted import Array

#: Holm's, for the chance of any false finding; Benjamini and Hochberg's, for the share of them.
CORRECTIONS = ("holm", "bh")
#: With more models than this, p-values are corrected by Bonferroni's bound, which needs only the
#: comparisons that are looked at. Holm's p-values are never above it.
MOST_MODELS = 500


@dataclass(frozen=True)
class Pairs:
    """Comparisons of every model with every other one.

    Args:
        values: Each model's value.
        deviations: `models K`; NaN where undefined.
        scale: Factor of the variance of a difference.
        df: Degrees of freedom.
        correction: One of `CORRECTIONS`.

    Raises:
        BadOption: There is no such correction.
    """

    values: Array
    deviations: Array
    scale: float
    df: int
    correction: str = "holm"

    def __post_init__(self) -> None:
        if self.correction not in CORRECTIONS:
            raise BadOption(
                f"There is no correction {self.correction!r}. Use one of: {', '.join(CORRECTIONS)}."
            )

    @property
    def count(self) -> int:
        """Number of comparisons, n (n - 1) / 2."""
        return len(self.values) * (len(self.values) - 1) // 2

    @property
    def method(self) -> str:
        """`holm`, `bh`, or `bonferroni` where there are too many models."""
        return self.correction if len(self.values) <= MOST_MODELS else "bonferroni"

    def se(self, model: int, others: Sequence[int] | NDArray[np.int64]) -> Array:
        """Standard error of the difference to each of `others`; NaN where there is none."""
        few = len(self.values) <= MOST_MODELS
        found = self._all_se[model] if few else self._se_of(np.array([model]))[0]
        return np.asarray(found[np.asarray(others, dtype=int)])

    def p(self, model: int, others: Sequence[int] | NDArray[np.int64]) -> Array:
        """Two-sided p-values, not corrected; 1 for equal models, NaN where there is none."""
        from scipy.stats import t as student

        gaps = np.abs(self.values[np.asarray(others, dtype=int)] - self.values[model])
        se = self.se(model, others)
        statistic = np.divide(gaps, se, out=np.full_like(gaps, np.nan), where=se > 0)
        # Rounding leaves equal models with differences near 1e-16.
        equal = (se == 0) & (gaps <= 1e-12)
        return np.asarray(np.where(equal, 1.0, 2 * student.sf(statistic, self.df)))

    def adjusted(self, model: int, others: Sequence[int] | NDArray[np.int64]) -> Array:
        """P-values corrected over all comparisons of the board."""
        if self.method == "bonferroni":
            return np.minimum(self.p(model, others) * self.count, 1.0)
        return np.asarray(self._all[model, np.asarray(others, dtype=int)])

    def typical_se(self) -> float:
        """Median standard error over pairs; above `MOST_MODELS`, over those with the best."""
        n = len(self.values)
        if n > MOST_MODELS:
            found = self.se(int(np.nanargmax(self.values)), range(n))
        else:
            found = self._all_se[np.tril_indices(n, -1)]
        known = found[np.isfinite(found) & (found > 0)]
        return float(np.median(known)) if len(known) else math.nan

    def detectable(self, *, power: float = 0.8, alpha: float = 0.05) -> float:
        """The smallest true difference that a typical comparison finds; NaN where there is none."""
        se = self.typical_se()
        if math.isnan(se):
            return math.nan
        return detectable_from_se(se, self.df, power=power, alpha=alpha)

    @cached_property
    def _centred(self) -> tuple[Array, Array, Array]:
        """Deviations from each model's mean, 0 where undefined; squared; 1 where defined."""
        known = np.isfinite(self.deviations)
        filled = np.where(known, self.deviations, 0.0)
        means = filled.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        filled = np.where(known, filled - means[:, None], 0.0)
        return filled, filled**2, known.astype(float)

    def _se_of(self, models: NDArray[np.int64]) -> Array:
        """Standard errors of `models` against every model."""
        filled, squared, known = self._centred
        some = known[models]
        counts = some @ known.T
        sums = filled[models] @ known.T - some @ filled.T
        squares = squared[models] @ known.T + some @ squared.T - 2 * filled[models] @ filled.T
        variance = (squares - sums**2 / np.maximum(counts, 1)) / np.maximum(counts - 1, 1)
        # What cancelled to less than rounding is nothing.
        own = squared.mean(axis=1)
        variance[variance <= 1e-12 * (own + own[models][:, None])] = 0.0
        usable = (counts >= MIN_DEFINED * known.shape[1]) & (counts > 1) & (self.df > 0)
        return np.where(usable, np.sqrt(self.scale * variance), np.nan)

    @cached_property
    def _all_se(self) -> Array:
        """Standard errors of all pairs, `models models`."""
        return self._se_of(np.arange(len(self.values)))

    @cached_property
    def _all(self) -> Array:
        """Corrected p-values of all pairs, `models models`."""
        n = len(self.values)
        rows, columns = np.tril_indices(n, -1)
        raw = np.concatenate([self.p(i, range(i)) for i in range(n)] or [np.empty(0)])
        correct = holm if self.correction == "holm" else benjamini_hochberg
        matrix = np.full((n, n), np.nan)
        matrix[rows, columns] = matrix[columns, rows] = correct(raw)
        return matrix


def pairs_by_cases(
    models: Sequence[FoldMean], num_patients: int, correction: str = "holm"
) -> Pairs:
    """Comparisons of trained models on the patients they were tested on: the paired bootstrap.

    Student's t with one degree of freedom less than there are patients, as `paired_difference`.

    Args:
        models: One metric of each model, over the same folds of one pool.
        num_patients: Patients of the pool.
        correction: `holm` or `bh`.

    Raises:
        DataError: The models are over different folds.
    """
    if len({tuple(model.by_fold) for model in models}) > 1:
        raise DataError(["the models are over different folds"], "the comparisons")
    values = np.array([model.value for model in models], dtype=float)
    drawn = np.array([model.drawn for model in models], dtype=float).reshape(len(models), -1)
    scale = num_patients / (num_patients - 1) if num_patients > 1 else math.nan
    return Pairs(values, drawn, scale, num_patients - 1, correction)


def pairs_by_folds(values: ArrayLike, *, test_share: float, correction: str = "holm") -> Pairs:
    """Comparisons of methods trained anew: Nadeau and Bengio's corrected t-test for every pair.

    Args:
        values: A metric, `models folds`.
        test_share: Share of the cases that a fold tests.
        correction: `holm` or `bh`.

    Raises:
        DataError: The share is not between 0 and 1, or the values are no table.
    """
    table = np.asarray(values, dtype=float)
    problems = []
    if table.ndim != 2 or not table.shape[1]:
        problems.append(f"values must be models x folds, have shape {table.shape}")
    if not 0 < test_share < 1:
        problems.append(f"test_share must lie between 0 and 1, is {test_share}")
    if problems:
        raise DataError(problems, "the comparisons over folds")
    folds = table.shape[1]
    scale = 1 / folds + test_share / (1 - test_share)
    return Pairs(table.mean(axis=1), table, scale, folds - 1, correction)


__all__ = ["CORRECTIONS", "MOST_MODELS", "Pairs", "pairs_by_cases", "pairs_by_folds"]
