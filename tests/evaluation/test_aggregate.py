import numpy as np
import pytest

from fusionzoo.errors import BadOption, RunError
from fusionzoo.evaluation.aggregate import aggregate
from fusionzoo.evaluation.predictions import Predictions, prediction_rows
from fusionzoo.spec import TaskSpec

BINARY = TaskSpec("malignancy", ("benign", "malignant"))
GRADES = TaskSpec("grade", ("low", "middle", "high"))
GROUPS = ["p", "p", "q"]


def table(task, labels, probs):
    named = {"part": "test", "task": task, "output": "fused"}
    cases = ["a", "b", "c"]
    block = prediction_rows(cases=cases, groups=GROUPS, labels=labels, probs=probs, **named)
    return Predictions(block, (task,))


@pytest.mark.parametrize(("how", "expected"), [("max", [0.7, 0.4]), ("mean", [0.5, 0.4])])
def test_two_classes(how, expected):
    patients = aggregate(table(BINARY, [1, 1, -1], [0.3, 0.7, 0.4]), how)
    chosen = patients.select(part="test", task="malignancy", output="fused")
    assert chosen.cases.tolist() == chosen.groups.tolist() == ["p", "q"]
    assert chosen.labels.tolist() == [1, -1]
    np.testing.assert_allclose(chosen.probs, np.stack([1 - np.array(expected), expected], axis=1))


def test_more_classes():
    probs = [[0.6, 0.2, 0.2], [0.1, 0.1, 0.8], [0.2, 0.3, 0.5]]
    patients = aggregate(table(GRADES, [2, 2, 0], probs))
    chosen = patients.select(part="test", task="grade", output="fused")
    np.testing.assert_allclose(chosen.probs[0], np.array([0.6, 0.2, 0.8]) / 1.6)
    np.testing.assert_allclose(chosen.probs[1], probs[2])


def test_tasks_of_unlike_width(predictions):
    patients = aggregate(predictions, "mean")
    chosen = patients.select(part="test", task="malignancy", output="ct")
    before = predictions.select(part="test", task="malignancy", output="ct")
    order = np.argsort(before.groups, kind="stable")
    expected = before.probs[order].reshape(40, 2, 2).mean(axis=1)
    np.testing.assert_allclose(chosen.probs, expected)


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    blocks = []
    for task in (BINARY, GRADES):
        probs = rng.dirichlet(np.ones(len(task.classes)), 80)
        named = {"part": "test", "task": task, "output": "ct"}
        cases, groups = [f"c{i:02d}" for i in range(80)], [f"p{i % 40:02d}" for i in range(80)]
        labels = np.zeros(80, dtype=int)
        blocks.append(
            prediction_rows(cases=cases, groups=groups, labels=labels, probs=probs, **named)
        )
    return Predictions.collect(blocks, (BINARY, GRADES))


def test_a_missing_label_does_not_hide_a_known_one():
    patients = aggregate(table(BINARY, [-1, 0, 1], [0.3, 0.7, 0.4]))
    assert patients.frame["label"].tolist() == [0, 1]


def test_unlike_labels_have_no_patient_label():
    with pytest.raises(RunError) as caught:
        aggregate(table(BINARY, [0, 1, 1], [0.3, 0.7, 0.4]))
    assert str(caught.value) == (
        "Task 'malignancy': patient 'p' has cases with different labels, so none as a whole. "
        "Score it per case instead."
    )


def test_an_unknown_way():
    with pytest.raises(BadOption, match=r"aggregated by 'median'\. There are: max, mean"):
        aggregate(table(BINARY, [0, 0, 1], [0.3, 0.7, 0.4]), "median")


def parts(cases, labels, probs, groups="ppppq"):
    named = {"part": "test", "task": BINARY, "output": "fused"}
    found = prediction_rows(cases=cases, groups=[*groups], labels=labels, probs=probs, **named)
    return Predictions(found, (BINARY,))


def test_parts_of_a_case_are_put_together_and_stay_their_patient_s():
    cases = ["n1/0", "n1/1", "n2/0", "n2/1", "n3/0"]
    wholes = aggregate(parts(cases, [1, 1, 0, 0, 1], [0.2, 0.6, 0.1, 0.3, 0.9]), "mean", by="case")
    chosen = wholes.select(part="test", task="malignancy", output="fused")
    assert chosen.cases.tolist() == ["n1", "n2", "n3"]
    assert chosen.groups.tolist() == ["p", "p", "q"]
    assert chosen.labels.tolist() == [1, 0, 1]
    np.testing.assert_allclose(chosen.probs[:, 1], [0.4, 0.2, 0.9])


@pytest.mark.parametrize(
    ("cases", "shown"),
    [
        (["a", "b", "c", "d", "e"], "'a'"),
        (["a/0", "a/1", "b/0", "b/2", "c/0"], "'b/0'"),
        (["a/0", "a/1", "b/7", "b/8", "c/0"], "'b/7'"),
        (["a/0", "a/x", "b/0", "b/1", "c/0"], "'a/0'"),
    ],
)
def test_cases_without_parts(cases, shown):
    with pytest.raises(RunError, match=f"aren't called case/0, case/1, ..., as {shown}"):
        aggregate(parts(cases, [0] * 5, [0.5] * 5), by="case")


def test_parts_with_unlike_labels():
    cases = ["n1/0", "n1/1", "n2/0", "n2/1", "n3/0"]
    with pytest.raises(RunError) as caught:
        aggregate(parts(cases, [1, 0, 0, 0, 1], [0.5] * 5), by="case")
    assert str(caught.value) == (
        "Task 'malignancy': case 'n1' has parts with different labels, so none as a whole. "
        "Score it part by part instead."
    )
