"""Features of several modalities on one grid per level, whatever their layouts and sizes."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from fusionzoo.ops.conv import resize_to
from fusionzoo.spec import FeatureSpec, Need

_AVERAGE: Mapping[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


class CommonGrid:
    """Every modality as one map per level, with as many axes as the one that has the most.

    A pyramid gives its maps. What is no pyramid takes part at every level with the same features: a
    map as it is, tokens as a map of one axis, a vector as a map of one position. Axes that a map
    lacks have length one and come first. Where the maps of a level differ in size, `resampled`
    brings them to the largest one's grid, so that a vector is the same at every position.

    Args:
        given: Features per modality; all pyramids have as many levels.
    """

    def __init__(self, given: Mapping[str, FeatureSpec]):
        self.given = dict(given)
        self.num_levels = _num_levels(given)
        self.num_axes = max(1, *(len(spec.size) for spec in given.values()))
        #: Per level and modality, channels and size of its map.
        self.channels = [
            [self._at(spec, level).channels for spec in given.values()]
            for level in range(self.num_levels)
        ]
        self.sizes = [
            [self._lifted(self._at(spec, level).size) for spec in given.values()]
            for level in range(self.num_levels)
        ]

    def _at(self, spec: FeatureSpec, level: int) -> Any:
        return spec.levels[level if spec.layout == "pyramid" else 0]

    def _lifted(self, size: Sequence[int]) -> tuple[int, ...]:
        return (*(1,) * (self.num_axes - len(size)), *size)

    def maps(self, features: Mapping[str, Any]) -> list[list[Float[Tensor, "batch _ ..."]]]:
        """Per level, one map per modality."""
        return [
            [self._map(spec, features[name], level) for name, spec in self.given.items()]
            for level in range(self.num_levels)
        ]

    def _map(self, spec: FeatureSpec, x: Any, level: int) -> Tensor:
        if spec.layout == "pyramid":
            x = x[level]
        elif spec.layout == "tokens":
            x = rearrange(x, "batch tokens channels -> batch channels tokens")
        return x.reshape(*x.shape[:2], *self._lifted(x.shape[2:]))

    def features(self, maps: Sequence[Sequence[Tensor]]) -> dict[str, Any]:
        """Per modality, its maps in its own layout; of what is no pyramid, that of the last level.

        The reverse of `maps`.
        """
        return {
            name: self._own(spec, [level[index] for level in maps])
            for index, (name, spec) in enumerate(self.given.items())
        }

    def _own(self, spec: FeatureSpec, maps: list[Tensor]) -> Any:
        first = self.num_axes - len(spec.size)
        own = [x.reshape(*x.shape[:2], *x.shape[2 + first :]) for x in maps]
        if spec.layout == "pyramid":
            return own
        if spec.layout == "tokens":
            return rearrange(own[-1], "batch channels tokens -> batch tokens channels")
        return own[-1]


def any_features(
    given: Mapping[str, FeatureSpec], num_levels: int | None = None
) -> dict[str, Need]:
    """What a fusion over a `CommonGrid` takes: what is given, pyramids cut to as many levels.

    Args:
        given: The encoders' features.
        num_levels: The coarsest levels that are used; as many as every pyramid has by default.
    """
    levels = num_levels or _num_levels(given)
    return {
        name: Need((spec.layout,), num_levels=levels if spec.layout == "pyramid" else None)
        for name, spec in given.items()
    }


def _num_levels(given: Mapping[str, FeatureSpec]) -> int:
    pyramids = (len(spec.levels) for spec in given.values() if spec.layout == "pyramid")
    return min(pyramids, default=1)


def largest(sizes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The size with the most positions, the first of several."""
    return tuple(max(sizes, key=math.prod))


def resampled(
    x: Float[Tensor, "batch channels *space"], size: Sequence[int]
) -> Float[Tensor, "batch channels *grid"]:
    """The map at another size: averaged along axes that shrink, linear along those that grow."""
    own = tuple(x.shape[2:])
    smaller = tuple(min(length, wanted) for length, wanted in zip(own, size, strict=True))
    if smaller != own:
        x = _AVERAGE[len(own)](x, smaller)
    spread = (w if length == 1 else length for length, w in zip(smaller, size, strict=True))
    return resize_to(x.expand(*x.shape[:2], *spread), size, align_corners=False)


def cells(sizes: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """How many positions of each size go into one of the next, per axis, rounded up."""
    return [
        tuple(-(-length // after) for length, after in zip(fine, coarse, strict=True))
        for fine, coarse in pairwise(sizes)
    ]


__all__ = ["CommonGrid", "any_features", "cells", "largest", "resampled"]
