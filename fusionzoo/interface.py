"""What a component is: the contracts between encoders, necks, fusions, heads and the model.

Axes, as the annotations of `forward` name them: `batch`, `channels`, `depth height width` (or
`*space`), `tokens`, `embed`, `classes`, `columns`. Volumes are (depth, height, width).

A model runs in one loop. Encoders go stage by stage and a fusion may act at three places:
`exchange` between stages, `join` at the end, `decide` on the logits (fitted on validation data
after training).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from fusionzoo.spec import FeatureSpec, Modality, Need, TaskSpec

#: A tensor for vector, tokens and map; a list of maps, fine to coarse, for a pyramid.
Features: TypeAlias = Tensor | list[Tensor]

T = TypeVar("T", bound=type)


def component(*, source: str) -> Callable[[T], T]:
    """Mark the one class of a file as its component, with its paper and equations."""

    def mark(cls: T) -> T:
        cls.source = source  # type: ignore[attr-defined]
        return cls

    return mark


@dataclass
class Batch:
    """Some cases, as the loader gives them.

    Not frozen: mixed precision casts its tensors in a copy.

    Args:
        inputs: One tensor per modality, `batch channels *space` or `batch columns`; zeros where a
            case has none.
        present: Per modality, which cases have it.
        targets: Per task, class codes; -1 where the label is missing.
        index: Row of each case in the data set.
    """

    inputs: dict[str, Float[Tensor, "batch ..."]]
    present: dict[str, Bool[Tensor, " batch"]]
    targets: dict[str, Int[Tensor, " batch"]]
    index: Int[Tensor, " batch"]

    def to(self, device: Any) -> "Batch":
        """The same batch on another device."""
        return Batch(
            {name: x.to(device, non_blocking=True) for name, x in self.inputs.items()},
            {name: x.to(device, non_blocking=True) for name, x in self.present.items()},
            {name: x.to(device, non_blocking=True) for name, x in self.targets.items()},
            self.index.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class Context:
    """What a fusion may look at beside the features.

    Args:
        present: Per modality, which cases have it.
        targets: Class codes per task while training, None otherwise.
        index: Row of each case in the data set (copies of one case share it), None outside
            training.
        unrefined: For the last fusion of a chain, the features as they were before any fusion
            refined them; None where none did.
    """

    present: Mapping[str, Bool[Tensor, " batch"]]
    targets: Mapping[str, Int[Tensor, " batch"]] | None = None
    index: Int[Tensor, " batch"] | None = None
    unrefined: Mapping[str, Features] | None = None


@dataclass(frozen=True)
class FusionOutput:
    """What a fusion's `join` gives.

    Args:
        features: A vector per named output; each gets a head.
        losses: Auxiliary losses by name.
        logits: Per further output and task, what `decide` sees beside the heads' logits: logits
            that the fusion has without a head, or columns of a table.
    """

    features: dict[str, Tensor]
    losses: dict[str, Float[Tensor, ""]] = field(default_factory=dict)
    logits: dict[str, dict[str, Tensor]] = field(default_factory=dict)


class AbstractEncoder(nn.Module):
    """Turns one modality into features, stage by stage.

    A subclass sets `self.stages`, one `FeatureSpec` for what each stage gives, and implements
    `stem` and `stage`. What a stage gives is what the next stage takes, in the declared layout, so
    that a fusion may exchange features between stages.
    """

    source: ClassVar[str] = ""
    #: Kinds of modality that it reads.
    accepts: ClassVar[frozenset[str]] = frozenset()
    #: Whether stages can be run one by one (False: everything happens in the last one, and no
    #: fusion may exchange).
    staged: bool = True
    #: Points inside of its stages at which a fusion may change the map.
    points: ClassVar[frozenset[str]] = frozenset()
    #: Options of a small one, which `fusionzoo check` and `fusionzoo matrix` build.
    small: ClassVar[Mapping[str, Any]] = {}
    #: Trained parameters that no gradient reaches, by the method's own arithmetic, as patterns of
    #: their names.
    no_gradient: ClassVar[frozenset[str]] = frozenset()
    #: Whether `torch.export` can write it down.
    exports: ClassVar[bool] = True
    #: Where it gives vectors: name of the module inside that gives its last map or tokens.
    last_map: str = ""

    stages: tuple[FeatureSpec, ...]

    @property
    def output(self) -> FeatureSpec:
        """What it gives: a pyramid where several stages give maps, else the last stage's."""
        if len(self.stages) > 1 and all(stage.layout == "map" for stage in self.stages):
            return FeatureSpec.pyramid(tuple(stage.levels[0] for stage in self.stages))
        return self.stages[-1]

    def stem(self, x: Tensor) -> Tensor:
        """From the input to what the first stage takes."""
        return x

    def stage(self, level: int, x: Any) -> Any:
        """From what stage `level - 1` (or the stem) gave to what stage `level` gives."""
        raise NotImplementedError

    def stage_with(
        self, level: int, x: Any, changes: Mapping[str, Callable[[Tensor], Tensor]]
    ) -> Any:
        """As `stage`, with the maps at some of `points` changed by functions."""
        raise NotImplementedError

    def emit(self, level: int, x: Any) -> Features:
        """What the output keeps of a stage; a norm of its own, for instance."""
        return x

    def summary(self) -> "AbstractSummary | None":
        """A new module from this encoder's output to one vector, where its paper has its own.

        Assembly asks for it when a vector is needed, and pools the last level where this is None.
        """
        return None

    def forward(self, x: Tensor) -> Features:
        """All stages, one after the other."""
        x = self.stem(x)
        kept: list[Any] = []
        for level in range(len(self.stages)):
            x = self.stage(level, x)
            kept.append(self.emit(level, x))
        return kept if len(kept) > 1 and self.output.layout == "pyramid" else kept[-1]


