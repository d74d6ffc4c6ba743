"""Distances between the features of two modalities, against released code and equations."""

import numpy as np
import pytest
import torch

from fusionzoo.losses.divergence import (
    absolute_cosine,
    cosine_distance,
    jensen_shannon,
    kl_alignment,
)
from tests import golden_rule


def test_golden_alignment_losses() -> None:
    golden = golden_rule.load("medfuse_losses")
    a, b = golden["in"]["a"], golden["in"]["b"]
    torch.testing.assert_close(cosine_distance(a, b), golden["out"]["cosine"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(kl_alignment(a, b), golden["out"]["kl"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["drfuse_core_K1_paired", "drfuse_core_K1_missing"])
def test_golden_disentanglement(name: str) -> None:
    golden = golden_rule.load(name)
    out = golden["out"]
    paired = golden["in"]["pairs"].bool()
    shared = out["feat_ehr_shared"], out["feat_cxr_shared"]
    released = jensen_shannon(*shared, paired, masked=False)
    torch.testing.assert_close(released, out["jsd"], atol=1e-5, rtol=1e-4)
    ours = jensen_shannon(*shared, paired)
    kept = jensen_shannon(shared[0][paired], shared[1][paired])
    torch.testing.assert_close(ours, kept)
    assert (released > ours) == (not paired.all())


def test_jensen_shannon_equation() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4))
    p, q = 1 / (1 + np.exp(-a)), 1 / (1 + np.exp(-b))
    m = (p + q) / 2
    expected = 0.5 * (p * np.log(p / m) + q * np.log(q / m)).sum() / 3
    actual = jensen_shannon(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(actual.item(), expected)


def test_jensen_shannon_without_pairs_is_zero() -> None:
    a = torch.randn(3, 4, requires_grad=True)
    loss = jensen_shannon(a, torch.randn(3, 4), torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert (a.grad == 0).all()


def test_kl_equation_and_that_the_teacher_stays() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4))

    def softmax(x: np.ndarray) -> np.ndarray:
        return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)

    p, q = softmax(a / 0.5), softmax(b / 0.5)
    teacher = torch.from_numpy(a).requires_grad_()
    student = torch.from_numpy(b).requires_grad_()
    loss = kl_alignment(teacher, student, temperature=0.5)
    np.testing.assert_allclose(loss.item(), (p * np.log(p / q)).sum() / 3)
    loss.backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 0


def test_cosines() -> None:
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    b = torch.tensor([[-2.0, 0.0], [0.0, 3.0]])
    assert cosine_distance(a, b).item() == pytest.approx(1.5)
    assert absolute_cosine(a, b).item() == pytest.approx(0.5)
