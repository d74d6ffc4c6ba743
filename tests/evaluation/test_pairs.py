import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionzoo.errors import BadOption, DataError
from fusionzoo.evaluation import pairs as module
from fusionzoo.evaluation.comparison import benjamini_hochberg, corrected_t_test, holm
from fusionzoo.evaluation.pairs import Pairs, pairs_by_cases, pairs_by_folds
from fusionzoo.evaluation.pooled import Pool, paired_difference
from tests.evaluation.folds import draw_models


@pytest.fixture(scope="module")
def measured():
    models = draw_models(np.random.default_rng(0), models=4, folds=2, patients=30)
    pool = Pool.of(models[0], replicates=300)
    return pool, [pool.measure(runs, ["auroc"])["t", "auroc"] for runs in models]


def lower(pairs, what="p"):
    n = len(pairs.values)
    return np.concatenate([getattr(pairs, what)(i, range(i)) for i in range(n)])


def test_by_cases_is_the_paired_bootstrap_of_every_pair(measured):
    pool, means = measured
    pairs = pairs_by_cases(means, pool.num_patients)
    assert pairs.count == 6
    for i in range(4):
        for j in range(i):
            alone = paired_difference(means[i], means[j], pool.num_patients)
            assert pairs.se(i, [j])[0] == pytest.approx(alone.se)
            assert pairs.p(i, [j])[0] == pytest.approx(alone.p)
            assert pairs.p(j, [i])[0] == pytest.approx(alone.p)


def test_by_folds_is_the_corrected_t_test_of_every_pair():
    table = np.random.default_rng(3).random((5, 6))
    pairs = pairs_by_folds(table, test_share=1 / 6)
    for i in range(5):
        for j in range(i):
            alone = corrected_t_test(table[i], table[j], test_share=1 / 6)
            assert pairs.p(i, [j])[0] == pytest.approx(alone.p)
    assert pairs.df == 5


def test_p_values_are_corrected_over_all_pairs(measured):
    pool, means = measured
    for name, correct in (("holm", holm), ("bh", benjamini_hochberg)):
        pairs = pairs_by_cases(means, pool.num_patients, name)
        np.testing.assert_allclose(lower(pairs, "adjusted"), correct(lower(pairs)))
        assert pairs.method == name


@given(
    st.lists(
        st.lists(st.floats(0, 1), min_size=4, max_size=4),
        min_size=2,
        max_size=7,
        unique_by=lambda row: round(row[0], 6),
    )
)
def test_holm_is_never_above_the_bound_of_large_boards(table):
    pairs = pairs_by_folds(table, test_share=0.25)
    bound = np.minimum(lower(pairs) * pairs.count, 1)
    adjusted = lower(pairs, "adjusted")
    known = ~np.isnan(bound)
    assert (adjusted[known] <= bound[known] + 1e-12).all()
    assert (adjusted[known] >= lower(pairs)[known] - 1e-12).all()


def test_large_boards_use_the_bound(measured, monkeypatch):
    pool, means = measured
    small = pairs_by_cases(means, pool.num_patients)
    exact, typical = lower(small), small.typical_se()
    monkeypatch.setattr(module, "MOST_MODELS", 3)
    large = pairs_by_cases(means, pool.num_patients)
    assert large.method == "bonferroni"
    np.testing.assert_allclose(lower(large), exact)
    np.testing.assert_allclose(lower(large, "adjusted"), np.minimum(exact * 6, 1))
    assert large.typical_se() == pytest.approx(typical, rel=0.5)


def test_replicates_without_a_value_are_left_out(measured):
    pool, means = measured
    drawn = np.array([mean.drawn for mean in means])
    drawn[1, :20] = np.nan
    drawn[3, ::2] = np.nan
    pairs = Pairs(np.array([m.value for m in means]), drawn, 1.0, pool.num_patients - 1)
    assert pairs.se(0, [1])[0] == pytest.approx(np.std(drawn[0, 20:] - drawn[1, 20:], ddof=1))
    assert pairs.se(0, [2])[0] == pytest.approx(np.std(drawn[0] - drawn[2], ddof=1))
    assert np.isnan(pairs.p(3, [0, 1, 2])).all()  # defined in half of the replicates only
    assert not np.isnan(pairs.adjusted(0, [1, 2])).any()


def test_equal_models_have_p_one_and_constant_gaps_have_none():
    row = [0.8, 0.9, 0.7]
    pairs = pairs_by_folds([row, row, [0.5, 0.6, 0.4]], test_share=0.3)
    assert pairs.p(0, [1])[0] == 1
    assert math.isnan(pairs.p(0, [2])[0])


def test_detectable_differences_shrink_with_patients():
    found = []
    for patients in (20, 80):
        models = draw_models(np.random.default_rng(1), models=3, folds=2, patients=patients)
        pool = Pool.of(models[0], replicates=200)
        means = [pool.measure(runs, ["auroc"])["t", "auroc"] for runs in models]
        pairs = pairs_by_cases(means, pool.num_patients)
        found.append(pairs.detectable())
        assert pairs.detectable(alpha=0.05 / 3) > found[-1]
    assert 1.5 < found[0] / found[1] < 3


def test_one_model_has_nothing_to_be_compared_with():
    alone = pairs_by_folds([[0.5, 0.6]], test_share=0.2)
    assert alone.count == 0
    assert math.isnan(alone.detectable())


def test_what_cannot_be_compared_is_refused(measured):
    _, means = measured
    with pytest.raises(DataError) as caught:
        pairs_by_folds([0.1, 0.2], test_share=2.0)
    assert "values must be models x folds, have shape (2,)" in str(caught.value)
    assert "test_share must lie between 0 and 1, is 2.0" in str(caught.value)
    with pytest.raises(BadOption, match=r"no correction 'bonferroni'. Use one of: holm, bh"):
        pairs_by_folds([[0.1, 0.2]], test_share=0.2, correction="bonferroni")
    other = Pool.of(draw_models(np.random.default_rng(0), folds=3)[0], replicates=300)
    alien = other.measure(draw_models(np.random.default_rng(0), folds=3)[0])["t", "auroc"]
    with pytest.raises(DataError, match="the models are over different folds"):
        pairs_by_cases([means[0], alien], 9)
