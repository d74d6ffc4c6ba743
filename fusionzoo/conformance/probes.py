"""Small modules that put a component to work: encoders for fusions, and one face for all kinds.

A probe takes tensors by name and gives tensors by name, so that every check can run any kind of
component in the same way.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fusionzoo.interface import (
    AbstractEncoder,
    AbstractFusion,
    AbstractHead,
    AbstractNeck,
    Batch,
    FusionOutput,
)
from fusionzoo.models.model import FusionModel
from fusionzoo.spec import FeatureSpec, Modality, TaskSpec

#: Names under which assembly finds the encoders below while a fusion is checked.
MAPS, VECTORS = "conformance_maps", "conformance_vectors"


class ProbeMaps(AbstractEncoder):
    """Three convolutions of stride 2, each a level of the pyramid; smooth, so no gradient dies."""

    accepts: ClassVar[frozenset[str]] = frozenset({"image", "volume"})
    widths: ClassVar[tuple[int, ...]] = (8, 12, 16)

    def __init__(self, modality: Modality):
        super().__init__()
        conv = nn.Conv3d if modality.kind == "volume" else nn.Conv2d
        self.convs = nn.ModuleList(
            conv(before, after, 3, stride=2, padding=1)
            for before, after in pairwise((modality.channels, *self.widths))
        )
        size, specs = modality.size, []
        for level, width in enumerate(self.widths):
            size = tuple(-(-length // 2) for length in size)
            specs.append(FeatureSpec.map(width, size, (2 ** (level + 1),) * len(size)))
        self.stages = tuple(specs)

    def stage(self, level: int, x: Tensor) -> Tensor:
        """One convolution."""
        return torch.tanh(self.convs[level](x))


class ProbeVectors(AbstractEncoder):
    """Two linear layers, each a stage."""

    accepts: ClassVar[frozenset[str]] = frozenset({"table"})

    def __init__(self, modality: Modality):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(modality.channels, 8), nn.Linear(8, 16)])
        self.stages = (FeatureSpec.vector(8), FeatureSpec.vector(16))

    def stage(self, level: int, x: Tensor) -> Tensor:
        """One layer."""
        return torch.tanh(self.layers[level](x))


class Probe(nn.Module):
    """A component at work; `part` is the component itself, and its weights are the ones checked.

    Args:
        part: The component.
        more: What comes with it and is checked too: its summary, for instance.
    """

    def __init__(self, part: nn.Module, more: nn.Module | None = None):
        super().__init__()
        self.part = part
        self.more = more

    def forward(
        self, inputs: dict[str, Tensor], present: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """All that the component gives, by name."""
        raise NotImplementedError


class EncoderProbe(Probe):
    """An encoder, with its summary where it has one."""

    def __init__(self, part: AbstractEncoder):
        super().__init__(part, part.summary())

    def forward(
        self, inputs: dict[str, Tensor], present: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The levels of its output, and the summary of them."""
        features = self.part(inputs["input"])
        return _named("output", features) | _summary(self.more, features)


class NeckProbe(Probe):
    """A neck, with its summary where it has one."""

    def __init__(self, part: AbstractNeck, given: FeatureSpec):
        super().__init__(part, part.summary())
        self.pyramid = given.layout == "pyramid"

    def forward(
        self, inputs: dict[str, Tensor], present: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The levels of its output, and the summary of them."""
        features = self.part(list(inputs.values()) if self.pyramid else inputs["input"])
        return _named("output", features) | _summary(self.more, features)


class HeadProbe(Probe):
    """A head."""

    def __init__(self, part: AbstractHead):
        super().__init__(part)

    def forward(
        self, inputs: dict[str, Tensor], present: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Logits per task."""
        logits: dict[str, Tensor] = self.part(inputs["input"])
        return {f"logits of {task}": x for task, x in logits.items()}


class FusionProbe(Probe):
    """A fusion between small encoders and linear heads, as assembly put them together."""

    def __init__(self, model: FusionModel, part: AbstractFusion, tasks: Sequence[TaskSpec]):
        super().__init__(part)
        self.model = model
        self.tasks = tuple(tasks)

    @property
    def fusion(self) -> AbstractFusion:
        """The fusion that is checked."""
        return self.model.chain[0]

    def forward(
        self, inputs: dict[str, Tensor], present: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Logits of every output and the final ones, what is joined, and auxiliary losses."""
        found = self.model(self._batch(inputs, present))
        logits = {
            f"logits of {task} by {output}": x
            for output, by_task in found.by_output.items()
            for task, x in by_task.items()
        }
        final = {f"final logits of {task}": x for task, x in found.logits.items()}
        return logits | final | {f"loss {name}": x for name, x in found.losses.items()}

    def _batch(self, inputs: dict[str, Tensor], present: dict[str, Tensor] | None) -> Batch:
        first = next(iter(inputs.values()))
        index = torch.arange(len(first), device=first.device)
        there = {
            name: torch.ones(len(x), dtype=torch.bool, device=x.device)
            for name, x in inputs.items()
        }
        codes = {task.name: index % len(task.classes) for task in self.tasks}
        return Batch(inputs, present or there, codes, index)


def joined_shapes(probe: FusionProbe, inputs: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of what the fusion gave for the heads, by output, in one run of the whole model."""
    found: dict[str, tuple[int, ...]] = {}
    part: Any = probe.part
    places = part.places
    given = part.join if "join" in places else part.refine

    def noted(*arguments: Any) -> Any:
        result = given(*arguments)
        features: Mapping[str, Any] = (
            result.features if isinstance(result, FusionOutput) else result
        )
        found.update({name: tuple(x.shape) for name, x in features.items() if torch.is_tensor(x)})
        return result

    name = "join" if "join" in places else "refine"
    object.__setattr__(part, name, noted)
    try:
        probe(inputs)
    except KeyError:
        if not found:
            raise  # else what it gave has other names than the heads look for
    finally:
        object.__delattr__(part, name)
    return found


def _named(name: str, features: Any) -> dict[str, Tensor]:
    """One tensor, or the levels of a pyramid."""
    if isinstance(features, list | tuple):
        return {f"{name}, level {level}": x for level, x in enumerate(features)}
    return {name: features}


def _summary(module: nn.Module | None, features: Any) -> dict[str, Tensor]:
    return {} if module is None else {"summary": module(features)}
