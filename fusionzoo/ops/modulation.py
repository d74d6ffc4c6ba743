"""Scale and shift of a feature map by a table: what FiLM and DAFT have in common."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.errors import BadOption, LayoutMismatch
from fusionzoo.interface import AbstractFusion, Context, FusionOutput
from fusionzoo.spec import FeatureSpec, TaskSpec

#: Where a residual block's maps are modulated, by DAFT's number: what the block reads, what its
#: skip or its main path alone reads, and what its first norm or its first ReLU gives.
LOCATIONS = ("input", "skip", "main", "norm", "relu")


class Modulation(nn.Module):
    """alpha map + beta, with (alpha, beta) = V relu(U code), one pair per channel and no biases.

    Args:
        code_channels: Width of the code.
        channels: Channels of the map.
        bottleneck: Width between U and V.
        scale: Whether there is an alpha; it is 1 otherwise.
        shift: Whether there is a beta; it is 0 otherwise.
        activation: What alpha goes through.
    """

    def __init__(
        self,
        code_channels: int,
        channels: int,
        *,
        bottleneck: int,
        scale: bool,
        shift: bool,
        activation: Literal["linear", "sigmoid", "tanh"],
    ):
        super().__init__()
        self.scale, self.shift, self.activation = scale, shift, activation
        self.squeeze = nn.Linear(code_channels, bottleneck, bias=False)
        self.excite = nn.Linear(bottleneck, (scale + shift) * channels, bias=False)

    def forward(
        self, features: Float[Tensor, "batch channels *space"], code: Float[Tensor, "batch code"]
    ) -> Float[Tensor, "batch channels *space"]:
        """The map, scaled and shifted."""
        parts = self.excite(torch.relu(self.squeeze(code)))
        parts = parts.reshape(*parts.shape, *(1 for _ in features.shape[2:]))
        alpha, beta = parts.chunk(2, dim=1) if self.scale and self.shift else (parts, parts)
        if self.scale:
            bend = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}.get(self.activation)
            features = features * (alpha if bend is None else bend(alpha))
        return features + beta if self.shift else features


class AbstractModulation(AbstractFusion):
    """Modulates one encoder's map by the vector of the other modality, at one of `LOCATIONS`.

    Location 0 is between two stages; the others are inside of the second one. A subclass says
    whether the code holds the map's own average beside the vector.
    """

    places: ClassVar[frozenset[str]] = frozenset({"exchange", "join"})
    max_modalities: ClassVar[int | None] = 2
    sees_map: ClassVar[bool]

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        level: int = -2,
        location: int = 0,
        bottleneck: int = 7,
        scale: bool = True,
        shift: bool = True,
        activation: Literal["linear", "sigmoid", "tanh"] = "linear",
    ):
        super().__init__()
        if not (scale or shift):
            raise BadOption("scale=False and shift=False leave nothing to do. Keep one of them.")
        if not 0 <= location < len(LOCATIONS):
            told = ", ".join(f"{number}: {what}" for number, what in enumerate(LOCATIONS))
            raise BadOption(f"location={location} is none of the five: {told}.")
        self.given = dict(given)
        self.level, self.location = level, location
        self.build = partial(
            Modulation, bottleneck=bottleneck, scale=scale, shift=shift, activation=activation
        )

    def attach(
        self, stages: Mapping[str, Sequence[FeatureSpec]], tasks: Sequence[TaskSpec]
    ) -> None:
        """Find out which modality has maps, and build the modulation for its level."""
        self.image, self.table = image_and_table(stages)
        count = len(stages[self.image])
        if not -count <= self.level < count:
            raise BadOption(
                f"level={self.level} is no stage of the encoder of {self.image!r}, which has "
                f"{count}. Use {-count} to {count - 1}."
            )
        self.level %= count
        inside = self.location > 0
        if inside and self.level == count - 1:
            raise BadOption(
                f"location={self.location} is inside of the stage after level={self.level}, "
                f"which is the last of {count}. Use level=-2 or lower, or location=0."
            )
        changed = stages[self.image][self.level + (self.location in (3, 4))]
        if changed.layout != "map":
            raise LayoutMismatch(
                f"Channels of a map are scaled and shifted; the encoder of {self.image!r} gives a "
                f"{changed} there. Use an encoder with maps (penet3d, resnet3d)."
            )
        table = stages[self.table][min(self.level, len(stages[self.table]) - 1)]
        code_channels = table.channels + (changed.channels if self.sees_map else 0)
        self.modulation = self.build(code_channels, changed.channels)
        self.outputs = {"fused": self.given[self.image]}

    @property
    def points(self) -> Mapping[str, frozenset[str]]:
        """The point of the location, where that is inside of a stage."""
        return {self.image: frozenset({LOCATIONS[self.location]})} if self.location else {}

    def exchange(
        self, level: int, states: dict[str, Tensor], context: Context
    ) -> dict[str, Tensor]:
        """The map modulated after its stage, everything else as it was."""
        if level != self.level or self.location:
            return states
        changed = self._modulated(states[self.image], states[self.table])
        return states | {self.image: changed}

    def inside(
        self, level: int, states: dict[str, Tensor], context: Context
    ) -> Mapping[str, Mapping[str, Callable[[Tensor], Tensor]]]:
        """The map modulated at its point of the next stage."""
        if level != self.level + 1 or not self.location:
            return {}
        change = partial(self._modulated, code=states[self.table])
        return {self.image: {LOCATIONS[self.location]: change}}

    def _modulated(self, features: Tensor, code: Tensor) -> Tensor:
        if self.sees_map:
            pooled = reduce(features, "batch channels ... -> batch channels", "mean")
            code = torch.cat([pooled, code], dim=1)
        return self.modulation(features, code)

    def join(self, features: dict[str, Float[Tensor, "batch _"]], context: Context) -> FusionOutput:
        """The image's vector; the table has had its say."""
        return FusionOutput({"fused": features[self.image]})


def image_and_table(stages: Mapping[str, Sequence[FeatureSpec]]) -> tuple[str, str]:
    """Names of the one modality that goes through vectors and of the one that doesn't.

    Raises: LayoutMismatch: there is not one of each
    """
    layouts = {name: specs[-1].layout for name, specs in stages.items()}
    images = [name for name, layout in layouts.items() if layout != "vector"]
    tables = [name for name, layout in layouts.items() if layout == "vector"]
    if len(images) != 1 or len(tables) != 1:
        found = ", ".join(f"{name} goes through a {layout}" for name, layout in layouts.items())
        raise LayoutMismatch(
            f"One encoder with maps and one with vectors are needed; {found}. "
            "Use one image encoder (penet3d, resnet3d) and one table encoder (identity, mlp)."
        )
    return images[0], tables[0]


__all__ = ["LOCATIONS", "AbstractModulation", "Modulation", "image_and_table"]
