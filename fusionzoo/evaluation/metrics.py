"""Metrics of per-case probabilities: what each is, its value, and the reason where it has none.

A class code of -1 is a missing label and the case is left out. An undefined metric is NaN with a
reason, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusionzoo.errors import BadOption, DataError, nearest
from fusionzoo.evaluation.weighted import (
    ECE_BINS,
    Array,
    Labels,
    binary_metrics,
    multiclass_metrics,
)


@dataclass(frozen=True)
class Metric:
    """What a metric is.

    Args:
        name: What records call it.
        label: What tables and plots call it.
        higher_is_better: Which direction is good.
        low: Smallest value it can take.
        high: Largest value it can take, None where there is no limit.
        binary: Its formula for two classes, class 1 being positive; empty where it has none.
        multiclass: Its formula for more classes; empty where it has none.
        thresholded: Whether its two-class value depends on the threshold.
    """

    name: str
    label: str
    higher_is_better: bool
    low: float
    high: float | None
    binary: str
    multiclass: str
    thresholded: bool


def _metric(name: str, label: str, binary: str, multiclass: str = "", **facts: Any) -> Metric:
    given = {"higher_is_better": True, "low": 0.0, "high": 1.0, "thresholded": True, **facts}
    return Metric(name, label, binary=binary, multiclass=multiclass, **given)


_DEFINED = (
    _metric(
        "auroc",
        "AUROC",
        "share of (positive, negative) pairs in the right order, ties one half",
        "mean over classes of one-vs-rest AUROC",
        thresholded=False,
    ),
    _metric(
        "accuracy", "ACC", "(TP + TN) / n", "share of cases whose most probable class is right"
    ),
    _metric("f1", "F1", "2 TP / (2 TP + FP + FN)", "mean over classes of one-vs-rest F1"),
    _metric(
        "specificity",
        "Specificity",
        "TN / (TN + FP)",
        "mean over classes of one-vs-rest specificity",
    ),
    _metric(
        "sensitivity",
        "Sensitivity",
        "TP / (TP + FN)",
        "mean over classes of one-vs-rest sensitivity",
    ),
    _metric("ppv", "PPV", "TP / (TP + FP)"),
    _metric("npv", "NPV", "TN / (TN + FN)"),
    _metric("balanced_accuracy", "Balanced ACC", "(sensitivity + specificity) / 2"),
    _metric(
        "auprc",
        "AUPRC",
        "average precision: sum of precision times gain in recall",
        thresholded=False,
    ),
    _metric(
        "brier",
        "Brier",
        "mean of (probability - label)^2",
        higher_is_better=False,
        thresholded=False,
    ),
    _metric(
        "ece",
        "ECE",
        f"mean over cases of |share of positives - mean probability| in {ECE_BINS} equal bins",
        higher_is_better=False,
        thresholded=False,
    ),
    _metric(
        "log_loss",
        "Log loss",
        "mean of -log(probability of the true class)",
        "mean of -log(probability of the true class)",
        higher_is_better=False,
        high=None,
        thresholded=False,
    ),
)

#: Every metric by name, in the order of tables.
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _DEFINED}
BINARY = tuple(metric.name for metric in _DEFINED if metric.binary)
MULTICLASS = tuple(metric.name for metric in _DEFINED if metric.multiclass)


@dataclass(frozen=True)
class Score:
    """A metric's value; NaN with the reason where it is undefined."""

    value: float
    reason: str = ""


@dataclass(frozen=True)
class Scored:
    """Checked labels and probabilities of the labelled cases.

    Args:
        labels: Class codes, `cases`.
        probs: `cases` (of class 1) for two classes, `cases classes` for more.
        kept: Which of the cases given have a label.
    """

    labels: Labels
    probs: Array
    kept: NDArray[np.bool_]

    @property
    def binary(self) -> bool:
        """Whether the task has two classes."""
        return self.probs.ndim == 1

    @property
    def num_classes(self) -> int:
        """Classes of the task."""
        return 2 if self.binary else self.probs.shape[1]

    @property
    def names(self) -> tuple[str, ...]:
        """Metrics that the task has."""
        return BINARY if self.binary else MULTICLASS

    def replicates(
        self, weights: Array, threshold: float | Array, names: Sequence[str]
    ) -> dict[str, Array]:
        """Each metric for each row of `weights` (`replicates cases`)."""
        if self.binary:
            return binary_metrics(self.labels, self.probs, weights, threshold, names)
        return multiclass_metrics(self.labels, self.probs, weights, names)

    def called(self, threshold: float | Array) -> Labels:
        """The predicted class of each case."""
        if self.binary:
            return (self.probs >= threshold).astype(np.int64)
        return np.asarray(self.probs.argmax(axis=1), dtype=np.int64)


