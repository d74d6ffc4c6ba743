"""For what a component is built: several sizes, and for fusions several sets of modalities."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fusionzoo import registry
from fusionzoo.conformance.probes import (
    MAPS,
    VECTORS,
    EncoderProbe,
    FusionProbe,
    HeadProbe,
    NeckProbe,
    Probe,
    ProbeMaps,
    ProbeVectors,
)
from fusionzoo.conformance.quiet import seeded
from fusionzoo.conformance.subject import Subject
from fusionzoo.errors import FusionZooError
from fusionzoo.models.assemble import assemble
from fusionzoo.spec import DataSpec, FeatureSpec, Level, Modality, ModalityKind, Need, TaskSpec

#: Cases of a batch that is run.
CASES = 4

TASKS = (TaskSpec("dx", ("no", "yes")), TaskSpec("grade", ("low", "middle", "high")))
_KINDS: tuple[ModalityKind, ...] = ("image", "volume", "table")
_SIZES: Mapping[ModalityKind, tuple[tuple[int, tuple[int, ...]], ...]] = {
    "image": ((3, (32, 32)), (1, (64, 32)), (3, (40, 48)), (3, (64, 64))),
    "volume": ((1, (8, 32, 32)), (2, (12, 48, 40)), (1, (16, 32, 64)), (1, (32, 32, 32))),
    "table": ((5, ()), (12, ()), (1, ())),
}
#: What fusions are tried on, behind three stages of stride 2.
_SMALL_SIZES: Mapping[ModalityKind, tuple[tuple[int, tuple[int, ...]], ...]] = {
    "image": ((3, (16, 16)), (1, (32, 16))),
    "volume": ((1, (8, 16, 16)), (2, (8, 32, 16))),
    "table": ((5, ()), (12, ())),
}
#: Sizes of one kind that are enough.
_ENOUGH = 3
#: Modalities of each set that a fusion is tried on; a name begins with its kind.
_SETS = (
    ("image", "table"),
    ("volume", "table"),
    ("image", "image_2"),
    ("volume", "volume_2"),
    ("table", "table_2"),
    ("image", "image_2", "table"),
)
#: So many sets are tried at two sizes, the others at one.
_SETS_OF_TWO_SIZES = 2
_JOIN = "concat"


@dataclass(frozen=True)
class Setting:
    """One thing that a component is built for.

    Args:
        label: It in words.
        shapes: Shape of each input, without the batch axis.
        make: Builds the component at work, drawing weights from the global generators.
        declares: What the component says it gives, by the probe's names for it.
    """

    label: str
    shapes: Mapping[str, tuple[int, ...]]
    make: Callable[[], Probe]
    declares: Callable[[Probe], Mapping[str, tuple[int, ...]]]

    @property
    def inputs_kind(self) -> tuple[tuple[str, int], ...]:
        """Names of the inputs and how many axes each has."""
        return tuple((name, len(shape)) for name, shape in self.shapes.items())

    def build(self, seed: int = 0) -> Probe:
        """The component with the weights of a seed, in evaluation mode."""
        with seeded(seed):
            return self.make().eval()

    def inputs(self, seed: int = 0, cases: int = CASES, **options: Any) -> dict[str, Tensor]:
        """Standard normal inputs of a seed."""
        generator = torch.Generator().manual_seed(seed)
        return {
            name: torch.randn(cases, *shape, generator=generator).to(**options)
            for name, shape in self.shapes.items()
        }


def settings_of(subject: Subject) -> Iterator[Setting]:
    """Every setting that a component of this kind may be built for; it may refuse some."""
    yield from _BY_KIND[subject.kind](subject)


def _of_encoder(subject: Subject) -> Iterator[Setting]:
    for kind in _KINDS:
        for channels, size in _SIZES[kind] if kind in subject.cls.accepts else ():
            yield _encoder_setting(
                subject.cls, subject.options, Modality(kind, kind, channels, size)
            )


def _encoder_setting(cls: Any, options: Mapping[str, Any], modality: Modality) -> Setting:
    def make() -> Probe:
        return EncoderProbe(cls(modality, **options))

    label = f"{modality.kind} {_times(modality.shape)}"
    return Setting(label, {"input": modality.shape}, make, _output)


def _of_neck(subject: Subject) -> Iterator[Setting]:
    for given in _features(subject.cls.need(**_bound(subject))):
        yield _neck_setting(subject.cls, subject.options, given)


def _neck_setting(cls: Any, options: Mapping[str, Any], given: FeatureSpec) -> Setting:
    def make() -> Probe:
        return NeckProbe(cls(given, **options), given)

    return Setting(str(given), _shapes(given), make, _output)


def _of_head(subject: Subject) -> Iterator[Setting]:
    for given in _features(subject.cls.need(**_bound(subject))):
        yield _head_setting(subject.cls, subject.options, given)


def _head_setting(cls: Any, options: Mapping[str, Any], given: FeatureSpec) -> Setting:
    def make() -> Probe:
        return HeadProbe(cls(given, TASKS, **options))

    def declares(probe: Probe) -> dict[str, tuple[int, ...]]:
        return {f"logits of {task.name}": (task.num_logits,) for task in TASKS}

    return Setting(str(given), _shapes(given), make, declares)


def _of_fusion(subject: Subject) -> Iterator[Setting]:
    cls = subject.cls
    most = cls.max_modalities or max(map(len, _SETS))
    fits = [names for names in _SETS if cls.min_modalities <= len(names) <= most]
    for place, names in enumerate(fits):
        for number in range(2 if place < _SETS_OF_TWO_SIZES else 1):
            yield _fusion_setting(subject, names, number)


def _fusion_setting(subject: Subject, names: tuple[str, ...], number: int) -> Setting:
    modalities = []
    for name in names:
        kind = next(kind for kind in _KINDS if name.startswith(kind))
        channels, size = _SMALL_SIZES[kind][number]
        modalities.append(Modality(name, kind, channels, size))
    data = DataSpec("conformance", tuple(modalities), TASKS, {subject.name: subject.options})
    fusion = subject.name if "join" in subject.cls.places else f"{subject.name}+{_JOIN}"
    branches = (f"{m.name}={VECTORS if m.kind == 'table' else MAPS}" for m in modalities)
    spec = f"{', '.join(branches)} -> {fusion} -> linear"

    def make() -> Probe:
        with _probes(subject):
            model = assemble(spec, data, seed=torch.initial_seed() % 2**31)
        return FusionProbe(model, model.chain[0], TASKS)

    return Setting(
        " + ".join(f"{m.name} {_times(m.shape)}" for m in modalities),
        {m.name: m.shape for m in modalities},
        make,
        _vectors,
    )


@contextmanager
def _probes(subject: Subject) -> Iterator[None]:
    """The small encoders, and the fusion under its name, where assembly looks for them."""
    with ExitStack() as stack:
        stack.enter_context(registry.lent("encoder", MAPS, ProbeMaps))
        stack.enter_context(registry.lent("encoder", VECTORS, ProbeVectors))
        stack.enter_context(subject.registered())
        yield


_BY_KIND: Mapping[str, Callable[[Subject], Iterator[Setting]]] = {
    "encoder": _of_encoder,
    "neck": _of_neck,
    "fusion": _of_fusion,
    "head": _of_head,
}


def accepted(subject: Subject) -> tuple[list[Setting], dict[str, str]]:
    """Settings that the component can be built for, and its reasons to refuse the others.

    Three of one kind are enough. What goes wrong in another way than by a `FusionZooError` is for
    the caller to see.
    """
    fitting: list[Setting] = []
    refused: dict[str, str] = {}
    for setting in settings_of(subject):
        if sum(other.inputs_kind == setting.inputs_kind for other in fitting) >= _ENOUGH:
            continue
        try:
            setting.build()
        except FusionZooError as error:
            refused[setting.label] = str(error)
        else:
            fitting.append(setting)
    return fitting, refused


def _bound(subject: Subject) -> dict[str, Any]:
    with subject.registered():
        return registry.bind(subject.kind, subject.name, subject.options)


def _features(need: Need) -> Iterator[FeatureSpec]:
    """Features of several sizes in every layout that is taken."""
    for layout in need.layouts:
        if layout == "vector":
            yield from (FeatureSpec.vector(need.channels or width) for width in (7, 16))
        elif layout == "tokens":
            for count, width in ((5, 8), (9, 16)):
                yield FeatureSpec.tokens(count, need.channels or width)
        else:
            for dims in (need.spatial_dims,) if need.spatial_dims else (2, 3):
                for size in ((8,) * dims, (4, 12, 8)[:dims]):
                    yield _maps(layout, need, size)


def _maps(layout: str, need: Need, size: tuple[int, ...]) -> FeatureSpec:
    """A map, or a pyramid whose levels halve and widen."""
    if layout == "map":
        return FeatureSpec.map(need.channels or 8, size, (4,) * len(size))
    levels = []
    for level in range(need.num_levels or 3):
        halved = tuple(max(length // 2**level, 1) for length in size)
        stride = (4 * 2**level,) * len(size)
        levels.append(Level(need.channels or 8 * 2**level, halved, stride))
    return FeatureSpec.pyramid(tuple(levels))


def _shapes(given: FeatureSpec) -> dict[str, tuple[int, ...]]:
    """Inputs of a neck or head: one per level of a pyramid."""
    if given.layout == "tokens":
        return {"input": (given.num_tokens, given.channels)}
    if given.layout == "pyramid":
        return {f"level {i}": (level.channels, *level.size) for i, level in enumerate(given.levels)}
    return {"input": (given.channels, *given.size)}


def _output(probe: Any) -> dict[str, tuple[int, ...]]:
    """What an encoder or neck declares: its output, and its summary where it has one."""
    output: FeatureSpec = probe.part.output
    shapes = list(_shapes(output).values())
    named = (
        {f"output, level {i}": shape for i, shape in enumerate(shapes)}
        if output.layout == "pyramid"
        else {"output": shapes[0]}
    )
    if probe.more is not None:
        named["summary"] = _shapes(probe.more.output)["input"]
    return named


def _vectors(probe: Any) -> dict[str, tuple[int, ...]]:
    """What a fusion says it gives the heads, or the next fusion of its chain."""
    fusion = probe.part
    specs = fusion.outputs if "join" in fusion.places else fusion.refined
    return {
        name: tuple(_shapes(spec)["input"])
        for name, spec in specs.items()
        if spec.layout != "pyramid"
    }


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
