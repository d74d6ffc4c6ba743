"""From a combo and a data set's description to a model whose parts fit."""

import random
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fusionzoo import registry
from fusionzoo.errors import BadOption, FusionZooError, LayoutMismatch, UnknownComponent, nearest
from fusionzoo.grammar import Binding, Call, Combo, Value, parse
from fusionzoo.interface import (
    AbstractEncoder,
    AbstractFusion,
    AbstractHead,
    AbstractNeck,
    AbstractSummary,
)
from fusionzoo.models.adapt import Step, projection, reachable, reduction
from fusionzoo.models.fit import check_accepts, check_fusions, encoders_that_fit, shared
from fusionzoo.models.model import Feature, FusionModel, Trunk
from fusionzoo.models.plan import Plan, Stage
from fusionzoo.models.verify import verify_encoder, verify_fusion, verify_head, verify_part
from fusionzoo.models.weights import find_weights, load_component
from fusionzoo.spec import DataSpec, FeatureSpec, Modality, Need, TaskSpec

#: Names that modules of torch use themselves, and those of a fusion's output and of final logits.
_RESERVED = frozenset({*dir(nn.ModuleDict()), "fused", "final"})


def suggest(combo: Combo, data: DataSpec) -> Combo:
    """The combo with the data set's suggested options written where it leaves them open.

    An option without a name gets it, so that the same meaning has one text.
    """
    return combo.map(partial(_suggested, data))


def _suggested(data: DataSpec, kind: str, call: Call) -> Call:
    try:
        known = registry.options(kind, call.name)
    except FusionZooError:
        return call  # assembly tells of it, as of what is given twice
    first = next(iter(known), "")
    said = tuple((key or first, value) for key, value in call.options)
    taken = {key for key, _ in said}
    if len(taken) < len(said):
        return call
    offered = data.suggestions.get(call.name, {})
    open_ = [(k, cast(Value, v)) for k, v in offered.items() if k in known and k not in taken]
    return Call(call.name, (*said, *open_), call.column)


def assemble(combo: Combo | str, data: DataSpec, *, seed: int = 0) -> FusionModel:
    """Build a model; the same seed gives the same weights, whatever else the process has drawn.

    Args:
        combo: A spec string, or one already parsed.
        data: Modalities and tasks, and suggested options.
        seed: Seed of the initial weights; each part draws from its own stream.

    Returns:
        The model in training mode, with `plan` (a `Plan`) as an attribute.

    Raises:
        SpecError: The text can't be read.
        UnknownComponent: A part or a modality that isn't there.
        BadOption: An option that a part doesn't take.
        LayoutMismatch: Two parts that don't fit.
        WeightsError: A file of `weights=` that can't be read or doesn't fit.
    """
    parsed = parse(combo) if isinstance(combo, str) else combo
    with torch.device("cpu"):
        return _Assembly(suggest(parsed, data), data, seed).model()


def plan(combo: Combo | str, data: DataSpec) -> Plan:
    """Resolve a combo without allocating it: the model is built, and run, on the meta device.

    Raises:
        FusionZooError: As `assemble`; and a LayoutMismatch where a part doesn't give what it
            declares.
    """
    return assemble_meta(combo, data).plan


def assemble_meta(combo: Combo | str, data: DataSpec) -> FusionModel:
    """The model without memory for its weights, each part compared with what it declares."""
    parsed = parse(combo) if isinstance(combo, str) else combo
    with torch.device("meta"), _Undrawn():
        return _Assembly(suggest(parsed, data), data, seed=None).model()


class _Undrawn(TorchFunctionMode):
    """No random filling: weights on the meta device have no values, yet drawing them is slow."""

    _DRAWS = frozenset(
        {Tensor.normal_, Tensor.uniform_, Tensor.random_, Tensor.bernoulli_}
        | {nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_}  # they hide the others
    )

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """The tensor itself for a draw into it, everything else as ever."""
        given = kwargs or {}
        if func in self._DRAWS:
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


