"""Cross-entropy and focal loss against the released code and their equations; missing labels."""

import numpy as np
import pytest
import torch

from fusionzoo.losses.classification import (
    binary_cross_entropy,
    binary_focal_loss,
    focal_cross_entropy,
    task_loss,
)
from fusionzoo.spec import TaskSpec
from tests import golden_rule

BINARY = TaskSpec("dx", ("no", "yes"))
SEVERAL = TaskSpec("stage", ("I", "II", "III"))


def test_golden_focal_loss() -> None:
    golden = golden_rule.load("binary_focal_loss")
    logits, targets = golden["in"]["logits"], golden["in"]["target"]
    each = binary_focal_loss(logits, targets)
    torch.testing.assert_close(each, golden["out"]["none"], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(each.mean(), golden["out"]["mean"], atol=1e-6, rtol=1e-4)
    plain = binary_cross_entropy(logits, targets).mean()
    torch.testing.assert_close(plain, golden["out"]["bce_mean"], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 3.5])
def test_focal_equations(gamma: float) -> None:
    rng = np.random.default_rng(0)
    scores, codes = rng.normal(size=(7, 3)), rng.integers(3, size=7)
    probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    own = probs[np.arange(7), codes]
    several = focal_cross_entropy(torch.from_numpy(scores), torch.from_numpy(codes), gamma=gamma)
    np.testing.assert_allclose(several.numpy(), -((1 - own) ** gamma) * np.log(own))
    truth = (codes > 0).astype(float)
    prob = 1 / (1 + np.exp(-scores[:, 0]))
    own = np.where(truth == 1, prob, 1 - prob)
    binary = binary_focal_loss(torch.from_numpy(scores[:, 0]), torch.from_numpy(truth), gamma=gamma)
    np.testing.assert_allclose(binary.numpy(), -((1 - own) ** gamma) * np.log(own))


@pytest.mark.parametrize("kind", ["bce", "focal"])
@pytest.mark.parametrize("task", [BINARY, SEVERAL], ids=["binary", "several"])
def test_cases_without_label_do_not_count(task: TaskSpec, kind: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, task.num_logits)
    targets = torch.tensor([1, -1, 0, -1, 1])
    kept = task_loss(logits[[0, 2, 4]], targets[[0, 2, 4]], task, kind=kind)
    torch.testing.assert_close(task_loss(logits, targets, task, kind=kind), kept)


@pytest.mark.parametrize("task", [BINARY, SEVERAL], ids=["binary", "several"])
def test_no_label_at_all_gives_zero_with_a_gradient(task: TaskSpec) -> None:
    logits = torch.randn(4, task.num_logits, requires_grad=True)
    loss = task_loss(logits, torch.full((4,), -1), task)
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("task", [BINARY, SEVERAL], ids=["binary", "several"])
def test_class_weights_make_a_weighted_mean(task: TaskSpec) -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(4, task.num_logits), torch.tensor([0, 1, 1, 0])
    weights = torch.tensor([1.0, 3.0, 5.0][: len(task.classes)])
    both = torch.stack(
        [task_loss(logits[targets == code], targets[targets == code], task) for code in (0, 1)]
    )
    expected = (both[0] * 2 * 1 + both[1] * 2 * 3) / 8
    torch.testing.assert_close(task_loss(logits, targets, task, class_weights=weights), expected)


def test_focal_is_the_default_gamma() -> None:
    logits, targets = torch.randn(6, 1), torch.tensor([0, 1, 1, 0, 1, 0])
    expected = binary_focal_loss(logits[:, 0], targets.float(), gamma=2.0).mean()
    torch.testing.assert_close(task_loss(logits, targets, BINARY, kind="focal"), expected)
