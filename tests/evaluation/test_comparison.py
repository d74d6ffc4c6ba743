import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fusionzoo.errors import DataError
from fusionzoo.evaluation.comparison import (
    McNemar,
    benjamini_hochberg,
    corrected_t_test,
    holm,
    mcnemar,
    wilcoxon_folds,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "evaluation"


def test_mcnemar_counts_disagreements():
    labels = [1] * 12 + [-1]
    a = [1] * 9 + [0] * 3 + [0]
    b = [1] * 2 + [0] * 7 + [1] * 1 + [0] * 2 + [1]
    found = mcnemar(labels, a, b)
    # Two-sided binomial tail: 2 (C(8,0) + C(8,1)) / 2^8.
    assert (found.only_a, found.only_b) == (7, 1)
    assert found.p == pytest.approx(2 * (1 + 8) / 256)
    assert mcnemar(labels, b, a) == McNemar(1, 7, found.p)


def test_mcnemar_without_disagreement():
    assert mcnemar([0, 1, 1], [0, 0, 1], [0, 0, 1]) == McNemar(0, 0, 1.0)


def test_mcnemar_refuses_unlike_lengths():
    with pytest.raises(DataError, match=r"have labels \(2,\), called_a \(2,\), called_b \(1,\)"):
        mcnemar([0, 1], [0, 1], [0])


def test_corrected_t_test_from_its_formula():
    a, b = [0.80, 0.85, 0.78, 0.90, 0.83], [0.75, 0.84, 0.79, 0.82, 0.80]
    gaps = np.subtract(a, b)
    found = corrected_t_test(a, b, test_share=0.2)
    statistic = gaps.mean() / math.sqrt((1 / 5 + 1 / 4) * gaps.var(ddof=1))
    assert found.statistic == pytest.approx(statistic)
    assert found.p == pytest.approx(2 * stats.t.sf(statistic, 4))
    assert found.difference == pytest.approx(0.032)


def test_corrected_t_test_on_a_published_example():
    """scikit-learn's documentation compares two kernels by ten times ten folds: t 0.750, p 0.227.

    "Statistical comparison of models using grid search"; its p-value is one-sided. The 100 AUROCs
    are those of its code: `SVC` on 100 points of `make_moons(noise=0.352, random_state=1)`.
    """
    scores = pd.read_csv(GOLDEN / "moons_svc_auroc.csv")
    found = corrected_t_test(scores["rbf"], scores["linear"], test_share=0.1)
    assert found.statistic == pytest.approx(0.750, abs=5e-4)
    assert found.p / 2 == pytest.approx(0.227, abs=5e-4)


def test_corrected_t_test_is_the_plain_one_without_overlap():
    rng = np.random.default_rng(0)
    a, b = rng.random(8), rng.random(8)
    almost = corrected_t_test(a, b, test_share=1e-12)
    assert almost.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert corrected_t_test(a, b, test_share=0.2).p > almost.p


@pytest.mark.parametrize(
    ("a", "b", "p", "reason"),
    [
        ([0.5, 0.5], [0.5, 0.5], 1.0, ""),
        ([0.75, 0.5], [0.5, 0.25], math.nan, "the same difference in every fold"),
        ([0.75], [0.5], math.nan, "one fold only"),
    ],
)
def test_corrected_t_test_without_variance(a, b, p, reason):
    found = corrected_t_test(a, b, test_share=0.2)
    assert found.reason == reason
    assert found.p == pytest.approx(p, nan_ok=True)


def test_folds_refuse_what_they_cannot_compare():
    with pytest.raises(DataError, match=r"test_share must lie between 0 and 1, is 5\.0"):
        corrected_t_test([0.1, 0.2], [0.3, 0.5], test_share=5.0)
    with pytest.raises(DataError, match="every fold needs a finite value of both models"):
        wilcoxon_folds([0.1, math.nan], [0.3, 0.5])
    with pytest.raises(DataError, match=r"have values_a \(1,\), values_b \(2,\)"):
        wilcoxon_folds([0.1], [0.3, 0.5])


def test_wilcoxon_on_darwins_maize():
    # Heights of crossed minus self-fertilised plants in eighths of an inch (Fisher, Design of
    # Experiments, 1935): the negative ranks sum to 24.
    gaps = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    found = wilcoxon_folds(gaps, np.zeros(15))
    assert found.statistic == 24
    assert found.p == pytest.approx(0.0413, abs=5e-5)
    assert found.smallest_p == 2**-14


def test_five_folds_cannot_show_less_than_their_smallest_p():
    found = wilcoxon_folds([0.9, 0.8, 0.85, 0.95, 0.7], [0.5, 0.45, 0.6, 0.35, 0.4])
    assert found.p == found.smallest_p == 0.0625
    assert wilcoxon_folds([0.5, 0.6], [0.5, 0.6]).p == 1


def test_holm_on_its_worked_steps():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, math.nan, 0.6]) == pytest.approx([1, math.nan, 1], nan_ok=True)


def test_benjamini_hochberg_on_the_published_example():
    # The 15 p-values of Benjamini and Hochberg (1995): four are found at a share of 0.05.
    published = [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459),
        *(0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000),
    ]
    adjusted = benjamini_hochberg(published)
    assert np.sum(adjusted <= 0.05) == 4
    assert np.sum(holm(published) <= 0.05) == 3
    assert adjusted[3] == pytest.approx(0.0095 * 15 / 4)


def test_missing_p_values_do_not_count():
    found = benjamini_hochberg([0.02, math.nan, 0.04])
    assert found == pytest.approx([0.04, math.nan, 0.04], nan_ok=True)
    assert np.isnan(benjamini_hochberg([math.nan])).all()


def test_false_findings_are_rarer_than_alpha():
    rng = np.random.default_rng(0)
    z = np.abs(rng.normal(size=(2000, 8)))
    p_values = 2 * (1 - np.vectorize(NormalDist().cdf)(z))
    any_found = np.mean([holm(row).min() <= 0.05 for row in p_values])
    assert 0.03 < any_found < 0.065
