import numpy as np
import pytest

from fusionzoo.errors import BadOption
from fusionzoo.evaluation.metrics import compute_metrics
from fusionzoo.evaluation.threshold import Threshold, choose_threshold


def criterion(rule, labels, probs, threshold):
    scores = {k: s.value for k, s in compute_metrics(labels, probs, threshold=threshold).items()}
    return scores["f1"] if rule == "f1" else scores["sensitivity"] + scores["specificity"] - 1


@pytest.mark.parametrize("rule", ["youden", "f1"])
@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_is_better(rule, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 40)
    probs = np.round(rng.random(40) * 0.7 + 0.3 * labels, 1 + seed % 2)
    chosen = choose_threshold(labels, probs, rule)
    best = max(criterion(rule, labels, probs, cut) for cut in np.arange(0, 1, 0.005))
    assert criterion(rule, labels, probs, chosen.value) == pytest.approx(best)


def test_published_predictions_reach_the_published_point(squamous):
    chosen = choose_threshold(squamous.label, squamous.prob)
    assert 0.6943 < chosen.value <= 0.7019
    assert chosen == Threshold(chosen.value, "youden", 43)


def test_it_lies_half_way_and_ties_go_to_the_one_near_a_half():
    assert choose_threshold([0, 1], [0.2, 0.4]).value == pytest.approx(0.3)
    # Youden's index is 1/2 at 0.3 and at 0.8.
    assert choose_threshold([0, 1, 0, 1], [0.2, 0.4, 0.7, 0.9]).value == pytest.approx(0.3)
    assert choose_threshold([0, 1, 0, 1], [0.1, 0.2, 0.5, 0.9]).value == pytest.approx(0.7)


def test_neighbouring_floats_are_still_parted():
    low = 0.5
    high = np.nextafter(low, 1)
    chosen = choose_threshold([0, 1], [low, high])
    assert low < chosen.value <= high


def test_a_fixed_threshold_needs_no_cases():
    assert choose_threshold([], [], "0.5") == Threshold(0.5, "0.5", 0)


@pytest.mark.parametrize(
    ("labels", "absent"), [([0, 0, -1], "positive"), ([1, 1, -1], "negative"), ([-1] * 3, "pos")]
)
def test_one_class_on_validation_falls_back_and_says_so(labels, absent):
    chosen = choose_threshold(labels, [0.1, 0.2, 0.3])
    assert chosen.value == 0.5
    assert chosen.reason.startswith(f"validation has no {absent}")


def test_an_unknown_rule():
    with pytest.raises(BadOption, match=r"'yuden'\. Closest: youden\. There are: youden, f1, 0.5"):
        choose_threshold([0, 1], [0.1, 0.9], "yuden")
