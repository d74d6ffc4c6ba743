"""Symmetric InfoNCE against the released code; duplicates; the supervised form."""

import numpy as np
import pytest
import torch

from fusionzoo.losses.contrastive import symmetric_info_nce
from tests import golden_rule


def test_golden_of_the_released_code() -> None:
    golden = golden_rule.load("pecon_clip_loss")
    param = golden["param"]
    image = golden["in"]["image"] @ param["visual.l.weight"].T + param["visual.l.bias"]
    text = golden["in"]["text"] @ param["text.l.weight"].T + param["text.l.bias"]
    loss = symmetric_info_nce(image, text, param["logit_scale"].exp())
    torch.testing.assert_close(loss, golden["out"]["loss"], atol=1e-4, rtol=1e-4)


def test_equation_in_numpy_with_positives_and_duplicates() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4, 6))
    index, targets = np.array([0, 1, 0, 3]), np.array([1, 1, 1, -1])
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    scores = 5 * unit[0] @ unit[1].T
    positives = {0: [0, 1], 1: [0, 1, 2], 2: [1, 2], 3: [3]}
    seen = {0: [0, 1, 3], 1: [0, 1, 2, 3], 2: [1, 2, 3], 3: [0, 1, 2, 3]}
    total = 0.0
    for direction in (scores, scores.T):
        for i in range(4):
            log_sum = np.log(np.exp(direction[i, seen[i]]).sum())
            total += np.mean([log_sum - direction[i, j] for j in positives[i]])
    loss = symmetric_info_nce(
        *map(torch.from_numpy, (a, b)),
        5.0,
        index=torch.from_numpy(index),
        targets=torch.from_numpy(targets),
    )
    np.testing.assert_allclose(loss.item(), total / 8)


def test_copies_of_a_case_are_no_negatives() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 1, 5).expand(-1, 4, -1)
    index = torch.zeros(4, dtype=torch.int64)
    assert symmetric_info_nce(a, b, 10.0, index=index) == 0
    assert symmetric_info_nce(a, b, 10.0).item() == pytest.approx(np.log(4), rel=1e-5)


def test_gradient_is_finite_and_scale_learns() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 4, 5).requires_grad_(), torch.tensor(2.0, requires_grad=True)
    index = torch.zeros(4, dtype=torch.int64)
    symmetric_info_nce(a[0], a[1], b, index=index).backward()
    assert a.grad.isfinite().all()
    symmetric_info_nce(a[0].detach(), a[1].detach(), b).backward()
    assert b.grad.abs() > 0


def test_embeddings_of_any_length() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 4, 5)
    torch.testing.assert_close(
        symmetric_info_nce(3 * a, 0.1 * b, 4.0), symmetric_info_nce(a, b, 4.0)
    )
