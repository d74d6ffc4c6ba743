"""Whether published figures can come from one set of predictions: arithmetic on printed digits.

Six metrics of a two-class row are functions of one confusion matrix, an AUROC is a number of
ordered pairs over all pairs, and an accuracy is a count over a count. So, given the class counts,
most rows can be checked without any data. What is found is about the printed figures alone: it
doesn't say why they are as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusionzoo.errors import BadOption, DataError
from fusionzoo.evaluation.metrics import METRICS, check_scored
from fusionzoo.evaluation.power import hanley_mcneil_se
from fusionzoo.evaluation.weighted import Array, ratio

#: Metrics that a confusion matrix determines.
FROM_MATRIX = tuple(
    metric.name for metric in METRICS.values() if metric.binary and metric.thresholded
)
#: So many of them must be printed before a matrix that fits all but one means anything.
LEAST_FOR_BLAME = 4
#: How far floating point may be off a bound of rounding.
_SLACK = 1e-9

Verdict: TypeAlias = Literal["consistent", "one figure wrong", "other cases", "impossible"]


@dataclass(frozen=True)
class Printed:
    """A figure as it is printed.

    Args:
        value: Its value, on the scale from 0 to 1 for a metric.
        decimals: Digits after the point on that scale.
    """

    value: float
    decimals: int

    def fits(self, exact: float | Array) -> NDArray[np.bool_]:
        """Which exact values could be printed so; a half may go up or down."""
        distance = np.abs(np.asarray(exact, float) - self.value)
        return np.asarray(distance <= 0.5 * 10.0**-self.decimals + _SLACK)

    def __str__(self) -> str:
        return f"{self.value:.{self.decimals}f}"


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix."""

    tp: int
    fp: int
    tn: int
    fn: int

    @property
    def positives(self) -> int:
        """Positive cases."""
        return self.tp + self.fn

    @property
    def negatives(self) -> int:
        """Negative cases."""
        return self.tn + self.fp

    def metric(self, name: str) -> float:
        """One of `FROM_MATRIX`, exactly; NaN where it is undefined."""
        cells = (np.array([cell], float) for cell in (self.tp, self.fp, self.tn, self.fn))
        return float(_metrics(*cells)[name][0])

    def __str__(self) -> str:
        return f"TP {self.tp}  FP {self.fp}  TN {self.tn}  FN {self.fn}"


@dataclass(frozen=True)
class Misprint:
    """A matrix that fits all figures but one.

    Args:
        metric: The one that it doesn't fit.
        printed: As printed.
        exact: What the matrix makes of it.
        matrix: The matrix.
    """

    metric: str
    printed: Printed
    exact: float
    matrix: Matrix


