"""Ranks of a board's rows, and the marks that papers give to the best figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusionzoo.evaluation.pairs import Pairs, pairs_by_cases, pairs_by_folds
from fusionzoo.evaluation.pooled import FoldMean
from fusionzoo.evaluation.tiers import best_first, rank_tiers
from fusionzoo.leaderboard.facts import DIGITS
from fusionzoo.leaderboard.layout import Layout
from fusionzoo.leaderboard.options import BoardOptions
from fusionzoo.leaderboard.scores import BoardScores, share_tested
from fusionzoo.leaderboard.table import Comparisons, Mark

_METHODS = {
    "cases": "paired bootstrap by patient",
    "folds": "corrected t-test over folds (Nadeau and Bengio 2003)",
}
_CORRECTIONS = {
    "holm": "Holm",
    "bh": "Benjamini-Hochberg",
    "bonferroni": "Bonferroni",
}


@dataclass(frozen=True)
class Standing:
    """Where a row stands.

    Args:
        tier: Its rank; 0 for none.
        gap: Its value minus the best row's.
        low: Lower limit of the gap's interval.
        high: Upper limit.
        p: Corrected p-value of the gap.
    """

    tier: int
    gap: float
    low: float
    high: float
    p: float


#: A row that isn't ranked.
UNRANKED = Standing(0, math.nan, math.nan, math.nan, math.nan)


def complete_rows(layout: Layout, scores: BoardScores, ranked_by: str) -> list[int]:
    """Indices of the rows that can be ranked: with a value, on every test set of the board."""
    test_sets = {run.test_set for run in layout.runs}
    found = []
    for index, row in enumerate(scores.rows):
        score = row.scores.get(ranked_by) if row else None
        if score and set(score.by_fold) == test_sets and not math.isnan(score.value):
            found.append(index)
    return found


def rank_rows(
    layout: Layout,
    scores: BoardScores,
    options: BoardOptions,
    ranked_by: str,
    *,
    higher_is_better: bool,
) -> tuple[list[Standing], Comparisons]:
    """Each row's standing, and how rows were compared.

    Args:
        layout: The rows.
        scores: Their figures.
        options: Test, correction and level.
        ranked_by: Key of the figure that they are ranked by.
        higher_is_better: Which direction is good.
    """
    standings = [UNRANKED] * len(layout.rows)
    ranked = complete_rows(layout, scores, ranked_by)
    if not ranked:
        method, correction = _METHODS[options.test], _CORRECTIONS[options.correction]
        return standings, Comparisons(0, method, correction, math.nan, math.nan)
    pairs = _pairs(layout, scores, options, ranked_by, ranked)
    tiers = rank_tiers(pairs, higher_is_better=higher_is_better, alpha=options.alpha)
    best = best_first(pairs.values.tolist(), higher_is_better)[0]
    everyone = range(len(ranked))
    half = _half_widths(pairs, best, options.level)
    p_values = pairs.adjusted(best, everyone)
    for place, index in enumerate(ranked):
        gap = float(pairs.values[place] - pairs.values[best])
        told = (gap, gap - half[place], gap + half[place], float(p_values[place]))
        if place == best:
            told = (0.0, math.nan, math.nan, math.nan)
        standings[index] = Standing(tiers[place], *(round(value, DIGITS) for value in told))
    return standings, _comparisons(pairs, options)


def marks(values: Mapping[int, float], decimals: int, higher_is_better: bool) -> dict[int, Mark]:
    """`best` and `second` of printed values; rows that print alike share a mark.

    Args:
        values: Values by row, of ranked rows.
        decimals: Digits that are printed.
        higher_is_better: Which direction is good.
    """
    printed = {row: round(value, decimals) for row, value in values.items() if value == value}
    steps = sorted(set(printed.values()), reverse=higher_is_better)[:2]
    names: dict[float, Mark] = dict(zip(steps, ("best", "second"), strict=False))
    return {row: names[value] for row, value in printed.items() if value in names}


def _pairs(
    layout: Layout,
    scores: BoardScores,
    options: BoardOptions,
    ranked_by: str,
    ranked: Sequence[int],
) -> Pairs:
    own = [scores.rows[index] for index in ranked]
    figures = [row.scores[ranked_by] for row in own if row is not None]
    if options.test == "cases":
        means = [
            FoldMean(score.value, score.by_fold, scores.drawn[index])
            for index, score in zip(ranked, figures, strict=True)
        ]
        return pairs_by_cases(means, scores.num_patients, options.correction)
    values = [[score.by_fold[fold] for fold in sorted(score.by_fold)] for score in figures]
    share = share_tested(layout.runs)
    return pairs_by_folds(values, test_share=share, correction=options.correction)


def _half_widths(pairs: Pairs, best: int, level: float) -> list[float]:
    from scipy.stats import t as student

    everyone = range(len(pairs.values))
    if pairs.df < 1:
        return [math.nan for _ in everyone]
    se = pairs.se(best, everyone)
    return [float(one) for one in student.ppf((1 + level) / 2, pairs.df) * se]


def _comparisons(pairs: Pairs, options: BoardOptions) -> Comparisons:
    strictest = options.alpha / max(pairs.count, 1)
    return Comparisons(
        count=pairs.count,
        method=_METHODS[options.test],
        correction=_CORRECTIONS[pairs.method],
        detectable=round(pairs.detectable(alpha=options.alpha), 6),
        detectable_corrected=round(pairs.detectable(alpha=strictest), 6),
    )


__all__ = ["UNRANKED", "Standing", "complete_rows", "marks", "rank_rows"]