class AbstractSummary(nn.Module):
    """From features to one vector per case; sets `self.output`."""

    output: FeatureSpec

    def forward(self, features: Any) -> Float[Tensor, "batch channels"]:
        """One vector per case."""
        raise NotImplementedError


class AbstractNeck(nn.Module):
    """Refines one encoder's features; built from their `FeatureSpec`, sets `self.output`."""

    source: ClassVar[str] = ""
    #: Options of a small one, which `fusionzoo check` and `fusionzoo matrix` build.
    small: ClassVar[Mapping[str, Any]] = {}
    #: Trained parameters that no gradient reaches, by the method's own arithmetic, as patterns of
    #: their names.
    no_gradient: ClassVar[frozenset[str]] = frozenset()
    #: Whether `torch.export` can write it down.
    exports: ClassVar[bool] = True
    output: FeatureSpec

    @classmethod
    def need(cls, **options: Any) -> Need:
        """What it takes, given its options."""
        raise NotImplementedError

    def summary(self) -> AbstractSummary | None:
        """As `AbstractEncoder.summary`."""
        return None

    def forward(self, features: Any) -> Features:
        """The refined features."""
        raise NotImplementedError


class AbstractFusion(nn.Module):
    """Joins modalities.

    Built from the features of each modality after the conversions that `needs` asked for, in the
    order of the spec string. Sets `self.outputs`, one vector per named output; each output gets a
    head of its own, and `decide` turns their logits into the final ones.
    """

    source: ClassVar[str] = ""
    #: Where it acts: any of exchange (between stages), refine (features to features, before the
    #: next fusion of a chain), join (features to outputs) and decide (logits to logits).
    places: ClassVar[frozenset[str]] = frozenset({"join"})
    min_modalities: ClassVar[int] = 2
    max_modalities: ClassVar[int | None] = None
    #: What it does about a missing modality: `zero` (its features are zeros), `mask` (it reads
    #: `Context.present`) or `refuse`.
    missing: ClassVar[str] = "zero"
    #: Trained parameters whose gradient is zero over vectors by the method's own arithmetic, as
    #: patterns of their names.
    no_gradient: ClassVar[frozenset[str]] = frozenset()
    #: Options of a small one, which `fusionzoo check` and `fusionzoo matrix` build.
    small: ClassVar[Mapping[str, Any]] = {}
    #: Whether `torch.export` can write it down.
    exports: ClassVar[bool] = True

    #: What `join` gives: one vector per output.
    outputs: dict[str, FeatureSpec]
    #: What `refine` gives, where the fusion has it.
    refined: dict[str, FeatureSpec]

    @classmethod
    def needs(cls, given: Mapping[str, FeatureSpec], **options: Any) -> dict[str, Need]:
        """What it takes of each modality, given the encoders' features and all its options.

        A vector of each, where a fusion doesn't say otherwise.
        """
        return {name: Need(("vector",)) for name in given}

    @property
    def supervised(self) -> dict[str, float]:
        """Weights of the outputs with a task loss; `final` is what `decide` gives."""
        return {"final": 1.0}

    def attach(
        self, stages: Mapping[str, Sequence[FeatureSpec]], tasks: Sequence[TaskSpec]
    ) -> None:
        """Build what depends on the encoders' stages or the tasks; called once, when built."""

    def exchange(
        self, level: int, states: dict[str, Tensor], context: Context
    ) -> dict[str, Tensor]:
        """New features of each modality after a stage; runs where `places` has `exchange`."""
        return states

    @property
    def points(self) -> Mapping[str, frozenset[str]]:
        """Points inside of stages where `inside` changes maps, per modality."""
        return {}

    def inside(
        self, level: int, states: dict[str, Tensor], context: Context
    ) -> Mapping[str, Mapping[str, Callable[[Tensor], Tensor]]]:
        """What changes maps inside of stage `level`, per modality and point of its encoder.

        Called before the stage, with what it is going to read; where `places` has `exchange`.
        """
        return {}

    def refine(self, features: dict[str, Any], context: Context) -> dict[str, Any]:
        """New features of each modality, as `refined` declares them."""
        raise NotImplementedError

    def join(self, features: dict[str, Any], context: Context) -> FusionOutput:
        """The features of each output, and auxiliary losses."""
        raise NotImplementedError

    def decide(
        self, logits: Mapping[str, Mapping[str, Tensor]], context: Context
    ) -> dict[str, Tensor]:
        """Final logits per task, from the logits per output and task."""
        (only,) = logits.values()
        return dict(only)

    def fit(
        self, logits: Mapping[str, Mapping[str, Tensor]], targets: Mapping[str, Tensor]
    ) -> None:
        """Fit `decide` on validation data after training; does nothing by default."""

    def fit_features(
        self,
        features: Mapping[str, Tensor],
        present: Mapping[str, Bool[Tensor, " cases"]],
        targets: Mapping[str, Int[Tensor, " cases"]],
    ) -> None:
        """Fit what gradients don't on the training cases, as `join` reads them, after training.

        Each case counts once, without augmentation; called before `fit`. Does nothing by default.
        """

    @property
    def held_out(self) -> float:
        """Share of the training cases that `fit_stacked` wants to be judged unseen; 0 for none.

        A second model of the same combo, trained on the other patients' training cases, judges
        them; it costs about as much as the first.
        """
        return 0.0

    def fit_stacked(
        self,
        logits: Mapping[str, Mapping[str, Tensor]],
        targets: Mapping[str, Tensor],
        val_logits: Mapping[str, Mapping[str, Tensor]],
        val_targets: Mapping[str, Tensor],
    ) -> None:
        """Fit a second stage on the held-out cases, and on the validation cases that `fit` saw.

        Called after `fit`, where `held_out` isn't 0; does nothing by default.
        """


