"""The two validation scores that training watches."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fusionzoo.losses.classification import task_loss
from fusionzoo.spec import TaskSpec


def validation_scores(
    logits: Mapping[str, Tensor], targets: Mapping[str, Tensor], tasks: Sequence[TaskSpec]
) -> tuple[float, float]:
    """Cross-entropy and AUROC, means over the tasks; NaN for an AUROC that no task defines."""
    losses = [float(task_loss(logits[t.name], targets[t.name], t, kind="bce")) for t in tasks]
    aurocs = [_auroc(logits[t.name], targets[t.name], t) for t in tasks]
    known = [value for value in aurocs if not np.isnan(value)]
    return float(np.mean(losses)), float(np.mean(known)) if known else float("nan")


def _auroc(logits: Tensor, targets: Tensor, task: TaskSpec) -> float:
    """Area under the ROC curve; the mean of one-vs-rest areas for more than two classes."""
    kept = targets >= 0
    logits, targets = logits[kept], targets[kept]
    scores = torch.cat([-logits, logits], dim=1) if task.binary else logits.softmax(dim=1)
    classes = [1] if task.binary else range(len(task.classes))
    areas = [_binary_auroc(scores[:, k].numpy(), (targets == k).numpy()) for k in classes]
    areas = [area for area in areas if not np.isnan(area)]
    return float(np.mean(areas)) if areas else float("nan")


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
