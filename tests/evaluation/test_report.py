import dataclasses
import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

from fusionzoo.errors import BadOption, RunError
from fusionzoo.evaluation.bootstrap import bootstrap_differences, bootstrap_intervals
from fusionzoo.evaluation.comparison import mcnemar
from fusionzoo.evaluation.delong import CLUSTERED, DELONG, compare_aurocs
from fusionzoo.evaluation.metrics import compute_metrics
from fusionzoo.evaluation.predictions import Predictions
from fusionzoo.evaluation.report import evaluate
from fusionzoo.evaluation.threshold import choose_threshold
from fusionzoo.spec import TaskSpec
from tests.evaluation.conftest import BINARY, GRADES, make_predictions


def test_a_row_agrees_with_its_parts(independent):
    evaluation = evaluate(independent, replicates=200, seed=3)
    validation = independent.select(part="val", task="malignancy", output="ct")
    test = independent.select(part="test", task="malignancy", output="ct")
    row = evaluation.row("malignancy", "ct")
    assert row.threshold == choose_threshold(validation.labels, validation.probs)
    scores = compute_metrics(test.labels, test.probs, threshold=row.threshold.value)
    assert {name: e.value for name, e in row.metrics.items()} == {
        name: score.value for name, score in scores.items()
    }
    assert (row.num_cases, row.num_patients, row.num_positive) == (58, 58, (test.labels == 1).sum())
    assert np.sum(row.confusion) == 58
    assert row.class_counts == tuple(np.sum(row.confusion, axis=1))


def test_intervals_are_the_bootstrap_of_all_test_patients(independent):
    complete = independent.frame[independent.frame["label"] >= 0]
    predictions = Predictions(complete, independent.tasks)
    evaluation = evaluate(predictions, replicates=200, seed=3, level=0.9)
    row = evaluation.row("malignancy", "fused")
    test = predictions.select(part="test", task="malignancy", output="fused")
    expected = bootstrap_intervals(
        *(test.labels, test.probs, test.groups),
        threshold=row.threshold.value,
        replicates=200,
        seed=3,
        level=0.9,
    )
    for name, estimate in row.metrics.items():
        assert (estimate.low, estimate.high) == (expected[name].low, expected[name].high)


def test_comparisons_agree_with_their_parts(independent):
    complete = independent.frame[independent.frame["label"] >= 0]
    predictions = Predictions(complete, independent.tasks)
    evaluation = evaluate(predictions, replicates=200, threshold_rule="f1")
    assert [(c.output, c.other) for c in evaluation.comparisons] == [
        ("fused", "ct"),
        ("fused", "table"),
    ]
    found = evaluation.comparisons[0]
    a, b = (predictions.select(part="test", task="malignancy", output=o) for o in ("fused", "ct"))
    cuts = tuple(evaluation.row("malignancy", o).threshold.value for o in ("fused", "ct"))
    expected = compare_aurocs(a.labels, a.probs, b.probs)
    assert found.delong.difference == pytest.approx(expected.difference)
    assert found.delong.p == pytest.approx(expected.p)
    assert found.delong.method == DELONG
    assert found.p == found.delong.p
    assert found.mcnemar == mcnemar(a.labels, a.probs[:, 1] >= cuts[0], b.probs[:, 1] >= cuts[1])
    expected = bootstrap_differences(
        a.labels, a.probs, b.probs, a.groups, thresholds=cuts, replicates=200
    )
    assert found.differences == expected


def test_repeated_patients_are_respected(predictions):
    evaluation = evaluate(predictions, replicates=50)
    binary = next(c for c in evaluation.comparisons if c.task == "malignancy")
    assert binary.delong.method == CLUSTERED
    assert binary.mcnemar is None
    row = evaluation.row("malignancy", "fused")
    assert (row.num_cases, row.num_patients) == (78, 39)


def test_more_classes_have_no_threshold_and_no_delong(predictions):
    evaluation = evaluate(predictions, replicates=50)
    row = evaluation.row("grade", "fused")
    assert row.threshold is None
    assert row.num_positive is None
    assert len(row.class_counts) == 3
    comparison = next(c for c in evaluation.comparisons if c.task == "grade")
    assert comparison.delong is None
    assert comparison.p == comparison.differences["auroc"].p


def test_the_mean_over_tasks(predictions):
    evaluation = evaluate(predictions, replicates=300)
    mean = evaluation.row("mean", "fused")
    tasks = [evaluation.row(task, "fused").metrics for task in ("malignancy", "grade")]
    assert set(mean.metrics) == set(tasks[1])
    assert mean.metrics["auroc"].value == pytest.approx(
        (tasks[0]["auroc"].value + tasks[1]["auroc"].value) / 2
    )
    # The mean of two is known better than either.
    widths = [m["auroc"].high - m["auroc"].low for m in (mean.metrics, *tasks)]
    assert widths[0] < max(widths[1:])
    assert [c.other for c in evaluation.comparisons if c.task == "mean"] == ["ct", "table"]


SEVERAL = (BINARY, GRADES, TaskSpec("veil", ("absent", "present")))


