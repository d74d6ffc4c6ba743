import itertools
import math

import numpy as np
import pytest

from fusionzoo.errors import DataError
from fusionzoo.evaluation.delong import (
    CLUSTERED,
    DELONG,
    auroc_covariance,
    auroc_estimate,
    compare_aurocs,
    mean_over_folds,
    placements,
)


def psi(x, y):
    return 1.0 if x > y else 0.5 if x == y else 0.0


def slow_covariance(labels, models, groups):
    """The clustered covariance from its definition, pair by pair and patient by patient."""
    positives = [i for i, label in enumerate(labels) if label == 1]
    negatives = [i for i, label in enumerate(labels) if label == 0]
    m, n, patients = len(positives), len(negatives), sorted(set(groups))
    v10 = [{i: sum(psi(s[i], s[j]) for j in negatives) / n for i in positives} for s in models]
    v01 = [{j: sum(psi(s[i], s[j]) for i in positives) / m for j in negatives} for s in models]
    area = [sum(v.values()) / m for v in v10]

    def sums(v, k):
        return [sum(v[k][c] - area[k] for c in v[k] if groups[c] == p) for p in patients]

    with_positive = len({groups[i] for i in positives})
    with_negative = len({groups[j] for j in negatives})
    total = len(patients)
    covariance = np.zeros((len(models), len(models)))
    for r, s in itertools.product(range(len(models)), repeat=2):
        pp = sum(a * b for a, b in zip(sums(v10, r), sums(v10, s), strict=True))
        nn = sum(a * b for a, b in zip(sums(v01, r), sums(v01, s), strict=True))
        pn = sum(a * b for a, b in zip(sums(v10, r), sums(v01, s), strict=True))
        np_ = sum(a * b for a, b in zip(sums(v01, r), sums(v10, s), strict=True))
        covariance[r, s] = (
            with_positive / ((with_positive - 1) * m) * pp / m
            + with_negative / ((with_negative - 1) * n) * nn / n
            + total / (total - 1) * (pn + np_) / (m * n)
        )
    return np.array(area), covariance


def slow_delong(labels, models):
    """Sample covariances of the placements, as in DeLong's paper."""
    x = [[s[i] for i in np.flatnonzero(labels == 1)] for s in models]
    y = [[s[j] for j in np.flatnonzero(labels == 0)] for s in models]
    v10 = [[np.mean([psi(a, b) for b in y[k]]) for a in x[k]] for k in range(len(models))]
    v01 = [[np.mean([psi(a, b) for a in x[k]]) for b in y[k]] for k in range(len(models))]
    return np.cov(v10) / len(x[0]) + np.cov(v01) / len(y[0])


@pytest.mark.parametrize("cases_per_patient", [1, 3])
@pytest.mark.parametrize("decimals", [1, 8])
def test_against_the_definition(cases_per_patient, decimals):
    rng = np.random.default_rng(decimals)
    labels = rng.integers(0, 2, 45)
    models = np.round(0.2 * labels + 0.8 * rng.random((2, 45)), decimals)
    groups = np.array([f"p{i // cases_per_patient}" for i in range(45)])
    aurocs, covariance = auroc_covariance(labels, models, groups)
    slow_aurocs, slow = slow_covariance(labels, models, groups)
    np.testing.assert_allclose(aurocs, slow_aurocs)
    np.testing.assert_allclose(covariance, slow, rtol=1e-10)
    if cases_per_patient == 1:
        np.testing.assert_allclose(covariance, slow_delong(labels, models), rtol=1e-10)


def test_placements_are_shares_of_the_other_class():
    v10, v01 = placements(np.array([[0.5, 0.9]]), np.array([[0.1, 0.5, 0.7, 0.95]]))
    np.testing.assert_allclose(v10, [[1.5 / 4, 3 / 4]])
    np.testing.assert_allclose(v01, [[1, 0.75, 0.5, 0]])


# Variances of the difference and p-values that MLstatkit 0.1.91 gives for these scores.
@pytest.mark.parametrize(
    ("other", "variance", "p"),
    [
        (lambda p: np.round(np.sqrt(p * np.roll(p, 5)), 2), 0.008201740572772316, 0.98951193780539),
        (lambda p: np.roll(p, 11), 0.012621447167932422, 0.09831701226159105),
    ],
)
def test_published_predictions_against_another_implementation(squamous, other, variance, p):
    probs = squamous.prob.to_numpy()
    found = compare_aurocs(squamous.label, probs, other(probs), squamous.patient)
    assert found.auroc_a == pytest.approx(299 / 420)
    assert found.se**2 == pytest.approx(variance)
    assert found.p == pytest.approx(p)
    assert found.method == DELONG
    assert found.high - found.difference == pytest.approx(1.959963985 * found.se)
    assert found.detectable() == pytest.approx((1.959963985 + 0.841621234) * found.se)