@dataclass(frozen=True)
class AurocSteps:
    """Which values an AUROC can take, and whether the printed one is among them.

    Args:
        printed: As printed.
        pairs: Pairs of a positive and a negative case.
        ordered: Numbers of ordered pairs that are printed so; with halves where ties are needed.
        standard_error: By Hanley and McNeil, from the value and the class counts.
    """

    printed: Printed
    pairs: int
    ordered: tuple[float, ...]
    standard_error: float

    @property
    def possible(self) -> Literal["yes", "with a tie", "no"]:
        """Whether untied scores can give it, or only scores with a tied pair, or none."""
        if not self.ordered:
            return "no"
        return "yes" if any(k == int(k) for k in self.ordered) else "with a tie"

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval that the standard error makes, within 0 and 1."""
        half = 1.959964 * self.standard_error
        return max(0.0, self.printed.value - half), min(1.0, self.printed.value + half)


@dataclass(frozen=True)
class RowAudit:
    """What the printed figures of one row can come from.

    Args:
        label: The row.
        positives: Positive cases that the table claims.
        negatives: Negative cases that it claims.
        verdict: `consistent`: a matrix over these cases fits every figure; `one figure wrong`: one
            fits all but one of them; `other cases`: only other class counts fit; `impossible`: no
            class counts do, up to the size that was searched.
        matrices: Those that fit every figure.
        misprints: Where there is none, those that fit all but one.
        elsewhere: Where there is neither, matrices over other class counts, fewest cases first.
        auroc: The AUROC's steps over the claimed cases, where an AUROC is printed.
        searched: Most cases of the search for other class counts; 0 where it wasn't needed.
    """

    label: str
    positives: int
    negatives: int
    verdict: Verdict
    matrices: tuple[Matrix, ...]
    misprints: tuple[Misprint, ...] = ()
    elsewhere: tuple[Matrix, ...] = ()
    auroc: AurocSteps | None = None
    searched: int = 0


def audit_row(
    label: str,
    printed: Mapping[str, Printed],
    positives: int,
    negatives: int,
    *,
    most_cases: int | None = None,
) -> RowAudit:
    """Check one row of a two-class table.

    Args:
        label: The row.
        printed: Figures by metric.
        positives: Positive cases of the test set.
        negatives: Its negative cases.
        most_cases: Where the row doesn't fit, other class counts are searched up to this many
            cases in total; twice the claimed number by default.

    Raises:
        BadOption: An empty class, or a metric that no confusion matrix or AUROC determines.
    """
    _check_counts(positives, negatives)
    unknown = [name for name in printed if name not in (*FROM_MATRIX, "auroc")]
    if unknown:
        raise BadOption(
            f"Row {label!r}: {', '.join(unknown)} can't be audited. These can: "
            f"{', '.join(('auroc', *FROM_MATRIX))}."
        )
    fixed = {name: value for name, value in printed.items() if name != "auroc"}
    auroc = auroc_steps(printed["auroc"], positives, negatives) if "auroc" in printed else None
    matrices = tuple(fitting_matrices(fixed, positives, negatives))
    if matrices:
        return RowAudit(label, positives, negatives, "consistent", matrices, auroc=auroc)
    misprints = tuple(_misprints(fixed, positives, negatives))
    if misprints:
        return RowAudit(label, positives, negatives, "one figure wrong", (), misprints, auroc=auroc)
    limit = most_cases or 2 * (positives + negatives)
    elsewhere = tuple(_other_counts(fixed, limit))
    verdict: Verdict = "other cases" if elsewhere else "impossible"
    return RowAudit(
        label, positives, negatives, verdict, (), (), elsewhere, auroc=auroc, searched=limit
    )


def fitting_matrices(
    printed: Mapping[str, Printed], positives: int, negatives: int
) -> Iterator[Matrix]:
    """Every confusion matrix over these cases whose metrics are printed so."""
    tp, fp = np.meshgrid(np.arange(positives + 1.0), np.arange(negatives + 1.0), indexing="ij")
    exact = _metrics(tp, fp, negatives - fp, positives - tp)
    fits = np.ones(tp.shape, bool)
    for name, figure in printed.items():
        fits &= figure.fits(exact[name])
        if not fits.any():
            return
    for hits, alarms in np.argwhere(fits):
        yield Matrix(int(hits), int(alarms), negatives - int(alarms), positives - int(hits))


def auroc_steps(printed: Printed, positives: int, negatives: int) -> AurocSteps:
    """Which numbers of ordered pairs are printed so: whole ones, and halves where none is."""
    _check_counts(positives, negatives)
    pairs = positives * negatives
    whole, half = np.arange(pairs + 1.0), np.arange(0.5, pairs)
    ordered = whole[printed.fits(whole / pairs)]
    if not len(ordered):
        ordered = half[printed.fits(half / pairs)]
    standard_error = hanley_mcneil_se(min(max(printed.value, 0.0), 1.0), positives, negatives)
    return AurocSteps(printed, pairs, tuple(map(float, ordered)), standard_error)


def accuracy_counts(printed: Printed, cases: int) -> tuple[int, ...]:
    """How many of `cases` right answers an accuracy can stand for; any number of classes."""
    if cases < 1:
        raise BadOption(f"An accuracy needs cases; {cases} were given.")
    counts = np.arange(cases + 1)
    return tuple(map(int, counts[printed.fits(counts / cases)]))


@dataclass(frozen=True)
class ThresholdEvidence:
    """Where a matrix lies among all that per-case predictions can give.

    Args:
        matrix: The matrix.
        low: It arises for thresholds above this probability.
        high: And up to this one, where a case is positive from the threshold on.
        best: Criteria that it is the maximum of over all thresholds on these very cases.
        at_half: The matrix at a threshold of 0.5.
        auroc: AUROC of the predictions.
    """

    matrix: Matrix
    low: float
    high: float
    best: tuple[str, ...]
    at_half: Matrix
    auroc: float


def threshold_evidence(
    labels: ArrayLike, probs: ArrayLike, tp: int, fp: int
) -> ThresholdEvidence | None:
    """Which thresholds give `tp` true and `fp` false positives; None where none does.

    A matrix that is the best of all on the test cases themselves is what choosing the threshold on
    them would give. It isn't proof: a threshold from other data can lie in the same interval.

    Raises:
        DataError: The arrays don't fit, or a class has no case.
    """
    scored = check_scored(labels, probs)
    positive = scored.labels == 1
    _check_both(positive)
    distinct = np.unique(scored.probs)
    cuts = np.append(distinct, math.inf)
    called = scored.probs >= cuts[:, None]
    hits, alarms = (called & positive).sum(axis=1), (called & ~positive).sum(axis=1)
    found = np.flatnonzero((hits == tp) & (alarms == fp))
    if not len(found):
        return None
    at = int(found[0])
    positives, negatives = int(positive.sum()), int((~positive).sum())
    criteria = {
        "Youden's index": hits / positives - alarms / negatives,
        "accuracy": (hits + negatives - alarms) / len(positive),
        "F1": 2 * hits / (hits + alarms + positives),
    }
    best = tuple(name for name, gain in criteria.items() if gain[at] >= gain.max() - _SLACK)
    low = float(distinct[at - 1]) if at else 0.0
    half = scored.probs >= 0.5
    hits_half, alarms_half = int((half & positive).sum()), int((half & ~positive).sum())
    return ThresholdEvidence(
        Matrix(tp, fp, negatives - fp, positives - tp),
        low,
        float(min(cuts[at], 1.0)),
        best,
        Matrix(hits_half, alarms_half, negatives - alarms_half, positives - hits_half),
        float(scored.replicates(np.ones((1, len(positive))), 0.5, ["auroc"])["auroc"][0]),
    )


def _metrics(tp: Array, fp: Array, tn: Array, fn: Array) -> dict[str, Array]:
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    return {
        "accuracy": ratio(tp + tn, tp + fp + tn + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "specificity": specificity,
        "sensitivity": sensitivity,
        "ppv": ratio(tp, tp + fp),
        "npv": ratio(tn, tn + fn),
        "balanced_accuracy": (sensitivity + specificity) / 2,
    }


def _misprints(
    printed: Mapping[str, Printed], positives: int, negatives: int
) -> Iterator[Misprint]:
    if len(printed) < LEAST_FOR_BLAME:
        return
    for name, figure in printed.items():
        others = {other: value for other, value in printed.items() if other != name}
        for matrix in fitting_matrices(others, positives, negatives):
            yield Misprint(name, figure, matrix.metric(name), matrix)


def _other_counts(printed: Mapping[str, Printed], most_cases: int) -> Iterator[Matrix]:
    """Matrices over any class counts, fewest cases first."""
    if not printed:
        return
    for cases in range(2, most_cases + 1):
        for positives in range(1, cases):
            yield from fitting_matrices(printed, positives, cases - positives)


def _check_counts(positives: int, negatives: int) -> None:
    if positives < 1 or negatives < 1:
        raise BadOption(
            f"Both classes need cases; {positives} positive and {negatives} negative were given."
        )


def _check_both(positive: NDArray[np.bool_]) -> None:
    if positive.all() or not positive.any():
        raise DataError(
            [
                f"{int(positive.sum())} of {len(positive)} cases are positive; both classes are "
                "needed"
            ],
            "the predictions",
        )


__all__ = [
    "FROM_MATRIX",
    "AurocSteps",
    "Matrix",
    "Misprint",
    "Printed",
    "RowAudit",
    "ThresholdEvidence",
    "accuracy_counts",
    "audit_row",
    "auroc_steps",
    "fitting_matrices",
    "threshold_evidence",
]
