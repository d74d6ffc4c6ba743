import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionzoo.evaluation.pairs import Pairs
from fusionzoo.evaluation.tiers import best_first, rank_tiers


class Judged(Pairs):
    """Comparisons with given verdicts."""

    def __init__(self, values, apart):
        super().__init__(np.array(values, dtype=float), np.zeros((len(values), 2)), 1.0, 9)
        vars(self)["apart"] = {frozenset(pair) for pair in apart}

    def adjusted(self, model, others):
        return np.array([0.001 if frozenset((model, o)) in self.apart else 0.6 for o in others])


def test_rows_share_a_rank_with_the_best_of_their_tier():
    values = [0.7, 0.9, 0.89, 0.6, 0.71]
    apart = [(1, 0), (1, 3), (1, 4), (4, 3)]
    assert rank_tiers(Judged(values, apart)) == [2, 1, 1, 3, 2]


def test_what_is_alike_is_not_transitive():
    """A like B, B like C, A unlike C: C is judged against the best of a tier, not against B."""
    assert rank_tiers(Judged([0.9, 0.85, 0.8], [(0, 2)])) == [1, 1, 2]


def test_an_uncertain_row_can_share_the_first_tier_with_a_lower_value():
    """A steady B is worse than A for certain; of a noisy C with less that isn't known."""
    assert rank_tiers(Judged([0.9, 0.8, 0.75], [(0, 1)])) == [1, 2, 1]


def test_all_apart_and_none_apart():
    n = range(4)
    every = [(i, j) for i in n for j in n if i < j]
    assert rank_tiers(Judged([4, 1, 3, 2], every)) == [1, 4, 2, 3]
    assert rank_tiers(Judged([4, 1, 3, 2], [])) == [1, 1, 1, 1]


def test_lower_can_be_better():
    judged = Judged([0.1, 0.3, 0.2], [(0, 1), (0, 2), (1, 2)])
    assert rank_tiers(judged, higher_is_better=False) == [1, 3, 2]


def test_rows_without_a_value_have_no_tier():
    assert rank_tiers(Judged([math.nan, 0.5, math.nan], [])) == [0, 1, 0]
    assert rank_tiers(Judged([], [])) == []


def test_a_p_value_that_is_undefined_tells_nothing_apart():
    pairs = Pairs(np.array([0.9, 0.1]), np.full((2, 5), np.nan), 1.0, 10)
    assert rank_tiers(pairs) == [1, 1]


@given(
    st.integers(1, 7).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(0, 5), min_size=n, max_size=n),
            st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=12),
        )
    )
)
def test_the_definition_holds(drawn):
    values, apart = drawn
    judged = Judged(values, [pair for pair in apart if pair[0] != pair[1]])
    tiers = rank_tiers(judged)
    order = best_first([float(value) for value in values])
    assert sorted(set(tiers)) == list(range(1, max(tiers) + 1))
    leaders = {tier: next(i for i in order if tiers[i] == tier) for tier in set(tiers)}
    assert leaders[1] == order[0]
    for row, tier in enumerate(tiers):
        if row != leaders[tier]:
            assert judged.adjusted(leaders[tier], [row])[0] >= 0.05
        for earlier in range(1, tier):
            assert judged.adjusted(leaders[earlier], [row])[0] < 0.05
            assert values[leaders[earlier]] >= values[row]


def test_best_first_keeps_the_order_of_equal_rows():
    assert best_first([0.5, 0.9, 0.5, math.nan]) == [1, 0, 2]
    assert best_first([0.5, 0.9, 0.5], higher_is_better=False) == [0, 2, 1]


@pytest.mark.parametrize("alpha", [0.01, 0.9])
def test_alpha_is_where_rows_part(alpha):
    judged = Judged([0.9, 0.8], [])
    assert rank_tiers(judged, alpha=alpha) == ([1, 1] if alpha < 0.6 else [1, 2])
