"""What makes inputs worse: absent modalities and cells, noise and shifts, drawn case by case.

Everything is drawn from a hash of the seed, the draw and the case, so that the same command gives
the same numbers, and what is hit at one level is hit at every higher one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.tabular import TableEncoder
from fusionzoo.data.transforms import Augmentation, augment, case_keys, translate, uniform
from fusionzoo.interface import Batch
from fusionzoo.spec import Modality

#: What is done, at which levels, and what a level counts.
LEVELS = {
    "drop": (0.0, 0.25, 0.5, 0.75, 1.0),
    "cells": (0.0, 0.1, 0.25, 0.5, 0.75, 1.0),
    "noise": (0.0, 0.1, 0.25, 0.5, 1.0),
    "shift": (0.0, 1.0, 2.0, 4.0, 8.0),
}
UNITS = {
    "drop": "share of cases without it",
    "cells": "share of empty cells",
    "noise": "noise, in standard deviations of the image",
    "shift": "voxels or pixels along every axis",
}


@dataclass(frozen=True)
class Probe:
    """One way to make one modality of all test cases worse.

    Args:
        kind: A key of `LEVELS`; `drop` takes the modality from every case.
        modality: What is made worse.
        level: How much.
        draw: Number of the draw.
    """

    kind: str
    modality: Modality
    level: float
    draw: int


def levels_of(kind: str, modality: Modality) -> tuple[float, ...]:
    """Levels of a perturbation; an image is not moved by half of its smallest axis or more."""
    levels = LEVELS[kind]
    if kind == "shift":
        levels = tuple(level for level in levels if 2 * level < min(modality.size))
    return levels


@dataclass(frozen=True)
class Perturber:
    """Makes batches of a data set worse.

    Args:
        dataset: Where tables are read anew.
        encoders: Per table, what turns its rows into numbers.
        read: Modalities that the model reads.
        seed: Seed of all draws.
    """

    dataset: AbstractDataset
    encoders: Mapping[str, TableEncoder]
    read: tuple[str, ...]
    seed: int

    def batch(self, batch: Batch, probe: Probe) -> Batch:
        """A batch in which one modality is worse; cases without it stay as they are."""
        name = probe.modality.name
        inputs, present = dict(batch.inputs), dict(batch.present)
        if probe.kind == "drop":
            kept = present[name] & ~self._can_lose(batch, name)
            inputs[name] = _where(kept, inputs[name], torch.zeros_like(inputs[name]))
            present[name] = kept
        else:
            worse = self._worse(batch, probe).to(inputs[name])
            inputs[name] = _where(present[name], worse, inputs[name])
        return Batch(inputs, present, batch.targets, batch.index)

    def dropped(self, rows: np.ndarray, name: str, share: float, draw: int) -> np.ndarray:
        """Which cases lose a modality: a share of those that can, the first in a drawn order."""
        has = {other: self.dataset.present(other)[rows] for other in self.read}
        can = has[name] & np.any([has[other] for other in self.read if other != name], axis=0)
        order = uniform(case_keys(self.seed, draw, rows), 1, f"drop {name}")[:, 0]
        ranks = np.argsort(np.argsort(np.where(can, order, 2.0), kind="stable"), kind="stable")
        return np.asarray(can & (ranks < round(share * can.sum())))

    def _can_lose(self, batch: Batch, name: str) -> Tensor:
        """Cases that still have something without this modality."""
        others = [batch.present[other] for other in self.read if other != name]
        return torch.stack(others).any(dim=0)

    def _worse(self, batch: Batch, probe: Probe) -> Tensor:
        rows, name = batch.index.cpu().numpy(), probe.modality.name
        keys = case_keys(self.seed, probe.draw, rows)
        if probe.kind == "cells":
            frame = self.dataset.table(name).iloc[rows]
            hit = uniform(keys, frame.shape[1], f"cells {name}") < probe.level
            return torch.from_numpy(self.encoders[name].transform(frame.mask(hit)))
        image = batch.inputs[name].float().cpu()
        return _noisy(image, probe, keys) if probe.kind == "noise" else _shifted(image, probe, keys)


def _where(chosen: Tensor, x: Tensor, other: Tensor) -> Tensor:
    """`x` for the chosen cases, `other` for the rest."""
    return torch.where(chosen.view(-1, *(1,) * (x.ndim - 1)), x, other)


def _noisy(x: Tensor, probe: Probe, keys: np.ndarray) -> Tensor:
    """The image plus Gaussian noise of `level` times its own standard deviation."""
    unit = Augmentation(noise=1.0)
    noise = augment(torch.zeros_like(x), unit, keys, modality=probe.modality.name)
    spread = x.flatten(1).std(dim=1).view(-1, *(1,) * (x.ndim - 1))
    return x + probe.level * spread * noise


def _shifted(x: Tensor, probe: Probe, keys: np.ndarray) -> Tensor:
    """The image moved by `level` along every axis, to a side that is drawn for each."""
    signs = uniform(keys, x.ndim - 2, f"shift {probe.modality.name}") < 0.5
    return translate(x, np.where(signs, -1, 1) * int(probe.level))


__all__ = ["LEVELS", "UNITS", "Perturber", "Probe", "levels_of"]
