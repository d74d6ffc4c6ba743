"""Simulations: intervals hold the truth as often as they say, and tests find nothing in noise."""

import math

import numpy as np
import pytest

from fusionzoo.evaluation.bootstrap import bootstrap_differences, bootstrap_intervals
from fusionzoo.evaluation.delong import compare_aurocs

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
