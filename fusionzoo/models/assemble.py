"""From a combo and a data set's description to a model whose parts fit, before any data are read."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
import zlib

import torch
from torch import nn

from fusionzoo import registry
from fusionzoo.errors import BadOption, FusionZooError, LayoutMismatch, UnknownComponent, nearest
from fusionzoo.grammar import Binding, Call, Chain, Combo, parse, spec_hash
from fusionzoo.interface import AbstractEncoder, AbstractFusion, AbstractHead, AbstractNeck
from fusionzoo.models.adapt import Step, projection, reachable, reduction
from fusionzoo.models.model import Feature, FusionModel, Trunk
from fusionzoo.models.weights import load_component
from fusionzoo.spec import DataSpec, FeatureSpec, Modality, Need


@dataclass(frozen=True)
class Stage:
    """One row of a plan: a part or a conversion, what it gives and what it costs."""

    feature: str
    part: str
    gives: str
    parameters: int
    conversion: bool = False


@dataclass(frozen=True)
class Plan:
    """A combo resolved for one data set: every option, every shape, every conversion.

    Args:
        combo: The spec with the data set's suggestions written out, canonical.
        stages: Parts and conversions in the order of the flow.
        options: Per component call, all of its options, defaults included.
        pretrained: Per component call, the weights file that it was filled from.
    """

    combo: Combo
    stages: tuple[Stage, ...]
    options: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, str] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Name of the combo: the same resolved meaning has the same hash."""
        return spec_hash(self.combo)

    @property
    def conversions(self) -> tuple[str, ...]:
        """The conversions that assembly put in, one line each."""
        return tuple(f"{s.feature}: {s.part} -> {s.gives}" for s in self.stages if s.conversion)


