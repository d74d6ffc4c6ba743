"""Validation scores, against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from fusionzoo.spec import TaskSpec
from fusionzoo.training.score import validation_scores

BINARY = TaskSpec("binary", ("no", "yes"))
GRADE = TaskSpec("grade", ("a", "b", "c"))


def binary(seed, count=40, ties=False):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, count)
    logits = rng.normal(targets, 1.5).astype(np.float32)
    return np.round(logits) if ties else logits, targets


def grades(seed, count=60):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, count)
    return rng.normal(np.eye(3)[targets], 1.5).astype(np.float32), targets


def scores(**tasks):
    specs = {"binary": BINARY, "grade": GRADE}
    logits = {n: torch.tensor(x).reshape(len(x), -1) for n, (x, _) in tasks.items()}
    targets = {n: torch.tensor(y) for n, (_, y) in tasks.items()}
    return validation_scores(logits, targets, [specs[n] for n in tasks])


@pytest.mark.parametrize("ties", [False, True])
def test_a_binary_task(ties):
    logits, targets = binary(0, ties=ties)
    loss, auroc, accuracy = scores(binary=(logits, targets))
    assert accuracy == accuracy_score(targets, logits >= 0)
    assert loss == pytest.approx(log_loss(targets, 1 / (1 + np.exp(-logits))), abs=1e-6)
    assert auroc == pytest.approx(roc_auc_score(targets, logits), abs=1e-9)


def test_several_classes_are_a_mean_of_one_against_the_rest():
    logits, targets = grades(1)
    probs = torch.tensor(logits).softmax(dim=1).double().numpy()
    probs /= probs.sum(axis=1, keepdims=True)
    loss, auroc, accuracy = scores(grade=(logits, targets))
    assert accuracy == accuracy_score(targets, logits.argmax(axis=1))
    assert loss == pytest.approx(log_loss(targets, probs), abs=1e-5)
    assert auroc == pytest.approx(roc_auc_score(targets, probs, multi_class="ovr"), abs=1e-9)


def test_tasks_count_equally():
    one, other = scores(binary=binary(2)), scores(grade=grades(3))
    together = scores(binary=binary(2), grade=grades(3))
    np.testing.assert_allclose(together, np.mean([one, other], axis=0), atol=1e-7)


def test_cases_without_a_label_are_left_out():
    logits, targets = binary(4)
    kept = np.arange(len(targets)) % 3 > 0
    np.testing.assert_allclose(
        scores(binary=(logits, np.where(kept, targets, -1))),
        scores(binary=(logits[kept], targets[kept])),
        atol=1e-7,
    )


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], [-1, -1, -1]])
def test_an_area_that_no_task_defines_is_nan(labels):
    loss, auroc, accuracy = scores(binary=(np.zeros(3, dtype=np.float32), np.array(labels)))
    assert math.isfinite(loss)
    assert math.isnan(auroc)
    assert math.isnan(accuracy) == (labels[0] == -1)


def test_a_task_without_an_area_leaves_the_others():
    logits, targets = binary(5)
    nothing = (grades(6, count=len(targets))[0], np.full(len(targets), -1))
    _, auroc, accuracy = scores(binary=(logits, targets), grade=nothing)
    assert accuracy == accuracy_score(targets, logits >= 0)
    assert auroc == pytest.approx(roc_auc_score(targets, logits), abs=1e-9)


def test_a_class_that_is_absent_leaves_the_others():
    logits, targets = grades(7)
    kept = targets != 2
    probs = torch.tensor(logits[kept]).softmax(dim=1).numpy()
    auroc = scores(grade=(logits[kept], targets[kept])).auroc
    expected = np.mean([roc_auc_score(targets[kept] == k, probs[:, k]) for k in (0, 1)])
    assert auroc == pytest.approx(expected, abs=1e-9)
