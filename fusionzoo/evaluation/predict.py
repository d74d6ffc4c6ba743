"""From trained models and cases to probabilities per case."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.evaluation.predictions import prediction_rows
from fusionzoo.interface import Batch
from fusionzoo.models.model import FusionModel
from fusionzoo.spec import TaskSpec


def probabilities(logits: Tensor, task: TaskSpec) -> Tensor:
    """`batch logits` to `batch classes`, in float64: sigmoid for one logit, softmax for several."""
    logits = logits.double().cpu()
    if task.binary:
        positive = logits.sigmoid()
        return torch.cat([1 - positive, positive], dim=1)
    return logits.softmax(dim=1)


def predict(
    model: FusionModel, batches: Iterable[Batch], tasks: tuple[TaskSpec, ...], device: torch.device
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rows of the cases, and probabilities `cases classes` per task, in evaluation mode."""
    model.eval()
    rows: list[Tensor] = []
    found: dict[str, list[Tensor]] = {task.name: [] for task in tasks}
    with torch.inference_mode():
        for batch in batches:
            output = model(batch.to(device))
            rows.append(batch.index.cpu())
            for task in tasks:
                found[task.name].append(probabilities(output.logits[task.name], task))
    return torch.cat(rows).numpy(), {
        name: torch.cat(parts).numpy() for name, parts in found.items()
    }


def prediction_blocks(
    models: Mapping[str, FusionModel],
    batches: Mapping[str, Iterable[Batch]],
    dataset: AbstractDataset,
    device: torch.device,
) -> Iterator[pd.DataFrame]:
    """Rows for `Predictions.collect`: every model on every part.

    Args:
        models: Models by the name of their output.
        batches: Cases by part (`val`, `test`).
        dataset: Where names, patients and labels come from.
        device: Where the models are.
    """
    cases = np.asarray(dataset.cases, dtype=object)
    for part, loader in batches.items():
        for output, model in models.items():
            rows, found = predict(model, loader, dataset.spec.tasks, device)
            for task in dataset.spec.tasks:
                yield prediction_rows(
                    cases=cases[rows].tolist(),
                    groups=dataset.groups[rows],
                    part=part,
                    task=task,
                    output=output,
                    labels=dataset.targets[task.name][rows],
                    probs=found[task.name],
                )
