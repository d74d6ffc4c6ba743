"""Means of probabilities, as logits."""

import torch

from fusionzoo.ops.averaging import log_probs, logits_of_mean_probs


def test_one_logit_stands_for_two_classes() -> None:
    logits = torch.tensor([[0.3], [-2.0]])
    p = logits.sigmoid()
    torch.testing.assert_close(log_probs(logits).exp(), torch.cat([1 - p, p], dim=1))


def test_the_mean_is_of_probabilities() -> None:
    torch.manual_seed(0)
    weights = torch.tensor([[0.25, 1.0], [0.75, 0.0]])
    two, four = torch.randn(2, 2, 1), torch.randn(2, 2, 4)
    binary = (weights[..., None] * two.sigmoid()).sum(0)
    torch.testing.assert_close(logits_of_mean_probs(two, weights).sigmoid(), binary)
    several = (weights[..., None] * four.softmax(-1)).sum(0)
    torch.testing.assert_close(logits_of_mean_probs(four, weights).softmax(-1), several)
