"""Ranks that models share where a comparison can't tell them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fusionzoo.evaluation.pairs import Pairs


def rank_tiers(pairs: Pairs, *, higher_is_better: bool = True, alpha: float = 0.05) -> list[int]:
    """The tier of each model, from 1.

    Tier 1 is the model with the best value and every model that can't be told apart from it: whose
    corrected p-value against it is `alpha` or more. Those are set aside, and tier 2 is the best of
    the rest with every model of the rest that can't be told apart from that one; and so on.

    Not being told apart isn't transitive: A and B may be alike, B and C too, and A and C not. Here
    each model is judged against the best of its tier and against nothing else. So C is in a later
    tier than A, B shares A's, and B and C, though in neighbouring tiers, needn't be told apart. And
    a model whose value is uncertain can share tier 1 while a better but steadier one is in tier 2:
    what is known of it doesn't exclude that it is the best.

    With Holm's correction over all pairs, the chance that a board of equal models has more than one
    tier is at most `alpha`.

    Args:
        pairs: The comparisons.
        higher_is_better: Which direction is good.
        alpha: Two models are told apart below this corrected p-value.

    Returns:
        A tier per model, in the given order; 0 for a model without a value.

    Example:
        >>> from fusionzoo.evaluation.pairs import pairs_by_folds
        >>> folds = [[0.91, 0.93, 0.92], [0.91, 0.92, 0.93], [0.71, 0.74, 0.72]]
        >>> rank_tiers(pairs_by_folds(folds, test_share=0.2))
        [1, 1, 2]
    """
    tiers = [0] * len(pairs.values)
    left = best_first(pairs.values.tolist(), higher_is_better)
    tier = 0
    while left:
        tier += 1
        leader, rest = left[0], left[1:]
        apart = pairs.adjusted(leader, rest) < alpha if rest else np.empty(0, bool)
        for model, is_apart in zip(rest, apart, strict=True):
            tiers[model] = 0 if is_apart else tier
        tiers[leader] = tier
        left = [model for model, is_apart in zip(rest, apart, strict=True) if is_apart]
    return tiers


def best_first(values: Sequence[float], higher_is_better: bool = True) -> list[int]:
    """Indices of the defined values, the best first; equal ones stay in their order."""
    known = [index for index, value in enumerate(values) if not math.isnan(value)]
    return sorted(known, key=lambda index: -values[index] if higher_is_better else values[index])


__all__ = ["best_first", "rank_tiers"]
