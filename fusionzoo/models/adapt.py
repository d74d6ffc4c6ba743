"""The few conversions that assembly may put between two parts, and how it picks them.

| from         | to      | conversion                                                             |
|--------------|---------|------------------------------------------------------------------------|
| pyramid      | map     | last level                                                             |
| pyramid      | pyramid | the coarsest levels, where fewer are wanted                            |
| pyramid, map | tokens  | flatten the last level                                                 |
| pyramid, map | vector  | the part's own summary where its paper has one, else the mean of a map |
| tokens       | vector  | mean over tokens                                                       |
| vector       | tokens  | one token                                                              |
| any          | same    | project to the wanted channels (a linear map over channels)            |

Everything else is refused.
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from fusionzoo.interface import AbstractSummary, Features
from fusionzoo.spec import FeatureSpec, Level, Need


class LastLevel(nn.Module):
    """A pyramid's coarsest map."""

    def forward(self, x: list[Tensor]) -> Tensor:
        """`[maps]` to `batch channels *space`."""
        return x[-1]


class CoarsestLevels(nn.Module):
    """A pyramid's coarsest `num_levels` maps."""

    def __init__(self, num_levels: int):
        super().__init__()
        self.num_levels = num_levels

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """`[maps]` to fewer `[maps]`."""
        return x[-self.num_levels :]


class Flatten(nn.Module):
    """A map as tokens, the last axis fastest."""

    def forward(self, x: Tensor) -> Tensor:
        """`batch channels *space` to `batch tokens channels`."""
        return rearrange(x, "batch channels ... -> batch (...) channels")


class GlobalAveragePool(nn.Module):
    """Mean over all positions of a map."""

    def forward(self, x: Tensor) -> Tensor:
        """`batch channels *space` to `batch channels`."""
        return reduce(x, "batch channels ... -> batch channels", "mean")


class MeanToken(nn.Module):
    """Mean over tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """`batch tokens channels` to `batch channels`."""
        return reduce(x, "batch tokens channels -> batch channels", "mean")


class OneToken(nn.Module):
    """A vector as a sequence of one token."""

    def forward(self, x: Tensor) -> Tensor:
        """`batch channels` to `batch 1 channels`."""
        return rearrange(x, "batch channels -> batch 1 channels")


class Project(nn.Module):
    """A learned linear map over channels, one per level of a pyramid."""

    def __init__(self, given: FeatureSpec, channels: int):
        super().__init__()
        self.spatial = given.layout in ("map", "pyramid")
        self.linears = nn.ModuleList(nn.Linear(level.channels, channels) for level in given.levels)

    def _one(self, linear: nn.Module, x: Tensor) -> Tensor:
        if not self.spatial:
            return linear(x)
        return torch.movedim(linear(torch.movedim(x, 1, -1)), -1, 1)

    def forward(self, x: Features) -> Features:
        """The same layout with other channels."""
        if isinstance(x, list):
            return [self._one(linear, level) for linear, level in zip(self.linears, x, strict=True)]
        return self._one(self.linears[0], x)


@dataclass(frozen=True)
class Step:
    """One conversion: its name, its module and what it gives."""

    name: str
    module: nn.Module
    output: FeatureSpec


def reachable(given: FeatureSpec, need: Need) -> bool:
    """Whether conversions lead from `given` to what is needed."""
    return _layout(given, need) is not None


def _layout(given: FeatureSpec, need: Need) -> str | None:
    spatial = (
        need.spatial_dims is None
        or given.layout in ("vector", "tokens")
        or given.spatial_dims == need.spatial_dims
    )
    levels = need.num_levels is None or len(given.levels) >= need.num_levels
    ways = {
        "vector": ("vector", "tokens"),
        "tokens": ("tokens", "vector"),
        "map": ("map", "vector", "tokens"),
        "pyramid": ("pyramid", "map", "vector", "tokens"),
    }[given.layout]
    possible = [
        layout
        for layout in ways
        if layout in need.layouts
        and (layout not in ("map", "pyramid") or spatial)
        and (layout != "pyramid" or levels)
    ]
    if not possible:
        return None
    if given.layout in possible:
        return given.layout
    return min(possible, key=need.layouts.index)


def reduction(given: FeatureSpec, need: Need, summary: Any) -> list[Step]:
    """Conversions of layout; `summary` is a function that makes the part's own summary, or None."""
    target = _layout(given, need)
    if target is None:
        raise ValueError(f"{given} can't become {need}")
    steps: list[Step] = []
    last = given.at(-1) if given.layout == "pyramid" else given
    if target == given.layout == "pyramid" and need.num_levels not in (None, len(given.levels)):
        kept = given.levels[-need.num_levels :]
        steps.append(Step("coarsest levels", CoarsestLevels(len(kept)), FeatureSpec.pyramid(kept)))
    if target == given.layout:
        return steps
    if target == "vector" and given.layout in ("map", "pyramid"):
        own: AbstractSummary | None = summary()
        if own is not None:
            return [Step("summary", own, own.output)]
    if given.layout == "pyramid":
        steps.append(Step("last level", LastLevel(), last))
    module, name = {
        ("map", "tokens"): (Flatten, "flatten"),
        ("map", "vector"): (GlobalAveragePool, "pool"),
        ("tokens", "vector"): (MeanToken, "mean over tokens"),
        ("vector", "tokens"): (OneToken, "one token"),
    }.get((last.layout, target), (None, ""))
    if module is not None:
        output = (
            FeatureSpec.tokens(last.num_tokens, last.channels)
            if target == "tokens"
            else FeatureSpec.vector(last.channels)
        )
        steps.append(Step(name, module(), output))
    return steps


def projection(given: FeatureSpec, need: Need) -> list[Step]:
    """The conversion of channels, where one is needed."""
    if need.channels is None or all(level.channels == need.channels for level in given.levels):
        return []
    levels = tuple(Level(need.channels, level.size, level.stride) for level in given.levels)
    return [
        Step(
            f"project to {need.channels}",
            Project(given, need.channels),
            FeatureSpec(given.layout, levels),
        )
    ]
