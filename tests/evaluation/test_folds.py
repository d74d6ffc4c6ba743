"""Means and deviations over folds."""

import dataclasses
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionzoo.errors import RunError
from fusionzoo.evaluation.folds import over_folds, spread
from fusionzoo.evaluation.report import evaluate
from tests.evaluation.conftest import BINARY, make_predictions


@pytest.fixture(scope="module")
def evaluations():
    made = {fold: make_predictions(num_patients=20, seed=fold) for fold in (0, 1, 3)}
    return {fold: evaluate(one, replicates=5) for fold, one in made.items()}


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_mean_and_sample_deviation(values):
    found = spread(dict(enumerate(values)))
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-12)
    assert found.sd == pytest.approx(statistics.stdev(values), abs=1e-9)


def test_a_printed_figure_needs_the_sample_deviation():
    """IIMGF-Net prints an accuracy of 91.3 +- 5.1, which five folds of 30 cases can give."""
    found = spread({fold: right / 30 for fold, right in enumerate((26, 27, 27, 27, 30))})
    assert str(found) == "0.913 ± 0.051"
    assert f"{statistics.pstdev(found.values.values()):.3f}" == "0.045"


def test_every_row_is_averaged(evaluations):
    rows = over_folds(evaluations)
    assert [(r.task, r.output) for r in rows] == [
        (r.task, r.output) for r in evaluations[0].results
    ]
    for row in rows:
        assert list(row.num_cases) == [0, 1, 3]
        for name, found in row.metrics.items():
            own = [e.row(row.task, row.output).metrics[name].value for e in evaluations.values()]
            assert list(found.values.values()) == own
            assert found.mean == pytest.approx(statistics.fmean(own))
            assert found.sd == pytest.approx(statistics.stdev(own))


def test_one_fold_has_no_deviation(evaluations):
    found = over_folds({2: evaluations[0]})[0].metrics["auroc"]
    assert math.isnan(found.sd)
    assert str(found) == f"{found.mean:.3f}"


def test_a_fold_without_a_value_leaves_no_mean():
    found = spread({0: 0.5, 1: math.nan, 4: math.nan})
    assert (str(found), found.reason) == ("-", "undefined in fold 1, 4")
    assert spread({}).reason == "no fold"


def test_folds_that_were_not_scored_alike(evaluations):
    other = dataclasses.replace(evaluations[1], threshold_rule="f1", binary="positive")
    with pytest.raises(RunError) as caught:
        over_folds({0: evaluations[0], 1: other})
    text = str(caught.value)
    assert "differ in threshold_rule (fold 0: youden; fold 1: f1) and in binary (fold 0: " in text
    single = evaluate(make_predictions(tasks=(BINARY,)), replicates=5)
    with pytest.raises(RunError, match=r"differ in binary .* and in rows \(fold 0: malignancy/fus"):
        over_folds({0: evaluations[0], 1: single})
    with pytest.raises(RunError, match="There is no fold to average"):
        over_folds({})
