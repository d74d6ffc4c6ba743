"""The validation scores that training watches."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusionzoo.losses.classification import task_loss
from fusionzoo.spec import TaskSpec


class ValidationScores(NamedTuple):
    """Means over the tasks; NaN for what no task defines.

    Args:
        loss: Cross-entropy.
        auroc: Area under the ROC curve, one against the rest for more than two classes.
        accuracy: Share of cases whose most probable class is right; class 1 from 1/2 on for two.
    """

    loss: float
    auroc: float
    accuracy: float


def validation_scores(
    logits: Mapping[str, Tensor], targets: Mapping[str, Tensor], tasks: Sequence[TaskSpec]
) -> ValidationScores:
    """The scores of all tasks; a task without a labelled case has none but a loss of 0."""
    own = [(logits[task.name], targets[task.name], task) for task in tasks]
    losses = [float(task_loss(*one, kind="bce")) for one in own]
    areas, shares = [_auroc(*one) for one in own], [_accuracy(*one) for one in own]
    return ValidationScores(float(np.mean(losses)), _mean(areas), _mean(shares))


def _mean(values: Sequence[float]) -> float:
    """Mean of those that are defined."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _accuracy(logits: Tensor, targets: Tensor, task: TaskSpec) -> float:
    kept = targets >= 0
    called = (logits[:, 0] >= 0).long() if task.binary else logits.argmax(dim=1)
    return float((called == targets)[kept].double().mean()) if kept.any() else float("nan")


def _auroc(logits: Tensor, targets: Tensor, task: TaskSpec) -> float:
    """Area under the ROC curve; the mean of one-vs-rest areas for more than two classes."""
    kept = targets >= 0
    logits, targets = logits[kept], targets[kept]
    scores = torch.cat([-logits, logits], dim=1) if task.binary else logits.softmax(dim=1)
    classes = [1] if task.binary else range(len(task.classes))
    areas = [_binary_auroc(scores[:, k].numpy(), (targets == k).numpy()) for k in classes]
    return _mean(areas)


def _binary_auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    from scipy.stats import rankdata

    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if not num_positive or not num_negative:
        return float("nan")
    ranks = rankdata(scores)
    return float(
        (ranks[positive].sum() - num_positive * (num_positive + 1) / 2)
        / (num_positive * num_negative)
    )
