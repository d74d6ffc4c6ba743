import math

import numpy as np
import pytest

from fusionzoo.errors import BadOption
from fusionzoo.evaluation.delong import compare_aurocs
from fusionzoo.evaluation.power import detectable_difference, hanley_mcneil_se


@pytest.mark.parametrize(
    ("auroc", "positive", "negative", "se"),
    [
        (0.893, 51, 58, 0.032),  # the worked example of Hanley and McNeil 1982
        (0.786, 15, 28, 0.078),
        (0.5, 1, 1, 0.5),
        (1.0, 10, 10, 0.0),
    ],
)
def test_hanley_mcneil(auroc, positive, negative, se):
    assert hanley_mcneil_se(auroc, positive, negative) == pytest.approx(se, abs=6e-4)


def test_the_detectable_difference_solves_its_equation():
    found = detectable_difference(0.75, 100, 150, correlation=0.4)
    weak, strong = (hanley_mcneil_se(a, 100, 150) for a in (0.75, 0.75 + found))
    null = math.sqrt(2 * weak**2 * 0.6)
    other = math.sqrt(weak**2 + strong**2 - 0.8 * weak * strong)
    assert found == pytest.approx(1.959963985 * null + 0.841621234 * other, abs=1e-6)


def test_more_patients_and_more_correlation_show_less():
    base = detectable_difference(0.75, 60, 60)
    assert detectable_difference(0.75, 240, 240) < 0.6 * base
    assert detectable_difference(0.75, 60, 60, correlation=0.9) < 0.6 * base
    assert detectable_difference(0.75, 60, 60, power=0.95) > base


def test_a_small_test_set_can_show_nothing():
    # A published comparison on 43 patients: not even a perfect model is told apart from 0.786.
    assert math.isnan(detectable_difference(0.786, 15, 28))


@pytest.mark.slow
def test_the_power_is_as_promised():
    rng = np.random.default_rng(0)
    labels = np.r_[np.ones(120), np.zeros(120)].astype(int)

    def scores(gain, shared):
        return gain * labels + math.sqrt(0.5) * shared + math.sqrt(0.5) * rng.normal(size=240)

    found, runs = 0, 400
    # Binormal scores: AUROC 0.75 and 0.75 + d.
    for _ in range(runs):
        shared = rng.normal(size=240)
        a, b = (1 / (1 + np.exp(-scores(g, shared))) for g in (0.9539, 1.3035))
        found += compare_aurocs(labels, b, a).p < 0.05
    gain = 0.8217 - 0.75
    planned = detectable_difference(0.75, 120, 120, correlation=0.47, power=found / runs)
    assert planned == pytest.approx(gain, abs=0.012)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"auroc": 1.2}, "An AUROC lies between 0 and 1; 1.2 was given"),
        ({"num_positive": 0}, "Both classes need cases; 0 positive and 20 negative were given"),
        ({"power": 80.0}, "power lies between 0 and 1; 80.0 was given"),
        ({"correlation": 1.0}, "correlation lies between -1 and 1; 1.0 was given"),
    ],
)
def test_values_out_of_range(options, text):
    given = {"auroc": 0.8, "num_positive": 10, "num_negative": 20, **options}
    with pytest.raises(BadOption, match=text):
        detectable_difference(**given)
