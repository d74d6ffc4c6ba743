"""Means of what several classifiers say of a case, as logits again."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def log_probs(logits: Float[Tensor, "*any logits"]) -> Float[Tensor, "*any classes"]:
    """Log-probabilities of all classes; a single logit stands for the second of two."""
    if logits.shape[-1] > 1:
        return F.log_softmax(logits, dim=-1)
    return torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=-1)


def logits_of_mean_probs(
    logits: Float[Tensor, "judges batch logits"], weights: Float[Tensor, "judges batch"]
) -> Float[Tensor, "batch logits"]:
    """The logits whose sigmoid or softmax is sum_j w_j p_j; the weights of a case sum to 1."""
    log_mean = torch.logsumexp(log_probs(logits) + weights.log()[..., None], dim=0)
    return log_mean if logits.shape[-1] > 1 else log_mean[:, 1:] - log_mean[:, :1]


__all__ = ["log_probs", "logits_of_mean_probs"]
