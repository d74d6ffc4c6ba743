"""Distances between the features of two modalities: cosine, KL and Jensen-Shannon.

Source: Hayat et al., MedFuse, MLHC 2022 (cosine and KL alignment, released code);
Yao et al., DrFuse, AAAI 2024 (Jensen-Shannon of shared features, released code).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


def cosine_distance(
    first: Float[Tensor, "batch embed"], second: Float[Tensor, "batch embed"]
) -> Float[Tensor, ""]:
    """mean_i [ 1 - <a_i, b_i> / (|a_i| |b_i|) ]."""
    return (1 - F.cosine_similarity(first, second, dim=1)).mean()


def absolute_cosine(
    first: Float[Tensor, "batch embed"],
    second: Float[Tensor, "batch embed"],
    paired: Bool[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """mean_i |<a_i, b_i>| / (|a_i| |b_i|), which is 0 where the features are orthogonal.

    Args:
        first: Features.
        second: Features of another kind.
        paired: Cases that have both; all by default. 0 where none has.
    """
    each = F.cosine_similarity(first, second, dim=1).abs()
    if paired is None:
        return each.mean()
    return (each * paired).sum() / paired.sum().clamp(min=1)


def kl_alignment(
    teacher: Float[Tensor, "batch embed"],
    student: Float[Tensor, "batch embed"],
    *,
    temperature: float = 0.2,
) -> Float[Tensor, ""]:
    """mean_i KL( softmax(a_i / T) || softmax(b_i / T) ); the teacher a gets no gradient."""
    wanted = F.log_softmax(teacher.detach() / temperature, dim=1)
    found = F.log_softmax(student / temperature, dim=1)
    return F.kl_div(found, wanted, reduction="batchmean", log_target=True)


def jensen_shannon(
    first: Float[Tensor, "batch embed"],
    second: Float[Tensor, "batch embed"],
    paired: Bool[Tensor, " batch"] | None = None,
    *,
    masked: bool = True,
) -> Float[Tensor, ""]:
    """1/n sum_i sum_d 1/2 [ p log(p / m) + q log(q / m) ] of the sigmoids of two features.

    Here p = sigmoid(a), q = sigmoid(b) and m = (p + q) / 2.
    As DrFuse's release has it, without the terms of 1 - p.

    Args:
        first: Features before the sigmoid.
        second: Features of the other modality.
        paired: Cases that have both modalities, n of them; all by default. 0 where none has.
        masked: Whether unpaired cases are left out of the sum; the release leaves them in (False).
    """
    log_p, log_q = F.logsigmoid(first), F.logsigmoid(second)
    log_m = torch.logaddexp(log_p, log_q) - torch.log(log_p.new_tensor(2.0))
    each = 0.5 * (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(dim=1)
    if paired is None:
        return each.mean()
    if masked:
        each = each * paired
    return each.sum() / paired.sum().clamp(min=1)


__all__ = ["absolute_cosine", "cosine_distance", "jensen_shannon", "kl_alignment"]
