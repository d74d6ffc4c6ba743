"""Whether a printed number was reproduced, and what stands in the way of saying so.

The gap g between ours and the printed number has the variance of both. Its interval decides:

    within ± margin        reproduced: no gap that matters is left possible
    else, without zero     differs
    else                   not testable here: the cases are too few to say either

The same data set and the full size of the model are needed for any of this.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from fusionzoo.evaluation.power import hanley_mcneil_se
from fusionzoo.leaderboard.facts import DIGITS
from fusionzoo.leaderboard.scores import Score
from fusionzoo.leaderboard.table import Judged, Verdict
from fusionzoo.records.sheet import PublishedTest


def judge(
    ours: Score,
    value: float,
    sd: float,
    *,
    metric: str,
    test: PublishedTest | None,
    why_not: str,
    level: float,
    margin: float,
) -> Judged:
    """A printed number beside ours.

    Args:
        ours: Our figure, with its interval.
        value: The printed number.
        sd: Its printed standard deviation; NaN where there is none.
        metric: Name of the metric.
        test: The published test set, where its class counts are known.
        why_not: Why the two can't be compared; empty where they can.
        level: Confidence of both intervals.
        margin: Largest gap that doesn't matter.
    """
    gap = round(ours.value - value, DIGITS)
    why_not = why_not or ours.reason * math.isnan(gap)
    half = gap_half_width(ours, value, sd, metric=metric, test=test, level=level)
    if not why_not and math.isnan(half):
        why_not = f"our figure has no interval ({ours.reason or 'none was made'})"
    if why_not:
        return Judged(value, sd, gap, math.nan, math.nan, "not testable here", why_not)
    low, high = round(gap - half, DIGITS), round(gap + half, DIGITS)
    limits = f"between {low:+.3f} and {high:+.3f}"
    verdict: Verdict
    if -margin <= low and high <= margin:
        verdict, reason = "reproduced", f"the gap is {limits}, within ±{margin:g}"
    elif low > 0 or high < 0:
        verdict, reason = "differs", f"the gap is {limits}"
    else:
        verdict = "not testable here"
        reason = f"too few cases: the gap may be anything {limits}"
    return Judged(value, sd, gap, low, high, verdict, reason)


def gap_half_width(
    ours: Score,
    value: float,
    sd: float,
    *,
    metric: str,
    test: PublishedTest | None,
    level: float,
) -> float:
    """Half the width of the gap's interval: z sqrt(se_ours^2 + se_printed^2)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    half = (ours.high - ours.low) / 2
    return math.hypot(half, z * printed_se(value, sd, metric=metric, test=test))


def printed_se(value: float, sd: float, *, metric: str, test: PublishedTest | None) -> float:
    """Standard error of a printed number, as far as the paper lets one know it.

    A printed standard deviation over folds stands for it: how many folds it is of is not always
    said, and it is never too small. Without one, the class counts of the test set give that of an
    AUROC (Hanley and McNeil 1982) and of a share (binomial). Where there is neither, the printed
    number is taken as exact.
    """
    if not math.isnan(sd):
        return sd
    if test is None:
        return 0.0
    positives, negatives = test.positives, test.negatives
    if metric == "auroc":
        return hanley_mcneil_se(value, positives, negatives)
    of = {
        "accuracy": positives + negatives,
        "sensitivity": positives,
        "specificity": negatives,
    }.get(metric)
    return math.sqrt(value * (1 - value) / of) if of else 0.0


__all__ = ["gap_half_width", "judge", "printed_se"]
