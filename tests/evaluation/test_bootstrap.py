import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fusionzoo.evaluation.bootstrap import (
    Resampling,
    bootstrap_differences,
    bootstrap_intervals,
    percentile_interval,
    two_sided_p,
)
from fusionzoo.evaluation.metrics import BINARY, MULTICLASS, compute_metrics

RNG = np.random.default_rng(1)
LABELS = RNG.integers(0, 2, 60)
PROBS = np.clip(0.25 * LABELS + 0.75 * RNG.random(60), 0, 1)
GROUPS = np.array([f"p{i // 3}" for i in range(60)])


def test_whole_patients_are_drawn():
    resampling = Resampling.draw(GROUPS, replicates=50, seed=4)
    weights = resampling.weights(GROUPS)
    assert weights.shape == (50, 60)
    assert (weights.reshape(50, 20, 3) == weights.reshape(50, 20, 3)[:, :, :1]).all()
    assert (weights.sum(axis=1) == 60).all()
    assert len(np.unique(weights)) > 2


def test_replicates_are_the_metric_of_the_drawn_cases():
    resampling = Resampling.draw(GROUPS, replicates=20, seed=0)
    expected = [
        roc_auc_score(np.repeat(LABELS, w.astype(int)), np.repeat(PROBS, w.astype(int)))
        for w in resampling.weights(GROUPS)
    ]
    found = bootstrap_intervals(LABELS, PROBS, GROUPS, names=["auroc"], replicates=20, level=0.9)
    low, high = np.quantile(expected, [0.05, 0.95])
    assert (found["auroc"].low, found["auroc"].high) == pytest.approx((low, high))


def test_same_seed_same_interval():
    first, again, other = (
        bootstrap_intervals(LABELS, PROBS, GROUPS, replicates=200, seed=s) for s in (7, 7, 8)
    )
    assert first == again
    assert first["auroc"] != other["auroc"]
    assert tuple(first) == BINARY


def test_draws_do_not_depend_on_order_or_chunks(monkeypatch):
    order = RNG.permutation(60)
    whole = bootstrap_intervals(LABELS, PROBS, GROUPS, replicates=200)
    monkeypatch.setattr("fusionzoo.evaluation.bootstrap._CHUNK_VALUES", 700)
    shuffled = bootstrap_intervals(LABELS[order], PROBS[order], GROUPS[order], replicates=200)
    for name in BINARY:
        assert (whole[name].low, whole[name].high) == pytest.approx(
            (shuffled[name].low, shuffled[name].high)
        )


def test_repeated_patients_widen_the_interval():
    labels, probs = np.repeat(LABELS, 4), np.repeat(PROBS, 4)
    patients = np.repeat(np.arange(60), 4)

    def width(groups):
        interval = bootstrap_intervals(labels, probs, groups, names=["auroc"])["auroc"]
        return interval.high - interval.low

    assert width(patients) > 1.7 * width(np.arange(240))


def test_an_interval_holds_the_value_for_more_classes():
    labels = RNG.integers(0, 3, 90)
    probs = 0.6 * RNG.dirichlet([1, 1, 1], 90) + 0.4 * np.eye(3)[labels]
    values = compute_metrics(labels, probs)
    found = bootstrap_intervals(labels, probs, np.arange(90), replicates=300)
    assert tuple(found) == MULTICLASS
    for name, interval in found.items():
        assert interval.low <= values[name].value <= interval.high


def test_a_metric_that_is_often_undefined_has_no_interval():
    labels = np.r_[1, np.zeros(30, dtype=int)]
    found = bootstrap_intervals(labels, RNG.random(31), np.arange(31), replicates=500)["auroc"]
    assert np.isnan(found.low)
    assert np.isnan(found.high)
    assert found.reason.startswith("undefined in 1")
    assert found.reason.endswith("of 500 replicates")


def test_a_perfect_score_warns_that_its_interval_is_too_narrow():
    found = bootstrap_intervals([0, 0, 1, 1] * 5, [0.1, 0.2, 0.8, 0.9] * 5, np.arange(20))["auroc"]
    assert (found.low, found.high) == (1, 1)
    assert found.reason == "the same in every replicate: the interval is too narrow"


def test_few_undefined_replicates_are_left_out():
    drawn = np.r_[np.full(9, np.nan), np.linspace(0, 1, 91)]
    found = percentile_interval(drawn, 0.8)
    assert (found.low, found.high) == pytest.approx((0.1, 0.9))


def test_differences_are_paired():
    noise = np.clip(PROBS + RNG.normal(0, 0.01, 60), 0, 1)
    paired = bootstrap_differences(LABELS, PROBS, noise, GROUPS, names=["auroc"])["auroc"]
    alone = bootstrap_intervals(LABELS, PROBS, GROUPS, names=["auroc"])["auroc"]
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)
    assert paired.value == pytest.approx(
        roc_auc_score(LABELS, PROBS) - roc_auc_score(LABELS, noise)
    )
    assert paired.low <= paired.value <= paired.high


def test_a_model_against_itself_and_against_chance():
    itself = bootstrap_differences(LABELS, PROBS, PROBS, GROUPS, replicates=100)
    assert all(d.value == 0 and d.p == 1 for d in itself.values())
    chance = bootstrap_differences(LABELS, LABELS * 0.8 + 0.1, RNG.random(60), GROUPS)
    assert chance["auroc"].p == pytest.approx(2 / 2001)


def test_a_difference_of_undefined_metrics_says_so():
    found = bootstrap_differences([0, 0], [0.1, 0.2], [0.3, 0.4], ["a", "b"], replicates=10)
    assert np.isnan(found["auroc"].value)
    assert found["auroc"].reason == "the metric of one of the two is undefined"


def test_two_sided_p_counts_both_sides():
    assert two_sided_p(np.r_[np.full(90, 1.0), np.full(9, -1.0)]) == pytest.approx(0.2)
    assert two_sided_p(np.r_[1.0, -1.0]) == 1
