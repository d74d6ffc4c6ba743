"""Several folds of one spec: mean and sample standard deviation of every metric over the folds.

The deviation is that of the folds' values, with n - 1 in the denominator. It says how far one fold
is from another, and not how well the mean is known: folds share their training cases, so that it is
no standard error even when divided by the root of n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fusionzoo.errors import RunError
from fusionzoo.evaluation.results import Evaluation

#: What evaluations of the folds of one table have in common.
_SHARED = ("part", "threshold_rule", "binary")


@dataclass(frozen=True)
class Spread:
    """One metric over folds.

    Args:
        mean: Unweighted mean over folds; NaN where a fold has no value.
        sd: Sample standard deviation; NaN for one fold too.
        values: By fold.
        reason: Why there is no mean.
    """

    mean: float
    sd: float
    values: Mapping[int, float]
    reason: str = ""

    def __str__(self) -> str:
        """'0.941 ± 0.021', '0.941' of one fold, '-' without a mean."""
        if math.isnan(self.mean):
            return "-"
        return f"{self.mean:.3f}" if math.isnan(self.sd) else f"{self.mean:.3f} ± {self.sd:.3f}"


@dataclass(frozen=True)
class FoldRow:
    """One output's metrics for one task.

    Args:
        task: The task, or the mean over tasks.
        output: The output.
        metrics: Each metric over folds.
        num_cases: Cases that were scored, by fold.
    """

    task: str
    output: str
    metrics: Mapping[str, Spread]
    num_cases: Mapping[int, int]


def over_folds(evaluations: Mapping[int, Evaluation]) -> tuple[FoldRow, ...]:
    """Every row of the folds' evaluations, in the order of the first one.

    Args:
        evaluations: One per fold, by the fold's number.

    Raises:
        RunError: There is none, or they were not scored alike; says in what they differ.

    Example:
        >>> from fusionzoo.evaluation.folds import spread
        >>> print(spread({0: 0.90, 1: 0.94, 2: 0.92}))
        0.920 ± 0.020
    """
    _refuse_unlike(evaluations)
    first = next(iter(evaluations.values()))
    rows = []
    for row in first.results:
        own = {fold: found.row(row.task, row.output) for fold, found in evaluations.items()}
        metrics = {
            name: spread({fold: one.metrics[name].value for fold, one in own.items()})
            for name in row.metrics
        }
        cases = {fold: one.num_cases for fold, one in own.items()}
        rows.append(FoldRow(row.task, row.output, metrics, cases))
    return tuple(rows)


def spread(values: Mapping[int, float]) -> Spread:
    """Mean and sample standard deviation of a value per fold."""
    undefined = [str(fold) for fold, value in values.items() if math.isnan(value)]
    if undefined or not values:
        where = f"undefined in fold {', '.join(undefined)}" if values else "no fold"
        return Spread(math.nan, math.nan, dict(values), where)
    found = np.array(list(values.values()))
    sd = float(found.std(ddof=1)) if len(found) > 1 else math.nan
    return Spread(float(found.mean()), sd, dict(values))


def _refuse_unlike(evaluations: Mapping[int, Evaluation]) -> None:
    if not evaluations:
        raise RunError("There is no fold to average. Give the evaluation of one fold or more.")
    told = {
        name: {fold: str(getattr(one, name)) for fold, one in evaluations.items()}
        for name in _SHARED
    }
    told["rows"] = {
        fold: ", ".join(f"{row.task}/{row.output}" for row in one.results)
        for fold, one in evaluations.items()
    }
    unlike = [
        f"{name} ({'; '.join(f'fold {fold}: {value}' for fold, value in values.items())})"
        for name, values in told.items()
        if len(set(values.values())) > 1
    ]
    if unlike:
        raise RunError(
            f"The folds were not scored alike, they differ in {' and in '.join(unlike)}. "
            "Score all of them in the same way."
        )


__all__ = ["FoldRow", "Spread", "over_folds", "spread"]