class AbstractAugmentation:
    """Changes the images of one modality at random while training.

    What is drawn comes from the cases' keys and nothing else, so that a case is changed in the same
    way whatever batch it is in and wherever a run was interrupted.
    """

    source: ClassVar[str] = ""
    #: Kinds of modality that it changes.
    accepts: ClassVar[frozenset[str]] = frozenset({"image", "volume"})
    #: As `AbstractEncoder.small`.
    small: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, modality: Modality):
        self.modality = modality

    def __call__(
        self, x: Float[Tensor, "batch channels *space"], keys: Shaped[np.ndarray, " batch"]
    ) -> Float[Tensor, "batch channels *space"]:
        """A changed copy of the batch.

        Args:
            x: Images or volumes.
            keys: One uint64 per case, a hash of seed, epoch, case and copy;
                `fusionzoo.data.transforms.uniform` makes numbers of them.
        """
        raise NotImplementedError


class AbstractHead(nn.Module):
    """From one vector to logits for every task."""

    source: ClassVar[str] = ""
    #: Options of a small one, which `fusionzoo check` and `fusionzoo matrix` build.
    small: ClassVar[Mapping[str, Any]] = {}
    #: Trained parameters that no gradient reaches, by the method's own arithmetic, as patterns of
    #: their names.
    no_gradient: ClassVar[frozenset[str]] = frozenset()
    #: Whether `torch.export` can write it down.
    exports: ClassVar[bool] = True

    def __init__(self, given: FeatureSpec, tasks: Sequence[TaskSpec]):
        super().__init__()
        self.given = given
        self.tasks = tuple(tasks)

    @classmethod
    def need(cls, **options: Any) -> Need:
        """What it takes, given its options."""
        return Need(("vector",))

    def forward(
        self, x: Float[Tensor, "batch channels"]
    ) -> dict[str, Float[Tensor, "batch logits"]]:
        """Logits per task: one for a binary task, one per class otherwise."""
        raise NotImplementedError


__all__ = [
    "AbstractAugmentation",
    "AbstractEncoder",
    "AbstractFusion",
    "AbstractHead",
    "AbstractNeck",
    "AbstractSummary",
    "Batch",
    "Context",
    "Features",
    "FusionOutput",
    "Modality",
    "component",
]
