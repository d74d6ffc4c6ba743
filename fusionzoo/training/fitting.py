"""What is gathered for a fusion that fits itself after training, and who may not be seen for it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionzoo.interface import AbstractFusion, Batch
from fusionzoo.models.model import FusionModel
from fusionzoo.training.loop import Known

#: Logits per output and task, and class codes per task, over some cases.
Judged = tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]


def implements(fusion: AbstractFusion, method: str) -> bool:
    """Whether a fusion has a method of its own for what the contract leaves empty."""
    return getattr(type(fusion), method) is not getattr(AbstractFusion, method)


@torch.no_grad()
def gather_features(
    model: FusionModel, cases: Iterable[Batch], device: torch.device, known: Known | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Features as the fusion reads them, who has which modality, and class codes; on the CPU."""
    model.eval()
    features, present, targets = [], [], []
    for batch in cases:
        batch = batch.to(device)
        context = model.context(batch)
        encoded = model.encode(batch, context, known(batch.index, -1) if known else {})
        adapted = {f.name: model.adapters[f.adapter](encoded[f.name]) for f in model.features}
        features.append({name: x.float().cpu() for name, x in adapted.items()})
        present.append({name: there.cpu() for name, there in context.present.items()})
        targets.append({task: codes.cpu() for task, codes in batch.targets.items()})
    return _joined(features), _joined(present), _joined(targets)


@torch.no_grad()
def gather_logits(
    model: FusionModel, cases: Iterable[Batch], device: torch.device, known: Known | None = None
) -> Judged:
    """Logits of every output, and class codes; on the CPU."""
    model.eval()
    logits: dict[str, list[dict[str, Any]]] = {}
    targets = []
    for batch in cases:
        batch = batch.to(device)
        output = model(batch, known(batch.index, -1) if known else {})
        for part, by_task in output.by_output.items():
            found = {task: values.float().cpu() for task, values in by_task.items()}
            logits.setdefault(part, []).append(found)
        targets.append({task: codes.cpu() for task, codes in batch.targets.items()})
    return {part: _joined(found) for part, found in logits.items()}, _joined(targets)


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Tensors of all batches, one after the other."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def part_by_patient(
    rows: np.ndarray, groups: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows in two parts of which no patient is in both.

    Patients are shuffled and go to the second part until it has its share of the rows.

    Args:
        rows: Rows of a data set.
        groups: The patient of each row of the data set.
        share: Of the rows that the second part is to have, about.
        seed: Of the shuffling.

    Returns:
        Both parts, ascending; None where there are fewer than two patients.
    """
    patients, place = np.unique(groups[rows], return_inverse=True)
    if len(patients) < 2:
        return None
    order = np.random.default_rng(seed).permutation(len(patients))
    counts = np.bincount(place)[order]
    before = np.cumsum(counts) - counts
    taken = order[before < share * len(rows)]
    taken = taken[: len(patients) - 1]
    second = np.isin(place, taken)
    return np.sort(rows[~second]), np.sort(rows[second])


__all__ = ["Judged", "gather_features", "gather_logits", "implements", "part_by_patient"]