def check_scored(labels: ArrayLike, probs: ArrayLike) -> Scored:
    """Check labels and probabilities and leave out cases without a label.

    Args:
        labels: Class codes, `cases`; -1 where missing.
        probs: `cases` (probability of class 1) or `cases classes`.

    Raises:
        DataError: Lengths differ, a label is no class code, or a value is no probability.
    """
    codes, given = np.asarray(labels), np.asarray(probs, dtype=float)
    problems = []
    if given.ndim not in (1, 2) or codes.shape != given.shape[:1]:
        raise DataError(
            [f"labels have shape {codes.shape}, probabilities {given.shape}"], "the predictions"
        )
    num_classes = 2 if given.ndim == 1 else given.shape[1]
    strange = sorted({int(code) for code in codes if code not in range(-1, num_classes)})
    if strange:
        problems.append(
            f"labels {strange} are not among the class codes 0 to {num_classes - 1} (or -1)"
        )
    wrong = given[~((given >= 0) & (given <= 1))]
    if wrong.size:
        problems.append(
            f"{wrong.size} values are no probabilities between 0 and 1, for example {wrong[0]}"
        )
    if problems:
        raise DataError(problems, "the predictions")
    kept = codes >= 0
    used = given[:, 1] if given.ndim == 2 and num_classes == 2 else given
    return Scored(codes[kept].astype(np.int64), used[kept], kept)


def check_names(names: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The metrics asked for, all of them where None.

    Raises:
        BadOption: One of them is not a metric of this kind of task.
    """
    for name in names or ():
        if name not in known:
            hint = nearest(name, known)
            raise BadOption(
                f"No metric of this task is called {name!r}. {hint}It has: {', '.join(known)}."
            )
    return tuple(known if names is None else names)


def compute_metrics(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    threshold: float | Array = 0.5,
    names: Sequence[str] | None = None,
) -> dict[str, Score]:
    """Metrics of one set of cases.

    Args:
        labels: Class codes, `cases`; cases with -1 are left out.
        probs: `cases` (probability of class 1) or `cases classes`.
        threshold: Positive where `probs >= threshold`; one number or one per case; two-class tasks
            only.
        names: Which metrics, all that the task has by default.

    Returns:
        One `Score` per metric, NaN with a reason where it is undefined.

    Raises:
        DataError: The arrays don't fit or hold impossible values.
        BadOption: A metric that the task doesn't have.

    Example:
        >>> compute_metrics([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])["auroc"].value
        0.75
    """
    scored = check_scored(labels, probs)
    chosen = check_names(names, scored.names)
    cut = threshold if np.ndim(threshold) == 0 else np.asarray(threshold)[scored.kept]
    values = scored.replicates(np.ones((1, len(scored.labels))), cut, chosen)
    return {name: _score(name, float(values[name][0]), scored, cut) for name in chosen}


def _score(name: str, value: float, scored: Scored, threshold: float | Array) -> Score:
    return (
        Score(value)
        if np.isfinite(value)
        else Score(np.nan, why_undefined(name, scored, threshold))
    )


def why_undefined(name: str, scored: Scored, threshold: float | Array) -> str:
    """The reason why a metric has no value on these cases."""
    if not len(scored.labels):
        return "no labelled case"
    counts = np.bincount(scored.labels, minlength=scored.num_classes)
    called = np.bincount(scored.called(threshold), minlength=scored.num_classes)
    if not scored.binary:
        return f"no case of class {', '.join(str(k) for k in np.flatnonzero(counts == 0))}"
    if name == "ppv":
        return "no case is called positive"
    if name == "npv":
        return "no case is called negative"
    if name == "f1" and not called[1]:
        return "no positive case and none called positive"
    return "no positive case" if not counts[1] else "no negative case"


def confusion_matrix(
    labels: ArrayLike, probs: ArrayLike, *, threshold: float | Array = 0.5
) -> NDArray[np.int64]:
    """Counts of labelled cases, `true class, called class`; arguments as in `compute_metrics`."""
    scored = check_scored(labels, probs)
    cut = threshold if np.ndim(threshold) == 0 else np.asarray(threshold)[scored.kept]
    matrix = np.zeros((scored.num_classes, scored.num_classes), dtype=np.int64)
    np.add.at(matrix, (scored.labels, scored.called(cut)), 1)
    return matrix