def test_repeated_patients_use_the_clustered_form():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 40)
    scores = np.clip(0.3 * labels + 0.7 * rng.random(40), 0, 1)
    once = auroc_estimate(labels, scores)
    repeated = [np.repeat(x, 3) for x in (labels, scores, np.arange(40))]
    thrice = auroc_estimate(*repeated)
    assert (once.method, thrice.method) == (DELONG, CLUSTERED)
    assert thrice.auroc == pytest.approx(once.auroc)
    # Copies carry no information: the clustered error stays, the naive one shrinks.
    assert thrice.se == pytest.approx(once.se, rel=1e-9)
    assert auroc_estimate(*repeated[:2]).se < 0.65 * once.se


def test_missing_labels_are_left_out():
    rng = np.random.default_rng(0)
    labels, a, b = rng.integers(0, 2, 30), rng.random(30), rng.random(30)
    more = [np.r_[x, extra] for x, extra in ((labels, -1), (a, 0.5), (b, 0.5))]
    assert compare_aurocs(*more) == compare_aurocs(labels, a, b)


def test_a_model_against_itself():
    found = compare_aurocs([0, 1, 0, 1], [0.1, 0.3, 0.4, 0.9], [0.1, 0.3, 0.4, 0.9])
    assert (found.difference, found.se, found.p, found.reason) == (0, 0, 1, "")
    assert found.correlation == pytest.approx(1)


def test_no_variance():
    perfect, wrong = [0.1, 0.2, 0.8, 0.9], [0.9, 0.8, 0.2, 0.1]
    assert auroc_estimate([0, 0, 1, 1], perfect).reason == "the scores separate perfectly"
    found = compare_aurocs([0, 0, 1, 1], perfect, wrong)
    assert found.difference == 1
    assert math.isnan(found.p)
    assert math.isnan(found.low)
    assert found.reason == "the difference has no variance"


@pytest.mark.parametrize(
    ("labels", "groups", "word"),
    [
        ([0, 0, 0, 1], None, "positive"),
        ([1, 1, 0, 0], ["a", "b", "c", "c"], "negative"),
        ([-1, -1, -1, -1], None, "positive"),
    ],
)
def test_too_few_patients(labels, groups, word):
    found = compare_aurocs(labels, [0.1, 0.2, 0.3, 0.4], [0.4, 0.2, 0.3, 0.1], groups)
    assert found.reason == f"fewer than two patients with a {word} case"
    assert math.isnan(found.p)
    assert math.isnan(found.se)
    assert math.isnan(auroc_estimate(labels, [0.1, 0.2, 0.3, 0.4], groups).se)


def test_wrong_arrays():
    with pytest.raises(DataError, match="DeLong's test is for two classes"):
        auroc_estimate([0, 1], np.full((2, 3), 1 / 3))
    with pytest.raises(DataError, match=r"labels have shape \(2,\), groups \(3,\)"):
        auroc_estimate([0, 1], [0.1, 0.2], ["a", "b", "c"])


def test_folds_without_common_patients_add_their_variances():
    rng = np.random.default_rng(7)
    labels = np.tile([0, 1], 120)
    scores = [(rng.random(240) + 0.3 * k * labels) / 2 for k in (1, 2)]
    folds = [slice(0, 120), slice(120, 240)]
    each = [compare_aurocs(labels[f], scores[0][f], scores[1][f]) for f in folds]
    found = mean_over_folds(each)
    assert found.difference == pytest.approx(np.mean([one.difference for one in each]))
    assert found.se == pytest.approx(math.hypot(each[0].se, each[1].se) / 2)
    assert found.low < found.difference < found.high < 0
    assert found.p == pytest.approx(math.erfc(-found.difference / found.se / math.sqrt(2)))
    alone = mean_over_folds(each[:1])
    assert (alone.difference, alone.p) == pytest.approx((each[0].difference, each[0].p))
    with pytest.raises(DataError, match="there is no fold to average"):
        mean_over_folds([])
