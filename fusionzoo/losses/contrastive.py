"""Contrastive losses that draw matching pairs of two modalities together.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML
2021, Fig. 3; the supervised form follows Khosla et al., Supervised Contrastive Learning, NeurIPS
2020, Eq. (2).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def symmetric_info_nce(
    first: Float[Tensor, "batch embed"],
    second: Float[Tensor, "batch embed"],
    scale: Float[Tensor, ""] | float,
    *,
    index: Int[Tensor, " batch"] | None = None,
    targets: Int[Tensor, " batch"] | None = None,
    paired: Bool[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Half the cross-entropy of finding each case's partner among the batch, in both directions.

        s_ij = scale <a_i, b_j> / (|a_i| |b_j|)
        L = 1/2 mean_i [ -mean_{j in P(i)} log softmax_j(s_ij) - mean_{j in P(i)} log
        softmax_j(s_ji) ]

    P(i) is case i alone, or all cases of its class where `targets` are given.

    Args:
        first: Embeddings of one modality, of any length; they are normalised here.
        second: Embeddings of the other.
        scale: Inverse temperature.
        index: Identity of each case. Copies of one case (from oversampling) are then left out of
            the softmax of each other, where they would count as false negatives.
        targets: Class codes, -1 where missing, for the supervised form; a case without a label has
            itself alone.
        paired: Cases that count, as partners and as negatives; all by default. 0 where none does.
    """
    scores = scale * F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    own = torch.eye(first.shape[0], dtype=torch.bool, device=first.device)
    allowed = torch.ones_like(own) if index is None else own | (index[:, None] != index)
    if paired is None:
        paired = torch.ones(first.shape[0], dtype=torch.bool, device=first.device)
    allowed = own | (allowed & paired[:, None] & paired)
    positive = own
    if targets is not None:
        positive = own | ((targets[:, None] == targets) & (targets[:, None] >= 0))
    positive = positive & allowed
    ways = (_direction(each, positive, allowed, paired) for each in (scores, scores.T))
    return sum(ways, scores.new_zeros(())) / 2


def _direction(
    scores: Float[Tensor, "batch batch"],
    positive: Bool[Tensor, "batch batch"],
    allowed: Bool[Tensor, "batch batch"],
    paired: Bool[Tensor, " batch"],
) -> Float[Tensor, ""]:
    log_probs = scores.masked_fill(~allowed, -torch.inf).log_softmax(dim=1)
    picked = log_probs.masked_fill(~positive, 0).sum(dim=1)
    each = -(picked / positive.sum(dim=1)) * paired
    return each.sum() / paired.sum().clamp(min=1)


__all__ = ["symmetric_info_nce"]
