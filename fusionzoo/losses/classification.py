"""Losses of classification: cross-entropy and focal loss, with missing labels.

Source: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, Eq. (4).
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from fusionzoo.spec import TaskSpec


def binary_cross_entropy(
    logits: Float[Tensor, "*any"], targets: Float[Tensor, "*any"]
) -> Float[Tensor, "*any"]:
    """-[y log p + (1 - y) log(1 - p)] with p = sigmoid(logits), per element."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def binary_focal_loss(
    logits: Float[Tensor, "*any"], targets: Float[Tensor, "*any"], *, gamma: float = 2.0
) -> Float[Tensor, "*any"]:
    """-(1 - q)^gamma log q per element, with q = p where y = 1 and q = 1 - p where y = 0."""
    cross_entropy = binary_cross_entropy(logits, targets)
    return (1 - torch.exp(-cross_entropy)) ** gamma * cross_entropy


def focal_cross_entropy(
    logits: Float[Tensor, "batch classes"], targets: Int[Tensor, " batch"], *, gamma: float = 2.0
) -> Float[Tensor, " batch"]:
    """-(1 - q)^gamma log q per case, with q the softmax probability of its class."""
    cross_entropy = F.cross_entropy(logits, targets, reduction="none")
    return (1 - torch.exp(-cross_entropy)) ** gamma * cross_entropy


def task_loss(
    logits: Float[Tensor, "batch logits"],
    targets: Int[Tensor, " batch"],
    task: TaskSpec,
    *,
    kind: Literal["bce", "focal"] = "bce",
    class_weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """Mean loss of one task over the cases that have a label; 0 with zero gradients where none has.

    Args:
        logits: One per case for a binary task, one per class otherwise.
        targets: Class codes; -1 where the label is missing.
        task: What the logits stand for.
        kind: `bce` is cross-entropy (softmax for several classes), `focal` the same with gamma 2.
        class_weights: Weight of each class; the mean is then weighted.
    """
    known = targets >= 0
    if not known.any():
        return logits.sum() * 0
    logits, targets = logits[known], targets[known]
    gamma = 2.0 if kind == "focal" else 0.0
    if task.binary:
        codes = targets.to(logits.dtype)
        each = (
            binary_focal_loss(logits[:, 0], codes, gamma=gamma)
            if gamma
            else binary_cross_entropy(logits[:, 0], codes)
        )
    else:
        each = focal_cross_entropy(logits, targets, gamma=gamma)
    if class_weights is None:
        return each.mean()
    weights = class_weights.to(each)[targets]
    return (weights * each).sum() / weights.sum()


__all__ = ["binary_cross_entropy", "binary_focal_loss", "focal_cross_entropy", "task_loss"]
