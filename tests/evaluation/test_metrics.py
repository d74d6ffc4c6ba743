import math

import numpy as np
import pytest
from sklearn import metrics as reference

from fusionzoo.errors import BadOption, DataError
from fusionzoo.evaluation.metrics import (
    BINARY,
    METRICS,
    MULTICLASS,
    compute_metrics,
    confusion_matrix,
)

RNG = np.random.default_rng(3)
LABELS = RNG.integers(0, 2, 80)
PROBS = np.round(np.clip(0.3 * LABELS + 0.7 * RNG.random(80), 0, 1), 2)  # with ties
GRADES = RNG.integers(0, 3, 90)
SOFTMAX = RNG.dirichlet([1, 1, 1], 90) * 0.7 + 0.3 * np.eye(3)[GRADES]


def values(scores):
    return {name: score.value for name, score in scores.items()}


def test_two_classes_against_scikit_learn():
    called = PROBS >= 0.45
    found = values(compute_metrics(LABELS, PROBS, threshold=0.45))
    expected = {
        "auroc": reference.roc_auc_score(LABELS, PROBS),
        "auprc": reference.average_precision_score(LABELS, PROBS),
        "accuracy": reference.accuracy_score(LABELS, called),
        "f1": reference.f1_score(LABELS, called),
        "specificity": reference.recall_score(LABELS, called, pos_label=0),
        "sensitivity": reference.recall_score(LABELS, called),
        "ppv": reference.precision_score(LABELS, called),
        "npv": reference.precision_score(LABELS, called, pos_label=0),
        "balanced_accuracy": reference.balanced_accuracy_score(LABELS, called),
        "brier": reference.brier_score_loss(LABELS, PROBS),
        "log_loss": reference.log_loss(LABELS, PROBS),
    }
    assert found.pop("ece") == pytest.approx(slow_ece(LABELS, PROBS))
    assert found == pytest.approx(expected)


def slow_ece(labels, probs):
    total = 0.0
    for k in range(10):
        inside = [i for i, p in enumerate(probs) if min(int(p * 10), 9) == k]
        if inside:
            total += abs(sum(labels[inside]) - sum(probs[inside]))
    return total / len(probs)


def test_more_classes_against_scikit_learn():
    called = SOFTMAX.argmax(axis=1)
    matrices = reference.multilabel_confusion_matrix(GRADES, called)
    found = values(compute_metrics(GRADES, SOFTMAX))
    assert found == pytest.approx(
        {
            "auroc": reference.roc_auc_score(GRADES, SOFTMAX, multi_class="ovr"),
            "accuracy": reference.accuracy_score(GRADES, called),
            "f1": reference.f1_score(GRADES, called, average="macro"),
            "sensitivity": reference.recall_score(GRADES, called, average="macro"),
            "specificity": np.mean([m[0, 0] / m[0].sum() for m in matrices]),
            "log_loss": reference.log_loss(GRADES, SOFTMAX),
        }
    )


def test_published_predictions(squamous):
    at_half = values(compute_metrics(squamous.label, squamous.prob))
    printed = {
        "auroc": 0.7119,
        "accuracy": 0.605,
        "f1": 0.585,
        "specificity": 0.500,
        "sensitivity": 0.800,
        "ppv": 0.462,
        "npv": 0.824,
    }
    assert {name: at_half[name] for name in printed} == pytest.approx(printed, abs=5e-4)
    assert confusion_matrix(squamous.label, squamous.prob, threshold=0.7).tolist() == [
        [27, 1],
        [9, 6],
    ]


def test_missing_labels_are_left_out():
    labels = np.r_[LABELS, -1, -1]
    thresholds = np.r_[np.full(80, 0.45), 0, 0]
    with_missing = compute_metrics(labels, np.r_[PROBS, 0.9, 0.1], threshold=thresholds)
    assert with_missing == compute_metrics(LABELS, PROBS, threshold=0.45)
    assert confusion_matrix(labels, np.r_[PROBS, 0.9, 0.1]).sum() == 80


def test_two_columns_are_the_same_as_one():
    both = np.stack([1 - PROBS, PROBS], axis=1)
    assert compute_metrics(LABELS, both) == compute_metrics(LABELS, PROBS)


def test_each_case_may_have_its_own_threshold():
    scores = compute_metrics([0, 1], [0.6, 0.6], threshold=np.array([0.7, 0.5]), names=["accuracy"])
    assert scores["accuracy"].value == 1


@pytest.mark.parametrize(
    ("labels", "probs", "undefined"),
    [
        (
            [0, 0, 0],
            [0.1, 0.2, 0.3],
            {
                "auroc": "no positive case",
                "auprc": "no positive case",
                "f1": "no positive case and none called positive",
                "sensitivity": "no positive case",
                "balanced_accuracy": "no positive case",
                "ppv": "no case is called positive",
            },
        ),
        (
            [1, 1],
            [0.6, 0.9],
            {
                "auroc": "no negative case",
                "specificity": "no negative case",
                "balanced_accuracy": "no negative case",
                "npv": "no case is called negative",
            },
        ),
        ([-1, -1], [0.6, 0.9], dict.fromkeys(BINARY, "no labelled case")),
        (
            [0, 0, 1],
            np.eye(3)[[0, 0, 1]],
            dict.fromkeys(["auroc", "f1", "sensitivity"], "no case of class 2"),
        ),
    ],
)
def test_undefined_metrics_are_nan_with_the_reason(labels, probs, undefined):
    scores = compute_metrics(labels, probs)
    assert {name: s.reason for name, s in scores.items() if math.isnan(s.value)} == undefined
    assert all(score.reason == "" for score in scores.values() if not math.isnan(score.value))


def test_wrong_arrays_are_refused_with_all_problems():
    with pytest.raises(DataError, match=r"labels have shape \(2,\), probabilities \(3,\)"):
        compute_metrics([0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(DataError) as caught:
        compute_metrics([0, 2, 1], [0.1, 1.2, np.nan])
    assert "labels [2] are not among the class codes 0 to 1 (or -1)" in str(caught.value)
    assert "2 values are no probabilities between 0 and 1, for example 1.2" in str(caught.value)


def test_unknown_metrics_are_refused():
    with pytest.raises(BadOption, match=r"No metric of this task is called 'auc'\. Closest: auroc"):
        compute_metrics(LABELS, PROBS, names=["auc"])
    with pytest.raises(BadOption, match="It has: auroc, accuracy, f1, specificity, sensitivity, l"):
        compute_metrics(GRADES, SOFTMAX, names=["npv"])


def test_the_table_of_metrics_holds():
    assert set(BINARY) | set(MULTICLASS) == set(METRICS)
    lower = {name for name, metric in METRICS.items() if not metric.higher_is_better}
    assert lower == {"brier", "ece", "log_loss"}
    perfect = values(compute_metrics([0, 1, 1], [0.0, 1.0, 1.0]))
    for name, value in perfect.items():
        best = METRICS[name].high if METRICS[name].higher_is_better else METRICS[name].low
        assert value == pytest.approx(best)


def test_the_threshold_matters_where_the_table_says_so():
    low, high = (values(compute_metrics(LABELS, PROBS, threshold=t)) for t in (0.2, 0.8))
    assert {name for name in BINARY if low[name] != high[name]} == {
        name for name in BINARY if METRICS[name].thresholded
    }
