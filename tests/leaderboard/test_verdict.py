import math
from statistics import NormalDist

import pytest

from fusionzoo.evaluation.power import hanley_mcneil_se
from fusionzoo.leaderboard.scores import Score
from fusionzoo.leaderboard.verdict import judge, printed_se
from fusionzoo.records.sheet import PublishedTest

Z = NormalDist().inv_cdf(0.975)
SMALL = PublishedTest(15, 28, "squamous")


def ours(value, half):
    return Score(value, value - half, value + half, 0.01, {})


def judged(score, value, sd=math.nan, **changes):
    asked = {"metric": "auroc", "test": None, "why_not": "", "level": 0.95, "margin": 0.05}
    return judge(score, value, sd, **{**asked, **changes})


def test_within_the_margin_for_certain_is_reproduced():
    told = judged(ours(0.80, 0.02), 0.79)
    assert told.verdict == "reproduced"
    assert told.gap == pytest.approx(0.01)
    assert (told.low, told.high) == pytest.approx((-0.01, 0.03))
    assert told.reason == "the gap is between -0.010 and +0.030, within ±0.05"


def test_a_small_gap_that_is_certain_is_reproduced_too():
    assert judged(ours(0.80, 0.005), 0.79).verdict == "reproduced"


def test_a_gap_without_zero_differs():
    told = judged(ours(0.80, 0.02), 0.70)
    assert told.verdict == "differs"
    assert told.reason == "the gap is between +0.080 and +0.120"


def test_too_few_cases_say_nothing():
    told = judged(ours(0.80, 0.10), 0.79)
    assert told.verdict == "not testable here"
    assert told.reason == "too few cases: the gap may be anything between -0.090 and +0.110"


def test_what_stands_in_the_way_is_said():
    told = judged(ours(0.80, 0.001), 0.80, why_not="measured on derm7pt")
    assert (told.verdict, told.reason) == ("not testable here", "measured on derm7pt")
    assert math.isnan(told.low)
    assert told.gap == 0
    lost = judged(Score(math.nan, math.nan, math.nan, math.nan, {}, "no positive case"), 0.8)
    assert (lost.verdict, lost.reason) == ("not testable here", "no positive case")
    bare = judged(Score(0.8, math.nan, math.nan, math.nan, {}), 0.8)
    assert bare.reason == "our figure has no interval (none was made)"


def test_the_printed_number_is_uncertain_too():
    assert judged(ours(0.80, 0.02), 0.74).verdict == "differs"
    told = judged(ours(0.80, 0.02), 0.74, test=SMALL)
    assert told.verdict == "not testable here"
    se = hanley_mcneil_se(0.74, 15, 28)
    assert told.high - told.gap == pytest.approx(math.hypot(0.02, Z * se))


@pytest.mark.parametrize(
    ("metric", "value", "sd", "test", "se"),
    [
        ("auroc", 0.8, 0.03, SMALL, 0.03),
        ("auroc", 0.8, math.nan, SMALL, hanley_mcneil_se(0.8, 15, 28)),
        ("accuracy", 0.75, math.nan, SMALL, math.sqrt(0.75 * 0.25 / 43)),
        ("sensitivity", 0.6, math.nan, SMALL, math.sqrt(0.24 / 15)),
        ("specificity", 0.5, math.nan, SMALL, math.sqrt(0.25 / 28)),
        ("f1", 0.6, math.nan, SMALL, 0.0),
        ("accuracy", 0.75, math.nan, None, 0.0),
    ],
)
def test_what_a_paper_lets_one_know_of_its_numbers(metric, value, sd, test, se):
    assert printed_se(value, sd, metric=metric, test=test) == pytest.approx(se)
