"""The threshold of a two-class task, chosen on validation data and never on scored cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fusionzoo.errors import BadOption, nearest
from fusionzoo.evaluation.metrics import check_scored
from fusionzoo.evaluation.weighted import Array, ratio


@dataclass(frozen=True)
class Threshold:
    """A case is called positive where its probability is `value` or more.

    Args:
        value: The threshold.
        rule: How it was chosen.
        num_cases: Labelled validation cases that it was chosen on; 0 for a fixed one.
        reason: Why the rule could not be used, where it could not and 0.5 stands in.
    """

    value: float
    rule: str
    num_cases: int
    reason: str = ""


def _youden(tp: Array, fp: Array, positives: int, negatives: int) -> Array:
    return tp / positives - fp / negatives


def _f1(tp: Array, fp: Array, positives: int, negatives: int) -> Array:
    return ratio(2 * tp, tp + fp + positives)


_CRITERIA: Mapping[str, Callable[[Array, Array, int, int], Array]] = {"youden": _youden, "f1": _f1}

#: `youden` is the largest sensitivity + specificity - 1, `f1` the largest F1, `0.5` fixed.
RULES = (*_CRITERIA, "0.5")


def choose_threshold(labels: ArrayLike, probs: ArrayLike, rule: str = "youden") -> Threshold:
    """The threshold that serves a rule best on validation cases.

    Candidates lie half way between neighbouring distinct probabilities. Of several equally good
    ones, the one nearest to 0.5 is taken, then the lower.

    Args:
        labels: 0, 1, or -1 where missing, `cases`.
        probs: Probability of class 1, `cases`, or `cases classes` of a two-class task.
        rule: One of `RULES`.

    Raises:
        BadOption: An unknown rule.
        DataError: The arrays don't fit or hold impossible values.
    """
    if rule not in RULES:
        hint = nearest(rule, RULES)
        raise BadOption(
            f"No threshold rule is called {rule!r}. {hint}There are: {', '.join(RULES)}."
        )
    if rule == "0.5":
        return Threshold(0.5, rule, 0)
    scored = check_scored(labels, probs)
    total = len(scored.labels)
    positives = int(scored.labels.sum())
    if positives in (0, total):
        absent = "positive" if positives == 0 else "negative"
        return Threshold(0.5, rule, total, f"validation has no {absent} case")
    cuts = _candidates(scored.probs)
    called = (scored.probs >= cuts[:, None]).astype(float)
    tp, fp = called @ (scored.labels == 1), called @ (scored.labels == 0)
    gain = _CRITERIA[rule](tp, fp, positives, total - positives)
    best = cuts[np.isclose(gain, np.nanmax(gain), rtol=0, atol=1e-12)]
    nearest_first = np.lexsort((best, np.round(np.abs(best - 0.5), 12)))
    return Threshold(float(best[nearest_first[0]]), rule, total)


def _candidates(probs: Array) -> Array:
    distinct = np.unique(probs)
    middle = (distinct[:-1] + distinct[1:]) / 2
    # Between neighbouring floats the middle may round down to the lower one, which would then be
    # called positive.
    between = np.where(middle > distinct[:-1], middle, distinct[1:])
    return np.concatenate([distinct[:1], between])
