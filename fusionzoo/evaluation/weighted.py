"""Every metric as a function of case weights, for many weightings at once.

A point estimate is the metric at weights of one; a bootstrap replicate is the metric at the number
of times that each case was drawn. So there is one formula for both. `weights` is `replicates
cases`, every result `replicates`, with NaN where a metric is undefined. Labels hold no missing
value here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

#: Equal-width bins of the expected calibration error.
ECE_BINS = 10
#: Probabilities are kept this far from 0 in the log loss.
LOG_FLOOR = 1e-15
#: Up to so many (positive, negative) pairs, AUROCs are products of matrices instead of cumulated.
MOST_PAIRS = 90_000


def binary_metrics(
    labels: Labels, probs: Array, weights: Array, threshold: float | Array, names: Collection[str]
) -> dict[str, Array]:
    """Metrics of a two-class task.

    Args:
        labels: 0 or 1, `cases`.
        probs: Probability of class 1, `cases`.
        weights: `replicates cases`.
        threshold: A case is called positive where `probs >= threshold`; one number or one per case.
        names: Which metrics.
    """
    positive, called = labels == 1, probs >= threshold
    tp, fp, tn, fn = (
        weights @ cell.astype(float)
        for cell in (positive & called, ~positive & called, ~positive & ~called, positive & ~called)
    )
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    formulas: Mapping[str, Callable[[], Array]] = {
        "auroc": lambda: auroc(positive, probs, weights),
        "auprc": lambda: average_precision(positive, probs, weights),
        "accuracy": lambda: ratio(tp + tn, tp + fp + tn + fn),
        "f1": lambda: ratio(2 * tp, 2 * tp + fp + fn),
        "specificity": lambda: specificity,
        "sensitivity": lambda: sensitivity,
        "ppv": lambda: ratio(tp, tp + fp),
        "npv": lambda: ratio(tn, tn + fn),
        "balanced_accuracy": lambda: (sensitivity + specificity) / 2,
        "brier": lambda: ratio(weights @ (probs - labels) ** 2, weights.sum(axis=1)),
        "ece": lambda: calibration_error(labels, probs, weights),
        "log_loss": lambda: log_loss(np.where(positive, probs, 1 - probs), weights),
    }
    return {name: formulas[name]() for name in names}


def multiclass_metrics(
    labels: Labels, probs: Array, weights: Array, names: Collection[str]
) -> dict[str, Array]:
    """Metrics of a task with more classes: the most probable is called, macro means are unweighted.

    Args:
        labels: Class codes, `cases`.
        probs: `cases classes`.
        weights: `replicates cases`.
        names: Which metrics.
    """
    called = probs.argmax(axis=1)
    total = weights.sum(axis=1)
    classes = range(probs.shape[1])
    actual = np.stack([weights @ (labels == k).astype(float) for k in classes])
    chosen = np.stack([weights @ (called == k).astype(float) for k in classes])
    hit = np.stack([weights @ ((labels == k) & (called == k)).astype(float) for k in classes])
    formulas: Mapping[str, Callable[[], Array]] = {
        "auroc": lambda: np.mean(
            [auroc(labels == k, probs[:, k], weights) for k in classes], axis=0
        ),
        "accuracy": lambda: ratio(hit.sum(axis=0), total),
        "f1": lambda: ratio(2 * hit, actual + chosen).mean(axis=0),
        "specificity": lambda: ratio(total - actual - chosen + hit, total - actual).mean(axis=0),
        "sensitivity": lambda: ratio(hit, actual).mean(axis=0),
        "log_loss": lambda: log_loss(np.take_along_axis(probs, labels[:, None], 1)[:, 0], weights),
    }
    return {name: formulas[name]() for name in names}


def auroc(positive: NDArray[np.bool_], scores: Array, weights: Array) -> Array:
    """Weighted share of (positive, negative) pairs in the right order, ties counting one half.

    Whole weights give the same bits both ways: all sums are of whole numbers and halves.
    """
    if np.count_nonzero(positive) * np.count_nonzero(~positive) <= MOST_PAIRS:
        return _auroc_by_pairs(positive, scores, weights)
    positives, negatives = _mass(positive, scores, weights)
    below = np.cumsum(negatives, axis=1) - negatives
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return ratio((positives * (below + negatives / 2)).sum(axis=1), pairs)


def _auroc_by_pairs(positive: NDArray[np.bool_], scores: Array, weights: Array) -> Array:
    above, others = scores[positive][:, None], scores[~positive]
    order = (above > others) + 0.5 * (above == others)
    first, second = weights[:, positive], weights[:, ~positive]
    return ratio(((first @ order) * second).sum(axis=1), first.sum(axis=1) * second.sum(axis=1))


def average_precision(positive: NDArray[np.bool_], scores: Array, weights: Array) -> Array:
    """Sum over distinct thresholds of the precision times the gain in recall (no interpolation)."""
    positives, negatives = (mass[:, ::-1] for mass in _mass(positive, scores, weights))
    true = np.cumsum(positives, axis=1)
    called = true + np.cumsum(negatives, axis=1)
    precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    return ratio((positives * precision).sum(axis=1), positives.sum(axis=1))


def calibration_error(labels: Labels, probs: Array, weights: Array) -> Array:
    """Mean over cases of |share of positives - mean probability| in the case's probability bin."""
    bins = np.minimum((probs * ECE_BINS).astype(int), ECE_BINS - 1)
    members = bins[:, None] == np.arange(ECE_BINS)
    gaps = np.abs(weights @ (members * (labels - probs)[:, None])).sum(axis=1)
    return ratio(gaps, weights.sum(axis=1))


def log_loss(probs_of_label: Array, weights: Array) -> Array:
    """Mean of -log of the probability given to the true class."""
    return ratio(weights @ -np.log(np.maximum(probs_of_label, LOG_FLOOR)), weights.sum(axis=1))


def ratio(numerator: Array, denominator: Array) -> Array:
    """Quotient, NaN where the denominator is zero."""
    quotient = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=np.asarray(denominator) > 0)
    return quotient


def _mass(positive: NDArray[np.bool_], scores: Array, weights: Array) -> tuple[Array, Array]:
    # Weight of positives and of negatives at each distinct score, ascending.
    if not len(scores):
        return np.zeros((len(weights), 1)), np.zeros((len(weights), 1))
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    ordered = weights[:, order]
    positives = np.add.reduceat(ordered * positive[order], starts, axis=1)
    return positives, np.add.reduceat(ordered, starts, axis=1) - positives