def suggest(combo: Combo, data: DataSpec) -> Combo:
    """The combo with the data set's suggested options written where it leaves them open."""

    def one(call: Call, kind: str) -> Call:
        said = {key for key, _ in call.options}
        offered = data.suggestions.get(call.name, {})
        if not offered:
            return call
        first = next(iter(registry.options(kind, call.name)), "")
        open_ = [(k, v) for k, v in offered.items() if k not in said and not (k == first and "" in said)]
        return Call(call.name, (*call.options, *open_), call.column)  # type: ignore[arg-type]

    def chain(calls: Chain, first: str, rest: str) -> Chain:
        return Chain(tuple(one(call, first if i == 0 else rest) for i, call in enumerate(calls.calls)))

    return Combo(
        tuple(Binding(b.inputs, chain(b.chain, "encoder", "neck")) for b in combo.bindings),
        chain(combo.fusion, "fusion", "fusion") if combo.fusion else None,
        one(combo.head, "head"),
    )


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
    """
    parsed = parse(combo) if isinstance(combo, str) else combo
    return _Assembly(suggest(parsed, data), data, seed).model()


def plan(combo: Combo | str, data: DataSpec) -> Plan:
    """Resolve a combo without allocating it: the model is built on the meta device."""
    return assemble_meta(combo, data).plan


def assemble_meta(combo: Combo | str, data: DataSpec) -> FusionModel:
    """The model without memory for its weights, for shapes and counts."""
    parsed = parse(combo) if isinstance(combo, str) else combo
    with torch.device("meta"):
        return _Assembly(suggest(parsed, data), data, seed=None).model()


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
        self._check_names()

    def _check_names(self) -> None:
        """All unknown names at once, before anything is built."""
        problems = []
        known = [modality.name for modality in self.data.modalities]
        for name in self.combo.modalities:
            if name not in known:
                problems.append(
                    f"Data set {self.data.name!r} has no modality {name!r}. {nearest(name, known)}It has: {', '.join(known)}."
                )
        calls = [(c, "encoder" if i == 0 else "neck") for b in self.combo.bindings for i, c in enumerate(b.chain.calls)]
        calls += [(c, "fusion") for c in (self.combo.fusion.calls if self.combo.fusion else ())]
        calls.append((self.combo.head, "head"))
        for call, kind in calls:
            try:
                registry.entry(kind, call.name)
            except FusionZooError as error:
                problems.append(str(error))
        if problems:
            raise UnknownComponent("\n".join(problems))

    def model(self) -> FusionModel:
        """The finished model."""
        features, modules, specs = [], {}, {}
        for binding in self.combo.bindings:
            for inputs in binding.inputs:
                feature = "+".join(inputs)
                features.append((feature, inputs, binding))
            modules[str(binding)] = self._branch(binding)
            specs |= {"+".join(inputs): modules[str(binding)].output for inputs in binding.inputs}
        fusion_classes = self._fusion_classes(specs)
        needs = self._needs(fusion_classes, specs)
        trunks: dict[str, Trunk] = {}
        adapters: dict[str, nn.Module] = {}
        adapted: dict[str, FeatureSpec] = {}
        streams = []
        for feature, inputs, binding in features:
            key = "=".join("+".join(names) for names in binding.inputs)
            branch = modules[str(binding)]
            if key not in trunks:
                with self._seeded(f"{key} conversions"):
                    reduce_ = self._reduction(feature, branch, needs[feature])
                    reduced = reduce_[-1].output if reduce_ else branch.output
                    project = projection(reduced, needs[feature])
                for step in [*reduce_, *project]:
                    self._conversion(key, step)
                branch.adapted = project[-1].output if project else reduced
                branch.need = needs[feature]
                trunks[key] = Trunk(branch.encoder, nn.ModuleList(branch.necks), nn.Sequential(*(s.module for s in reduce_)))
                adapters[key] = nn.Sequential(*(s.module for s in project))
            elif branch.need != needs[feature]:
                raise LayoutMismatch(
                    f"{key} share one encoder, but the fusion needs {branch.need} of one and {needs[feature]} of the "
                    f"other. Give each an encoder of its own: '{inputs[0]}={binding.chain}'."
                )
            adapted[feature] = branch.adapted
            streams.append(Feature(feature, inputs, key, key))
        fusions, outputs = self._fusions(fusion_classes, adapted, streams, trunks)
        heads = {name: self._head(name, given) for name, given in outputs.items()}
        model = FusionModel(tuple(streams), trunks, adapters, fusions, heads)
        model.plan = Plan(self.combo, tuple(self.stages), self.options, self.weights)
        return model

    @contextmanager
    def _seeded(self, part: str) -> Any:
        """A random stream of its own for one part, leaving the process's generator untouched."""
        if self.seed is None:
            yield
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(part.encode()) ^ (self.seed * 0x9E3779B1 & 0xFFFFFFFF))
            yield

    def _bind(self, kind: str, call: Call, feature: str) -> dict[str, Any]:
        given = dict(call.options)
        path = given.pop("weights", None)
        options = registry.bind(kind, call.name, given, self.text)
        self.options[f"{feature}:{call.name}"] = options
        if path is not None:
            self.weights[f"{feature}:{call.name}"] = str(path)
        return options

    def _construct(self, kind: str, call: Call, feature: str, make: Callable[[dict[str, Any]], Any]) -> Any:
        """Build one part; its own complaints about options get its name and the spec."""
        options = self._bind(kind, call, feature)
        try:
            with self._seeded(f"{feature}:{call.name}"):
                part = make(options)
        except (BadOption, LayoutMismatch) as error:
            raise type(error)(f"{kind.capitalize()} {str(call)!r} for {feature!r}: {error}") from error
        path = self.weights.get(f"{feature}:{call.name}")
        if path is not None and self.seed is not None:
            load_component(part, path, what=f"{kind} {call.name!r}")
        return part

    def _modality(self, inputs: tuple[str, ...]) -> Modality:
        parts = [self.data.modality(name) for name in inputs]
        if len(parts) == 1:
            return parts[0]
        if len({(part.kind, part.size) for part in parts}) > 1:
            shapes = ", ".join(f"{part.name} is a {part.kind} of {part.shape}" for part in parts)
            raise LayoutMismatch(
                f"Inputs stacked on channels need one kind and size: {shapes}. "
                f"Give each an encoder of its own, or resize them in the data set."
            )
        return Modality("+".join(inputs), parts[0].kind, sum(part.channels for part in parts), parts[0].size)

    def _branch(self, binding: Binding) -> "_Branch":
        """The encoder and necks of one binding."""
        key = "=".join("+".join(names) for names in binding.inputs)
        modalities = [self._modality(names) for names in binding.inputs]
        first, *others = modalities
        for other in others:
            if (other.kind, other.shape) != (first.kind, first.shape):
                raise LayoutMismatch(
                    f"{first.name!r} and {other.name!r} can't share an encoder: one is a {first.kind} of {first.shape}, "
                    f"the other a {other.kind} of {other.shape}. Give each its own: "
                    f"'{first.name}={binding.chain}, {other.name}={binding.chain}'."
                )
        call, *neck_calls = binding.chain.calls
        cls = registry.load("encoder", call.name)
        if first.kind not in cls.accepts:
            fitting = [e.name for e in registry.entries("encoder") if e.origin == "fusionzoo" and first.kind in registry.load("encoder", e.name).accepts]
            raise LayoutMismatch(
                f"Encoder {call.name!r} reads {' or '.join(sorted(cls.accepts))}; {first.name!r} is a {first.kind} of "
                f"shape {first.shape}. Encoders that fit: {', '.join(fitting)}."
            )
        encoder: AbstractEncoder = self._construct("encoder", call, key, lambda options: cls(first, **options))
        self._row(key, str(call), encoder.output, encoder)
        branch = _Branch(encoder, [], encoder.output)
        for neck_call in neck_calls:
            neck_cls: type[AbstractNeck] = registry.load("neck", neck_call.name)
            bound = registry.bind("neck", neck_call.name, {k: v for k, v in neck_call.options if k != "weights"}, self.text)
            need = neck_cls.need(**bound)
            given = branch.output
            if not reachable(given, need) or given.layout not in need.layouts:
                raise LayoutMismatch(
                    f"Neck {neck_call.name!r} needs {need} for {key!r}; {branch.last} gives a {given}. "
                    + self._encoders_that_fit(first, need)
                )
            neck = self._construct("neck", neck_call, key, partial(_make_neck, neck_cls, given))
            self._row(key, str(neck_call), neck.output, neck)
            branch.necks.append(neck)
            branch.output = neck.output
            branch.last = f"neck {neck_call.name!r}"
        branch.last = branch.last or f"encoder {call.name!r}"
        return branch

    def _encoders_that_fit(self, modality: Modality, need: Need) -> str:
        """'Use an encoder that does: a, b.' for an error, by asking every built-in one."""
        fitting = []
        for entry in registry.entries("encoder"):
            try:
                cls = registry.load("encoder", entry.name)
                if modality.kind not in cls.accepts:
                    continue
                suggested = self.data.suggestions.get(entry.name, {})
                with torch.device("meta"):
                    encoder = cls(modality, **registry.bind("encoder", entry.name, suggested))
            except (FusionZooError, ValueError):
                continue
            if reachable(encoder.output, need):
                fitting.append(entry.name)
        return f"Encoders that do: {', '.join(fitting)}." if fitting else "No encoder of the zoo gives that for this modality."

    def _fusion_classes(self, specs: Mapping[str, FeatureSpec]) -> list[tuple[Call, type[AbstractFusion]]]:
        if self.combo.fusion is None:
            return []
        classes = [(call, registry.load("fusion", call.name)) for call in self.combo.fusion.calls]
        for call, cls in classes:
            low, high, count = cls.min_modalities, cls.max_modalities, len(specs)
            if count < low or (high is not None and count > high):
                wanted = f"exactly {low}" if low == high else f"at least {low}" if high is None else f"{low} to {high}"
                raise LayoutMismatch(
                    f"Fusion {call.name!r} joins {wanted} modalities; the spec has {count} ({', '.join(specs)}). "
                    + (f"Leave it out: '... -> {self.combo.head}'." if count == 1 else "Fusions for any number: concat, late.")
                )
        for call, cls in classes[:-1]:
            if "refine" not in cls.places:
                raise LayoutMismatch(f"Fusion {call.name!r} ends a chain; '+{classes[-1][0].name}' can't come after it.")
        last_call, last = classes[-1]
        if "join" not in last.places:
            raise LayoutMismatch(f"Fusion {last_call.name!r} refines features and can't end a chain; add one that joins: '{last_call}+concat'.")
        return classes

    def _needs(self, classes: list[tuple[Call, type[AbstractFusion]]], specs: dict[str, FeatureSpec]) -> dict[str, Need]:
        if not classes:
            (name,) = specs
            call = self.combo.head
            cls: type[AbstractHead] = registry.load("head", call.name)
            given = {k: v for k, v in call.options if k != "weights"}
            return {name: cls.need(**registry.bind("head", call.name, given, self.text))}
        call, fusion = classes[0]
        given = {k: v for k, v in call.options if k != "weights"}
        return fusion.needs(specs, **registry.bind("fusion", call.name, given, self.text))

    def _reduction(self, feature: str, branch: "_Branch", need: Need) -> list[Step]:
        source = branch.necks[-1] if branch.necks else branch.encoder
        if not reachable(branch.output, need):
            user = f"Fusion {self.combo.fusion.calls[0].name!r}" if self.combo.fusion else f"Head {self.combo.head.name!r}"
            modality = self._modality(next(i for b in self.combo.bindings for i in b.inputs if "+".join(i) == feature))
            raise LayoutMismatch(
                f"{user} needs {need} for {feature!r}; {branch.last} gives a {branch.output}. "
                + self._encoders_that_fit(modality, need)
            )
        return reduction(branch.output, need, source.summary)

    def _fusions(
        self,
        classes: list[tuple[Call, type[AbstractFusion]]],
        adapted: dict[str, FeatureSpec],
        streams: list[Feature],
        trunks: dict[str, Trunk],
    ) -> tuple[tuple[AbstractFusion, ...], dict[str, FeatureSpec]]:
        if not classes:
            return (), adapted
        stages = {s.name: trunks[s.encoder].encoder.stages for s in streams}
        built: list[AbstractFusion] = []
        given = adapted
        for call, cls in classes:
            if "exchange" in cls.places:
                self._check_staged(call, streams, trunks)
            if built:
                self._check_chain(call, cls, given)

            def make(options: dict[str, Any], cls: type[AbstractFusion] = cls, given: dict[str, FeatureSpec] = given) -> AbstractFusion:
                fusion = cls(given, **options)
                fusion.attach(stages, self.data.tasks)
                return fusion

            fusion = self._construct("fusion", call, "fusion", make)
            built.append(fusion)
            last = len(built) == len(classes)
            gives = fusion.outputs if last else fusion.refined
            self.stages.append(
                Stage("fusion", str(call), ", ".join(f"{name}: {spec}" for name, spec in gives.items()), _count(fusion))
            )
            given = dict(gives)
        return tuple(built), given

    def _check_staged(self, call: Call, streams: list[Feature], trunks: dict[str, Trunk]) -> None:
        whole = [s.name for s in streams if not trunks[s.encoder].encoder.staged]
        if whole:
            raise LayoutMismatch(
                f"Fusion {call.name!r} exchanges features between the encoders' stages; the encoder of "
                f"{', '.join(whole)} can't be run stage by stage. Use a staged encoder (penet3d, mlp) or a fusion that joins at the end."
            )

    def _check_chain(self, call: Call, cls: type[AbstractFusion], given: dict[str, FeatureSpec]) -> None:
        bound = registry.bind("fusion", call.name, {k: v for k, v in call.options if k != "weights"}, self.text)
        for name, need in cls.needs(given, **bound).items():
            if given[name].layout not in need.layouts or projection(given[name], need):
                raise LayoutMismatch(f"Fusion {call.name!r} needs {need} for {name!r}; the fusion before it gives a {given[name]}.")

    def _head(self, output: str, given: FeatureSpec) -> AbstractHead:
        call = self.combo.head
        cls: type[AbstractHead] = registry.load("head", call.name)
        head = self._construct("head", call, f"head {output}", lambda options: cls(given, self.data.tasks, **options))
        gives = ", ".join(f"{t.name}: {t.num_logits} logit{'s' * (t.num_logits > 1)}" for t in self.data.tasks)
        self.stages.append(Stage(f"head {output}", str(call), gives, _count(head)))
        return head

    def _row(self, feature: str, part: str, gives: FeatureSpec, module: nn.Module) -> None:
        self.stages.append(Stage(feature, part, str(gives), _count(module)))

    def _conversion(self, feature: str, step: Step) -> None:
        self.stages.append(Stage(feature, step.name, str(step.output), _count(step.module), conversion=True))


@dataclass
class _Branch:
    encoder: AbstractEncoder
    necks: list[AbstractNeck]
    output: FeatureSpec
    last: str = ""
    adapted: FeatureSpec | None = None
    need: Need | None = None


def _make_neck(cls: type[AbstractNeck], given: FeatureSpec, options: dict[str, Any]) -> AbstractNeck:
    return cls(given, **options)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