def by_scikit(predictions, binary, output="fused"):
    """Accuracy, AUROC, sensitivity and specificity, means over tasks."""
    found = []
    for task in predictions.tasks:
        chosen = predictions.select(part="test", task=task.name, output=output)
        kept = chosen.labels >= 0
        y, probs = chosen.labels[kept], chosen.probs[kept]
        probs = probs / probs.sum(axis=1, keepdims=True)
        called = (probs[:, 1] >= 0.5).astype(int) if task.binary else probs.argmax(axis=1)
        classes = [1] if task.binary and binary == "positive" else range(len(task.classes))
        area = (
            roc_auc_score(y, probs[:, 1])
            if task.binary
            else roc_auc_score(y, probs, multi_class="ovr", average="macro")
        )
        sensitivity = recall_score(y, called, labels=list(classes), average="macro")
        specificity = np.mean([recall_score(y != k, called != k) for k in classes])
        found.append((accuracy_score(y, called), area, sensitivity, specificity))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("binary", ["macro", "positive"])
def test_means_over_tasks_are_scikit_s(binary):
    predictions = make_predictions(tasks=SEVERAL, num_patients=60)
    evaluation = evaluate(predictions, replicates=20, threshold_rule="0.5", binary=binary)
    assert evaluation.binary == binary
    for output in predictions.outputs:
        row = evaluation.row("mean", output).metrics
        names = ("accuracy", "auroc", "sensitivity", "specificity")
        found = [row[name].value for name in names]
        np.testing.assert_allclose(found, by_scikit(predictions, binary, output), atol=1e-12)
        for name in names:
            assert row[name].low < row[name].value < row[name].high


def test_macro_changes_means_of_sensitivity_and_specificity_alone():
    predictions = make_predictions(tasks=SEVERAL)
    macro, positive, auto = (
        evaluate(predictions, replicates=20, binary=b) for b in ("macro", "positive", "auto")
    )
    assert auto == macro
    for first, second in zip(macro.results, positive.results, strict=True):
        differ = {n for n in first.metrics if first.metrics[n] != second.metrics[n]}
        assert differ == ({"sensitivity", "specificity"} if first.task == "mean" else set())


def test_two_classes_everywhere_are_averaged_as_positives():
    predictions = make_predictions(tasks=(BINARY, SEVERAL[2]))
    evaluation = evaluate(predictions, replicates=20)
    assert evaluation.binary == "positive"
    mean, *rows = (
        evaluation.row(task, "fused").metrics["sensitivity"].value
        for task in ("mean", "malignancy", "veil")
    )
    assert mean == np.mean(rows)


def test_an_unknown_way_of_averaging(independent):
    with pytest.raises(BadOption, match=r"binary='micro'\. Use one of: auto, macro, positive\."):
        evaluate(independent, binary="micro")


def test_the_test_part_never_moves_the_threshold(independent):
    frame = independent.frame.copy()
    test = frame["part"] == "test"
    frame.loc[test, ["p0", "p1"]] = frame.loc[test, ["p1", "p0"]].to_numpy()
    swapped = evaluate(Predictions(frame, independent.tasks), replicates=10)
    honest = evaluate(independent, replicates=10)
    for output in independent.outputs:
        rows = [e.row("malignancy", output) for e in (swapped, honest)]
        assert rows[0].threshold == rows[1].threshold
        assert rows[0].metrics["auroc"] != rows[1].metrics["auroc"]


def test_validation_is_needed_and_only_by_rules_that_use_it(independent):
    frame = independent.frame
    only_test = Predictions(frame[frame["part"] == "test"], independent.tasks)
    with pytest.raises(RunError) as caught:
        evaluate(only_test)
    assert str(caught.value) == (
        "The predictions have no part val; they have test. Thresholds are chosen on 'val' only: "
        "predict it too, or use the threshold rule 0.5."
    )
    fixed = evaluate(only_test, threshold_rule="0.5", replicates=10)
    assert fixed.row("malignancy", "fused").threshold.value == 0.5


def test_without_the_reference_there_are_no_comparisons(independent):
    frame = independent.frame
    single = Predictions(frame[frame["output"] == "ct"], independent.tasks)
    assert evaluate(single, replicates=10).comparisons == ()
    other = evaluate(independent, replicates=10, reference="table")
    assert {c.output for c in other.comparisons} == {"table"}


def test_an_undefined_metric_keeps_its_reason(independent):
    frame = independent.frame.copy()
    frame.loc[(frame["part"] == "test") & (frame["label"] == 1), "label"] = -1
    evaluation = evaluate(Predictions(frame, independent.tasks), replicates=10)
    estimate = evaluation.row("malignancy", "fused").metrics["auroc"]
    assert math.isnan(estimate.value)
    assert estimate.reason == "no positive case"
    assert evaluation.comparisons[0].delong.reason == "fewer than two patients with a positive case"
    assert evaluation.rows(("auroc",))[0]["auroc"] == "-"


@pytest.mark.parametrize(
    "options", [{"threshold_rule": "test"}, {"replicates": 0}, {"level": 95.0}]
)
def test_options_out_of_range(independent, options):
    (name, value), *_ = options.items()
    with pytest.raises(BadOption, match=f"rule of youden, f1, 0.5.*{name}={value!r}"):
        evaluate(independent, **options)


def test_the_same_seed_gives_the_same_evaluation(predictions):
    first, again, other = (evaluate(predictions, replicates=50, seed=s) for s in (1, 1, 2))
    assert first == again
    assert dataclasses.replace(other, seed=1) != first
