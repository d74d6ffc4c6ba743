"""What flows between parts, described without torch: modalities, features and tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Layout = Literal["vector", "tokens", "map", "pyramid"]
ModalityKind = Literal["volume", "image", "table"]

#: Spatial axes of each kind of modality: volumes are (depth, height, width), images (height,
#: width).
SPATIAL_DIMS: Mapping[str, int] = {"volume": 3, "image": 2, "table": 0}


@dataclass(frozen=True)
class Modality:
    """One input of a case.

    Args:
        name: What spec strings call it: `ct`, `table`, `derm`.
        kind: `volume` "batch channels depth height width", `image` "batch channels height width"
            or `table` "batch channels" (encoded columns).
        channels: Channels of an image or volume, encoded columns of a table.
        size: Spatial size in pixels or voxels, in the order of the axes; empty for a table.
    """

    name: str
    kind: ModalityKind
    channels: int
    size: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.size) != SPATIAL_DIMS[self.kind]:
            raise ValueError(
                f"modality {self.name!r}: a {self.kind} has {SPATIAL_DIMS[self.kind]} axes, not "
                f"{self.size}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one case, without the batch axis."""
        return (self.channels, *self.size)

    @property
    def feature(self) -> FeatureSpec:
        """The raw input, as the features an encoder that does nothing would give."""
        if self.kind == "table":
            return FeatureSpec.vector(self.channels)
        return FeatureSpec.map(self.channels, self.size, (1,) * len(self.size))


@dataclass(frozen=True)
class Level:
    """One map of a pyramid: channels, spatial size, and stride per axis relative to the input."""

    channels: int
    size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()

    def __str__(self) -> str:
        return "x".join(str(n) for n in (self.channels, *self.size))


@dataclass(frozen=True)
class FeatureSpec:
    """Shape of what one part hands to the next; frozen, hashable and free of torch.

    Args:
        layout: `vector` "batch channels", `tokens` "batch tokens channels", `map` "batch channels
            *space", `pyramid` a list of maps from fine to coarse.
        levels: One `Level` per map of a pyramid; exactly one for the other layouts. The size of
            tokens is their number.
    """

    layout: Layout
    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        if not self.levels or (self.layout != "pyramid" and len(self.levels) != 1):
            raise ValueError(f"a {self.layout} can't have {len(self.levels)} levels")

    @classmethod
    def vector(cls, channels: int) -> FeatureSpec:
        """One vector of `channels` per case."""
        return cls("vector", (Level(channels),))

    @classmethod
    def tokens(cls, num_tokens: int, channels: int) -> FeatureSpec:
        """A sequence of `num_tokens` vectors per case."""
        return cls("tokens", (Level(channels, (num_tokens,)),))

    @classmethod
    def map(cls, channels: int, size: tuple[int, ...], stride: tuple[int, ...]) -> FeatureSpec:
        """One feature map per case."""
        return cls("map", (Level(channels, tuple(size), tuple(stride)),))

    @classmethod
    def pyramid(cls, levels: tuple[Level, ...]) -> FeatureSpec:
        """Feature maps from fine to coarse."""
        return cls("pyramid", tuple(levels))

    @property
    def channels(self) -> int:
        """Channels of the last (coarsest, or only) level."""
        return self.levels[-1].channels

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size, or number of tokens, of the last level."""
        return self.levels[-1].size

    @property
    def spatial_dims(self) -> int:
        """Spatial axes of a map or pyramid; 0 for vectors and tokens."""
        return len(self.size) if self.layout in ("map", "pyramid") else 0

    @property
    def num_tokens(self) -> int:
        """Tokens that the last level makes when flattened; 1 for a vector."""
        return math.prod(self.size) if self.size else 1

    def at(self, level: int) -> FeatureSpec:
        """One level of a pyramid, as a map."""
        chosen = self.levels[level]
        return FeatureSpec.map(chosen.channels, chosen.size, chosen.stride)

    def __str__(self) -> str:
        if self.layout == "vector":
            return f"vector of {self.channels} channels"
        if self.layout == "tokens":
            return f"{self.num_tokens} tokens of {self.channels} channels"
        if self.layout == "map":
            return f"map {self.levels[0]}"
        return (
            f"pyramid of {len(self.levels)} maps ({', '.join(str(level) for level in self.levels)})"
        )


@dataclass(frozen=True)
class Need:
    """What a neck, fusion or head takes for one modality; None leaves a property free.

    Args:
        layouts: Accepted layouts, the preferred one first.
        channels: Channels wanted at every level; assembly projects to them.
        num_levels: Maps wanted of a pyramid.
        spatial_dims: Spatial axes that a map or pyramid must have.
    """

    layouts: tuple[Layout, ...]
    channels: int | None = None
    num_levels: int | None = None
    spatial_dims: int | None = None

    def __str__(self) -> str:
        words = " or ".join(
            {"vector": "a vector", "tokens": "tokens", "map": "a map", "pyramid": "a pyramid"}[
                layout
            ]
            for layout in self.layouts
        )
        if self.num_levels is not None and "pyramid" in self.layouts:
            words += f" of {self.num_levels} maps"
        if self.spatial_dims is not None:
            words += f" with {self.spatial_dims} spatial axes"
        if self.channels is not None:
            words += f" of {self.channels} channels"
        return words


@dataclass(frozen=True)
class TaskSpec:
    """One thing to predict.

    Args:
        name: What records and boards call it.
        classes: Class names in the order of their codes 0, 1, ...; a binary task has two, the
            second positive.
    """

    name: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ValueError(f"task {self.name!r} needs two or more classes, has {self.classes}")

    @property
    def binary(self) -> bool:
        """Whether the task has two classes and so one logit."""
        return len(self.classes) == 2

    @property
    def num_logits(self) -> int:
        """Logits that a head gives: 1 for a binary task, one per class otherwise."""
        return 1 if self.binary else len(self.classes)


@dataclass(frozen=True)
class DataSpec:
    """What a model has to know of a data set, and what the data set suggests for it.

    Args:
        name: Name of the data set.
        modalities: Its inputs, in order.
        tasks: What to predict, in order.
        suggestions: Options for components, `{"penet3d": {"width": 0.25}}`; the spec string
            overrides them.
        training: Settings for the trainer, `{"epochs": 12}`; flags override them.
    """

    name: str
    modalities: tuple[Modality, ...]
    tasks: tuple[TaskSpec, ...]
    suggestions: Mapping[str, Mapping[str, object]] = field(default_factory=dict, hash=False)
    training: Mapping[str, object] = field(default_factory=dict, hash=False)

    def modality(self, name: str) -> Modality:
        """The modality called `name`; KeyError where there is none."""
        return {modality.name: modality for modality in self.modalities}[name]
