"""How much each modality weighed in a decision: Shapley values over sets of modalities.

Source: Shapley, A Value for n-Person Games, 1953; Lundberg and Lee, NeurIPS 2017, for models.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from fusionzoo.errors import BadOption
from fusionzoo.explain.score import Score, read_by, with_inputs
from fusionzoo.interface import Batch
from fusionzoo.models.model import FusionModel

#: More modalities than this have too many sets to try all.
MOST_MODALITIES = 10


@dataclass(frozen=True)
class Shares:
    """What each modality added to the score.

    Args:
        values: Shapley value per modality; together they are `score - baseline`.
        score: The score with all modalities.
        baseline: The score with none.
    """

    values: Mapping[str, float]
    score: float
    baseline: float

    @property
    def parts(self) -> dict[str, float]:
        """|value| over the sum of all |values|; equal parts where all are 0."""
        total = sum(map(abs, self.values.values()))
        if not total:
            return dict.fromkeys(self.values, 1 / len(self.values))
        return {name: abs(value) / total for name, value in self.values.items()}


def modality_shares(
    model: FusionModel,
    batch: Batch,
    score: Score,
    background: Batch | None = None,
    *,
    absence: Literal["background", "missing"] = "background",
) -> Shares:
    """phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)).

    v(S) is the score when only the modalities in S are the case's own. The others are, one after
    the other, those of each background case, and v is the mean (`background`), or they are missing
    and the fusion does what it does then (`missing`).

    Args:
        model: The model, in evaluation mode.
        batch: A single case.
        score: What is explained.
        background: Other cases, of the training part for instance; needed for `background`.
        absence: What stands for a modality that isn't there.

    Raises:
        BadOption: More than ten modalities, no background, or a fusion that needs every modality.
    """
    names = read_by(model)
    if len(names) > MOST_MODALITIES:
        raise BadOption(
            f"The shares of {len(names)} modalities need {2 ** len(names)} sets of them; "
            f"{MOST_MODALITIES} modalities are the most."
        )
    value = _missing(model, batch, score) if absence == "missing" else None
    if value is None:
        if background is None or not len(background.index):
            raise BadOption("The shares of modalities need background cases, and none were given.")
        value = _replaced(model, batch, score, background)
    worth = {kept: value(kept) for n in range(len(names) + 1) for kept in _sets(names, n)}
    return Shares(
        {name: _shapley(name, names, worth) for name in names},
        worth[frozenset(names)],
        worth[frozenset()],
    )


def _sets(names: tuple[str, ...], size: int) -> list[frozenset[str]]:
    return [frozenset(each) for each in itertools.combinations(names, size)]


def _shapley(name: str, names: tuple[str, ...], worth: Mapping[frozenset[str], float]) -> float:
    others = tuple(other for other in names if other != name)
    total = 0.0
    for size in range(len(others) + 1):
        weight = 1 / (len(names) * math.comb(len(others), size))
        for kept in _sets(others, size):
            total += weight * (worth[kept | {name}] - worth[kept])
    return total


def _replaced(
    model: FusionModel, batch: Batch, score: Score, background: Batch
) -> Callable[[frozenset[str]], float]:
    """v(S) with the background cases' own inputs for what isn't in S."""
    count = len(background.index)

    def value(kept: frozenset[str]) -> float:
        def own(name: str, case: Tensor, others: Tensor) -> Tensor:
            return case.expand(count, *case.shape[1:]) if name in kept else others

        mixed = Batch(
            {n: own(n, batch.inputs[n], background.inputs[n]) for n in read_by(model)},
            {n: own(n, batch.present[n], background.present[n]) for n in batch.present},
            background.targets,
            background.index,
        )
        with torch.no_grad():
            return float(score.of(model(mixed)).mean())

    return value


def _missing(model: FusionModel, batch: Batch, score: Score) -> Callable[[frozenset[str]], float]:
    """v(S) with what isn't in S declared missing."""
    if model.fusion is None or model.chain[0].missing == "refuse":
        who = "a model without a fusion" if model.fusion is None else type(model.chain[0]).__name__
        raise BadOption(
            f"{who} needs every modality, so none can be left out. Use absence=background."
        )

    def value(kept: frozenset[str]) -> float:
        names = read_by(model)
        inputs = {
            name: batch.inputs[name] if name in kept else torch.zeros_like(batch.inputs[name])
            for name in names
        }
        gone = {name: mask & (name in kept) for name, mask in batch.present.items()}
        with torch.no_grad():
            return float(score.of(model(replace(with_inputs(batch, inputs), present=gone)))[0])

    return value


__all__ = ["Shares", "modality_shares"]