class _Assembly:
    """One assembly, part by part, keeping the plan as it goes."""

    def __init__(self, combo: Combo, data: DataSpec, seed: int | None):
        self.combo = combo
        self.data = data
        self.seed = seed
        self.text = str(combo)
        self.stages: list[Stage] = []
        self.options: dict[str, dict[str, Any]] = {}
        self.weights: dict[str, str] = {}
        self.to_fill: list[tuple[nn.Module, str, str]] = []
        self._check_names()

    def _check_names(self) -> None:
        """All unknown names at once, before anything is built."""
        for name in self.combo.modalities:
            if name in _RESERVED:
                raise BadOption(
                    f"A modality can't be called {name!r}: models use that name themselves. "
                    f"Rename it in data set {self.data.name!r}, to '{name}_input' for instance."
                )
        problems = []
        known = [modality.name for modality in self.data.modalities]
        for name in self.combo.modalities:
            if name not in known:
                problems.append(
                    f"Data set {self.data.name!r} has no modality {name!r}. "
                    f"{nearest(name, known)}It has: {', '.join(known)}."
                )
        for kind, call in self.combo.calls:
            try:
                registry.entry(kind, call.name)
            except FusionZooError as error:
                problems.append(str(error))
        if problems:
            raise UnknownComponent("\n".join(problems))

    def model(self) -> FusionModel:
        """The finished model."""
        branches = {_key(binding): self._branch(binding) for binding in self.combo.bindings}
        features = [("+".join(i), i, b) for b in self.combo.bindings for i in b.inputs]
        specs = {feature: branches[_key(binding)].output for feature, _, binding in features}
        fusion_classes = self._fusion_classes(specs)
        needs = self._needs(fusion_classes, specs)
        adapted, streams = {}, []
        for feature, inputs, binding in features:
            key, need = _key(binding), needs[feature]
            branch = branches[key]
            if branch.need is None:
                self._convert(key, feature, branch, need)
            elif branch.need != need:
                raise LayoutMismatch(
                    f"{key} share one encoder, but the fusion needs {branch.need} of one and "
                    f"{need} of the other. Give each an encoder of its own: "
                    f"'{'+'.join(inputs)}={binding.chain}'."
                )
            assert branch.adapted is not None
            adapted[feature] = branch.adapted
            streams.append(Feature(feature, inputs, key, key))
        encoders = {stream.name: branches[stream.encoder].encoder for stream in streams}
        fusions, outputs = self._fusions(fusion_classes, adapted, encoders)
        heads = {name: self._head(name, given) for name, given in outputs.items()}
        for part, path, what in self.to_fill:
            summary = next((b.summary for b in branches.values() if b.source is part), None)
            load_component(part, path, what=what, summary=summary)
        trunks = {
            key: Trunk(b.encoder, nn.ModuleList(b.necks), _sequence(b.reduction))
            for key, b in branches.items()
        }
        adapters = {key: _sequence(b.projection) for key, b in branches.items()}
        model = FusionModel(tuple(streams), trunks, adapters, fusions, heads)
        model.plan = Plan(self.combo, tuple(self.stages), self.options, self.weights)
        return model

    @contextmanager
    def _seeded(self, part: str) -> Iterator[None]:
        """A random stream of its own for one part, leaving the process's generators untouched."""
        python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            if self.seed is not None:
                stream = zlib.crc32(part.encode()) ^ (self.seed * 0x9E3779B1 & 0xFFFFFFFF)
                random.seed(stream)
                np.random.seed(stream)
                torch.default_generator.manual_seed(stream)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            torch.set_rng_state(cpu)

    def _bound(self, kind: str, call: Call) -> dict[str, Any]:
        """All options of a part but `weights`, which every part takes."""
        given = {key: value for key, value in call.options if key != "weights"}
        return registry.bind(kind, call.name, given, self.text)

    def _made(self, make: Callable[[dict[str, Any]], Any], options: dict[str, Any]) -> Any:
        """A part. A plan has no values; a part that reads some while it is made gets a CPU's."""
        try:
            return make(options)
        except RuntimeError as error:
            if self.seed is not None or "meta tensor" not in str(error):
                raise
        with torch.device("cpu"):
            return make(options).to("meta")

    def _construct(
        self, kind: str, call: Call, feature: str, make: Callable[[dict[str, Any]], Any]
    ) -> Any:
        """Build one part; its own complaints about options get its name and the spec."""
        options = self._bound(kind, call)
        key = f"{feature}:{call.name}"
        key += f":{sum(known.split(':')[:2] == [feature, call.name] for known in self.options)}"
        key = key.removesuffix(":0")
        self.options[key] = options
        what = f"{kind.capitalize()} {str(call)!r} for {feature!r}"
        try:
            with self._seeded(key):
                part = self._made(make, options)
        except (BadOption, LayoutMismatch) as error:
            raise type(error)(f"{what}: {error}") from error
        except FusionZooError:
            raise
        except (RuntimeError, ValueError, ZeroDivisionError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadOption(f"{what} can't be built: {first}. Change its options.") from error
        path = dict(call.options).get("weights")
        if path is not None:
            self.weights[key] = str(find_weights(str(path)))
            if self.seed is not None:
                self.to_fill.append((part, self.weights[key], f"{kind} {call.name!r}"))
        return part

    def _branch(self, binding: Binding) -> "_Branch":
        """The encoder and necks of one binding."""
        key, modality = _key(binding), shared(binding, self.data)
        call, *neck_calls = binding.chain.calls
        cls: type[AbstractEncoder] = registry.load("encoder", call.name)
        check_accepts(call, cls, modality)
        encoder = self._construct("encoder", call, key, lambda options: cls(modality, **options))
        if self.seed is None:
            verify_encoder(encoder, modality, f"Encoder {call.name!r}")
        self._row(key, str(call), encoder.output, encoder)
        branch = _Branch(encoder, [], encoder.output, f"encoder {call.name!r}", modality)
        for neck_call in neck_calls:
            self._neck(key, neck_call, branch)
        return branch

    def _neck(self, key: str, call: Call, branch: "_Branch") -> None:
        """One more neck at the end of a branch."""
        cls: type[AbstractNeck] = registry.load("neck", call.name)
        need, given = cls.need(**self._bound("neck", call)), branch.output
        if not _as_it_is(given, need):
            raise LayoutMismatch(
                f"Neck {call.name!r} needs {need} for {key!r}; {branch.last} gives a {given}. "
                + encoders_that_fit(branch.modality, need, self.data)
            )
        neck = self._construct("neck", call, key, partial(_make_neck, cls, given))
        if self.seed is None:
            verify_part(neck, given, neck.output, f"Neck {call.name!r}")
        self._row(key, str(call), neck.output, neck)
        branch.necks.append(neck)
        branch.output = neck.output
        branch.last = f"neck {call.name!r}"

    def _fusion_classes(
        self, specs: Mapping[str, FeatureSpec]
    ) -> list[tuple[Call, type[AbstractFusion]]]:
        if self.combo.fusion is None:
            return []
        classes = [(call, registry.load("fusion", call.name)) for call in self.combo.fusion.calls]
        check_fusions(classes, specs, self.combo.head)
        return classes

    def _needs(
        self, classes: list[tuple[Call, type[AbstractFusion]]], specs: dict[str, FeatureSpec]
    ) -> dict[str, Need]:
        """What the first fusion, or the head where there is none, takes of each stream."""
        if not classes:
            (name,) = specs
            cls: type[AbstractHead] = registry.load("head", self.combo.head.name)
            return {name: cls.need(**self._bound("head", self.combo.head))}
        call, fusion = classes[0]
        return fusion.needs(specs, **self._bound("fusion", call))

    def _convert(self, key: str, feature: str, branch: "_Branch", need: Need) -> None:
        """Put the conversions between a branch and what takes its features."""
        if not reachable(branch.output, need):
            fusion = self.combo.fusion
            user = (
                f"Fusion {fusion.calls[0].name!r}" if fusion else f"Head {self.combo.head.name!r}"
            )
            raise LayoutMismatch(
                f"{user} needs {need} for {feature!r}; {branch.last} gives a {branch.output}. "
                + encoders_that_fit(branch.modality, need, self.data)
            )
        with self._seeded(f"{key} conversions"):
            branch.reduction = reduction(branch.output, need, branch.source.summary)
            reduced = branch.reduction[-1].output if branch.reduction else branch.output
            branch.projection = projection(reduced, need)
        branch.adapted = branch.projection[-1].output if branch.projection else reduced
        branch.need = need
        if self.seed is None and branch.summary is not None:
            what = f"The summary of {branch.last}"
            verify_part(branch.summary, branch.output, branch.reduction[0].output, what)
        for step in (*branch.reduction, *branch.projection):
            self.stages.append(
                Stage(key, step.name, str(step.output), _count(step.module), conversion=True)
            )

    def _fusions(
        self,
        classes: list[tuple[Call, type[AbstractFusion]]],
        adapted: dict[str, FeatureSpec],
        encoders: Mapping[str, AbstractEncoder],
    ) -> tuple[tuple[AbstractFusion, ...], dict[str, FeatureSpec]]:
        """The fusions, and what the heads get."""
        stages = {name: encoder.stages for name, encoder in encoders.items()}
        built: list[AbstractFusion] = []
        given = adapted
        for call, cls in classes:
            if "exchange" in cls.places:
                _check_staged(call, encoders)
            if built:
                self._check_chain(call, cls, given)
            make = partial(_make_fusion, cls, given, stages, self.data.tasks)
            fusion = self._construct("fusion", call, "fusion", make)
            _check_points(call, fusion, encoders)
            last = len(built) == len(classes) - 1
            if self.seed is None:
                verify_fusion(
                    fusion,
                    given,
                    stages,
                    f"Fusion {call.name!r}",
                    last=last,
                    unrefined=adapted if last and built else None,
                )
            built.append(fusion)
            given = dict(fusion.outputs if last else fusion.refined)
            gives = ", ".join(f"{name}: {spec}" for name, spec in given.items())
            self.stages.append(Stage("fusion", str(call), gives, _count(fusion)))
        return tuple(built), given

    def _check_chain(
        self, call: Call, cls: type[AbstractFusion], given: dict[str, FeatureSpec]
    ) -> None:
        for name, need in cls.needs(given, **self._bound("fusion", call)).items():
            if not _as_it_is(given[name], need):
                raise LayoutMismatch(
                    f"Fusion {call.name!r} needs {need} for {name!r}; the fusion before it gives a "
                    f"{given[name]}."
                )

    def _head(self, output: str, given: FeatureSpec) -> AbstractHead:
        call = self.combo.head
        cls: type[AbstractHead] = registry.load("head", call.name)
        head = self._construct(
            "head", call, f"head {output}", lambda options: cls(given, self.data.tasks, **options)
        )
        if self.seed is None:
            verify_head(head, given, self.data.tasks, f"Head {call.name!r}")
        gives = ", ".join(
            f"{t.name}: {t.num_logits} logit{'s' * (t.num_logits > 1)}" for t in self.data.tasks
        )
        self.stages.append(Stage(f"head {output}", str(call), gives, _count(head)))
        return head

    def _row(self, feature: str, part: str, gives: FeatureSpec, module: nn.Module) -> None:
        self.stages.append(Stage(feature, part, str(gives), _count(module)))


@dataclass
class _Branch:
    """One encoder with its necks, and the conversions after it once they are known."""

    encoder: AbstractEncoder
    necks: list[AbstractNeck]
    output: FeatureSpec
    last: str
    modality: Modality
    reduction: list[Step] = field(default_factory=list)
    projection: list[Step] = field(default_factory=list)
    adapted: FeatureSpec | None = None
    need: Need | None = None

    @property
    def source(self) -> AbstractEncoder | AbstractNeck:
        """The part that gives the output."""
        return self.necks[-1] if self.necks else self.encoder

    @property
    def summary(self) -> AbstractSummary | None:
        """The source's own way to a vector, where it is used."""
        modules = [step.module for step in self.reduction]
        return next((m for m in modules if isinstance(m, AbstractSummary)), None)


def _key(binding: Binding) -> str:
    """What a branch is called: `ct`; `clinic=derm` where shared, `clinic+derm` where stacked."""
    return "=".join("+".join(names) for names in binding.inputs)


def _as_it_is(given: FeatureSpec, need: Need) -> bool:
    """Whether features fit without any conversion."""
    fits = given.layout in need.layouts and reachable(given, need)
    levels = given.layout != "pyramid" or need.num_levels in (None, len(given.levels))
    return fits and levels and not projection(given, need)


def _check_staged(call: Call, encoders: Mapping[str, AbstractEncoder]) -> None:
    whole = [name for name, encoder in encoders.items() if not encoder.staged]
    if whole:
        raise LayoutMismatch(
            f"Fusion {call.name!r} exchanges features between the encoders' stages; the encoder of "
            f"{', '.join(whole)} can't be run stage by stage. Use a staged encoder (penet3d, mlp) "
            "or a fusion that joins at the end."
        )


def _check_points(
    call: Call, fusion: AbstractFusion, encoders: Mapping[str, AbstractEncoder]
) -> None:
    for name, points in fusion.points.items():
        lacking = sorted(points - encoders[name].points)
        if lacking:
            offered = ", ".join(sorted(encoders[name].points)) or "no such points"
            raise LayoutMismatch(
                f"Fusion {str(call)!r} changes maps inside of a stage, at {', '.join(lacking)}; "
                f"the encoder of {name!r} offers {offered}. Use location=0, which is between "
                "stages, or resnet3d."
            )


def _make_neck(
    cls: type[AbstractNeck], given: FeatureSpec, options: dict[str, Any]
) -> AbstractNeck:
    return cls(given, **options)


def _make_fusion(
    cls: type[AbstractFusion],
    given: dict[str, FeatureSpec],
    stages: Mapping[str, Sequence[FeatureSpec]],
    tasks: Sequence[TaskSpec],
    options: dict[str, Any],
) -> AbstractFusion:
    fusion = cls(given, **options)
    fusion.attach(stages, tasks)
    return fusion


def _sequence(steps: list[Step]) -> nn.Sequential:
    return nn.Sequential(*(step.module for step in steps))


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


__all__ = ["Plan", "assemble", "assemble_meta", "plan", "suggest"]
