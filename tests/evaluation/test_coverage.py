"""Simulations: intervals hold the truth as often as they say, and tests find nothing in noise."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from fusionzoo.evaluation.bootstrap import bootstrap_differences, bootstrap_intervals
from fusionzoo.evaluation.delong import compare_aurocs
from fusionzoo.evaluation.pairs import pairs_by_cases, pairs_by_folds
from fusionzoo.evaluation.pooled import Pool, paired_difference
from fusionzoo.evaluation.tiers import rank_tiers
from tests.evaluation.folds import TRUTH, draw_models

TRUE_AUROC = 0.76
GAP = 0.99892  # sqrt(2) times the normal quantile of the AUROC


def patients(rng, num_patients, cases_per_patient, models=1):
    """Binormal scores; half of their variance is the patient's, and models share half of that."""
    labels = np.repeat(rng.permutation(np.arange(num_patients) % 2), cases_per_patient)
    groups = np.repeat(np.arange(num_patients), cases_per_patient)
    common = rng.normal(size=(1, num_patients)) / 2
    own = rng.normal(size=(models, num_patients)) / 2
    noise = rng.normal(size=(models, len(labels))) * math.sqrt(0.5)
    scores = GAP * labels + (common + own)[:, groups] + noise
    return labels, 1 / (1 + np.exp(-scores)), groups


def coverage(runs, replicates):
    rng = np.random.default_rng(0)
    held = 0
    for run in range(runs):
        labels, (scores,), groups = patients(rng, 100, 2)
        interval = bootstrap_intervals(
            labels, scores, groups, names=["auroc"], replicates=replicates, seed=run
        )["auroc"]
        held += interval.low <= TRUE_AUROC <= interval.high
    return held / runs


def false_positives(runs, cases_per_patient, replicates):
    rng = np.random.default_rng(1)
    delong = bootstrap = naive = 0
    for run in range(runs):
        labels, (a, b), groups = patients(rng, 80, cases_per_patient, models=2)
        delong += compare_aurocs(labels, a, b, groups).p < 0.05
        naive += compare_aurocs(labels, a, b).p < 0.05
        if replicates:
            found = bootstrap_differences(
                labels, a, b, groups, names=["auroc"], replicates=replicates, seed=run
            )
            bootstrap += found["auroc"].p < 0.05
    return delong / runs, bootstrap / runs, naive / runs


def test_intervals_cover_the_truth_quick():
    assert 0.90 <= coverage(runs=200, replicates=300) <= 0.99


def test_comparisons_find_nothing_quick():
    delong, _, naive = false_positives(runs=300, cases_per_patient=4, replicates=0)
    assert delong <= 0.09
    assert naive > 0.12  # what clustering is for


@pytest.mark.slow
def test_intervals_cover_the_truth():
    assert 0.93 <= coverage(runs=2000, replicates=500) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("cases_per_patient", [1, 3])
def test_comparisons_find_nothing(cases_per_patient):
    delong, bootstrap, _ = false_positives(2000, cases_per_patient, replicates=500)
    assert 0.035 <= delong <= 0.06
    assert 0.035 <= bootstrap <= 0.06


def board_rates(boards, replicates, models=6):
    """Boards of equal models over five folds: how often intervals hold and anything is found."""
    rng = np.random.default_rng(1)
    held = dict.fromkeys(TRUTH, 0)
    found = {"pair": 0, "tiers": 0, "only the best counted": 0, "folds": 0}
    for board in range(boards):
        runs = draw_models(rng, models=models)
        pool = Pool.of(runs[0], replicates=replicates, seed=board)
        first = pool.measure(runs[0], list(TRUTH))
        for name, truth in TRUTH.items():
            interval = first["t", name].interval()
            held[name] += interval.low <= truth <= interval.high
        rest = [pool.measure(other, ["auroc"])["t", "auroc"] for other in runs[1:]]
        measured = [first["t", "auroc"], *rest]
        found["pair"] += paired_difference(*measured[:2], pool.num_patients).p < 0.05
        pairs = pairs_by_cases(measured, pool.num_patients)
        found["tiers"] += max(rank_tiers(pairs)) > 1
        best = int(np.argmax(pairs.values))
        others = [model for model in range(models) if model != best]
        found["only the best counted"] += pairs.p(best, others).min() * (models - 1) < 0.05
        by_folds = [list(mean.by_fold.values()) for mean in measured]
        found["folds"] += pairs_by_folds(by_folds, test_share=0.2).p(0, [1])[0] < 0.05
    return {k: v / boards for k, v in held.items()}, {k: v / boards for k, v in found.items()}


def test_boards_of_equal_models_quick():
    held, found = board_rates(boards=60, replicates=200)
    assert all(0.85 <= share <= 1 for share in held.values())
    assert found["tiers"] <= 0.1
    assert found["pair"] <= 0.12


@pytest.mark.slow
def test_boards_of_equal_models():
    held, found = board_rates(boards=1500, replicates=400)
    assert all(0.93 <= share <= 0.97 for share in held.values()), held
    assert all(found[name] <= 0.06 for name in ("pair", "tiers", "folds")), found
    # What correcting for the comparisons with the best alone would do: the best is a chance find.
    assert found["only the best counted"] > 0.07, found


@pytest.mark.slow
def test_boards_find_what_is_detectable():
    """A gap of the size that a comparison says it finds with 80% is found about that often."""
    rng = np.random.default_rng(2)
    gaps, found, least = (GAP, 1.62), 0, []
    for board in range(600):
        runs = draw_models(rng, models=2, gaps=gaps)
        pool = Pool.of(runs[0], replicates=300, seed=board)
        told = paired_difference(
            *(pool.measure(one, ["auroc"])["t", "auroc"] for one in runs), pool.num_patients
        )
        found += told.p < 0.05
        least.append(told.detectable())
    true_gap = NormalDist().cdf(gaps[1] / math.sqrt(2)) - NormalDist().cdf(gaps[0] / math.sqrt(2))
    assert np.median(least) == pytest.approx(true_gap, rel=0.1)
    assert found / 600 == pytest.approx(0.8, abs=0.1)
