"""The model that runs any combo: one loop for every place where a fusion may act."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fusionzoo.errors import DataError
from fusionzoo.interface import AbstractEncoder, AbstractFusion, AbstractHead, Batch, Context
from fusionzoo.models.plan import Plan


@dataclass
class ModelOutput:
    """What a model gives for a batch (not frozen: mixed precision casts its tensors in a copy).

    Args:
        logits: Final logits per task, `batch logits`.
        by_output: Logits per output of the fusion and task; the sole output of most combos equals
            `logits`.
        losses: Auxiliary losses by name.
    """

    logits: dict[str, Tensor]
    by_output: dict[str, dict[str, Tensor]]
    losses: dict[str, Tensor]


@dataclass(frozen=True)
class Feature:
    """One stream: the modalities that it reads and the modules it goes through, by key."""

    name: str
    modalities: tuple[str, ...]
    encoder: str
    adapter: str


class Trunk(nn.Module):
    """One encoder, its necks and its way to a vector: what a stage may freeze."""

    encoder: AbstractEncoder

    def __init__(self, encoder: AbstractEncoder, necks: nn.ModuleList, reduction: nn.Sequential):
        super().__init__()
        self.encoder = encoder
        self.necks = necks
        self.reduction = reduction

    def refine(self, features: Any) -> Any:
        """From the encoder's output to what the adapter takes."""
        for neck in self.necks:
            features = neck(features)
        return self.reduction(features)

    def forward(self, x: Tensor) -> Any:
        """From the input to what the adapter takes."""
        return self.refine(self.encoder(x))


class FusionModel(nn.Module):
    """Encoders, necks, fusion and heads of one combo; built by `fusionzoo.models.assemble`.

    Inputs:  a `Batch`; modalities that a case doesn't have are zeros there and False in `present`
    Returns: `ModelOutput`
    """

    #: How it was assembled.
    plan: Plan

    def __init__(
        self,
        features: tuple[Feature, ...],
        trunks: Mapping[str, Trunk],
        adapters: Mapping[str, nn.Module],
        fusions: tuple[AbstractFusion, ...],
        heads: Mapping[str, AbstractHead],
    ):
        super().__init__()
        self.features = features
        self.trunks = nn.ModuleDict(trunks)
        self.adapters = nn.ModuleDict(adapters)
        self.fusions = nn.ModuleList(fusions)
        self.heads = nn.ModuleDict(heads)

    @property
    def chain(self) -> tuple[AbstractFusion, ...]:
        """The fusions in order; the last one joins."""
        return tuple(cast(AbstractFusion, fusion) for fusion in self.fusions)

    @property
    def fusion(self) -> AbstractFusion | None:
        """The fusion that joins; None for one modality."""
        return self.chain[-1] if len(self.fusions) else None

    @property
    def exchanges(self) -> bool:
        """Whether a fusion acts between stages, so that no branch can be run on its own."""
        return any("exchange" in fusion.places for fusion in self.chain)

    @property
    def supervised(self) -> dict[str, float]:
        """Outputs that the task loss is computed on, with weights."""
        return self.fusion.supervised if self.fusion is not None else {"final": 1.0}

    def trunk(self, feature: Feature) -> Trunk:
        """What one stream goes through before the adapter."""
        return cast(Trunk, self.trunks[feature.encoder])

    def context(self, batch: Batch) -> Context:
        """What fusions may look at beside the features."""
        present = {
            feature.name: torch.stack([batch.present[m] for m in feature.modalities]).any(dim=0)
            for feature in self.features
        }
        if not self.training:
            return Context(present)
        return Context(present, batch.targets, batch.index)

    def read(self, feature: Feature, batch: Batch) -> Tensor:
        """What one stream reads, in the weights' type; stacked modalities side by side."""
        dtype = next(self.parameters()).dtype
        inputs = [batch.inputs[name].to(dtype) for name in feature.modalities]
        return inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1)

    def encode(self, batch: Batch, context: Context, known: Mapping[str, Any]) -> dict[str, Any]:
        """Each stream up to where a trunk ends; those in `known` are taken in the weights' type."""
        if self.exchanges:
            return self._encode_in_step(
                {f.name: self.read(f, batch) for f in self.features}, context
            )
        found = {f.name: self._typed(known[f.name]) for f in self.features if f.name in known}
        inputs = {f.name: self.read(f, batch) for f in self.features if f.name not in found}
        for streams in self._sharing(inputs):
            names = [feature.name for feature in streams]
            trunk = self.trunk(streams[0])
            if len(names) == 1:
                found[names[0]] = trunk(inputs[names[0]])
            else:
                joined = trunk(torch.cat([inputs[name] for name in names]))
                found |= zip(names, _split(joined, len(names)), strict=True)
        return {f.name: found[f.name] for f in self.features}

    def _sharing(self, inputs: Mapping[str, Tensor]) -> list[list[Feature]]:
        """Streams that go through their trunk as one batch.

        In training those that share it, if their sizes agree and nothing in it sees the batch as a
        whole: its weights' gradients are then computed once and not added up.
        """
        waiting = [feature for feature in self.features if feature.name in inputs]
        groups: list[list[Feature]] = []
        for encoder in dict.fromkeys(feature.encoder for feature in waiting):
            streams = [feature for feature in waiting if feature.encoder == encoder]
            if len(streams) > 1 and self._goes_as_one(streams, inputs):
                groups.append(streams)
            else:
                groups += [[feature] for feature in streams]
        return groups

    def _goes_as_one(self, streams: list[Feature], inputs: Mapping[str, Tensor]) -> bool:
        trunk = self.trunk(streams[0])
        return (
            trunk.training
            and all(inputs[f.name].shape == inputs[streams[0].name].shape for f in streams)
            and not any(isinstance(module, _BatchNorm) for module in trunk.modules())
        )

    def _typed(self, features: Any) -> Any:
        """Features in the weights' type."""
        dtype = next(self.parameters()).dtype
        return [x.to(dtype) for x in features] if isinstance(features, list) else features.to(dtype)

    def _encode_in_step(self, inputs: Mapping[str, Tensor], context: Context) -> dict[str, Any]:
        """All encoders stage by stage, with the fusions' exchange between the stages."""
        encoders = {f.name: self.trunk(f).encoder for f in self.features}
        states: dict[str, Any] = {n: encoder.stem(inputs[n]) for n, encoder in encoders.items()}
        kept: dict[str, list[Any]] = {name: [] for name in encoders}
        for level in range(max(len(encoder.stages) for encoder in encoders.values())):
            changes = self._inside(level, states, context)
            for name, encoder in encoders.items():
                if level < len(encoder.stages):
                    own = changes.get(name)
                    states[name] = (
                        encoder.stage_with(level, states[name], own)
                        if own
                        else encoder.stage(level, states[name])
                    )
            for fusion in self.chain:
                if "exchange" in fusion.places:
                    states = fusion.exchange(level, states, context)
            for name, encoder in encoders.items():
                if level < len(encoder.stages) - 1:
                    kept[name].append(encoder.emit(level, states[name]))
        features = {}
        for feature in self.features:
            name, encoder = feature.name, encoders[feature.name]
            last = encoder.emit(len(encoder.stages) - 1, states[name])
            pyramid = encoder.output.layout == "pyramid"
            features[name] = self.trunk(feature).refine([*kept[name], last] if pyramid else last)
        return features

    def _inside(
        self, level: int, states: dict[str, Any], context: Context
    ) -> dict[str, dict[str, Callable[[Tensor], Tensor]]]:
        """What the fusions change inside of a stage, per modality and point."""
        changes: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {}
        for fusion in self.chain:
            if "exchange" in fusion.places:
                for name, own in fusion.inside(level, states, context).items():
                    changes.setdefault(name, {}).update(own)
        return changes

    def fuse(self, encoded: Mapping[str, Any], context: Context) -> ModelOutput:
        """From encoded streams to logits."""
        features = {f.name: self.adapters[f.adapter](encoded[f.name]) for f in self.features}
        if self.fusion is None:
            by_output = self._classify(features)
            (logits,) = by_output.values()
            return ModelOutput(logits, by_output, {})
        features = self._without_missing(features, context)
        unrefined = features
        for fusion in self.chain[:-1]:
            features = fusion.refine(features, context)
        if len(self.fusions) > 1:
            context = replace(context, unrefined=unrefined)
        joined = self.fusion.join(features, context)
        by_output = self._classify(joined.features) | joined.logits
        return ModelOutput(self.fusion.decide(by_output, context), by_output, joined.losses)

    def _classify(self, outputs: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Logits per output and task."""
        return {name: self.heads[name](vector) for name, vector in outputs.items()}

    def _without_missing(self, features: dict[str, Any], context: Context) -> dict[str, Any]:
        """Features as the first fusion's policy wants them for cases without the modality."""
        policy = self.chain[0].missing
        if policy == "refuse":
            _refuse_missing(type(self.chain[0]).__name__, context)
        if policy != "zero":
            return features
        return {
            name: [_masked(level, context.present[name]) for level in x]
            if isinstance(x, list)
            else _masked(x, context.present[name])
            for name, x in features.items()
        }

    def forward(self, batch: Batch, known: Mapping[str, Any] | None = None) -> ModelOutput:
        """The whole way from a batch to logits; `known` holds streams that were encoded before."""
        context = self.context(batch)
        return self.fuse(self.encode(batch, context, known or {}), context)


def _masked(x: Tensor, present: Tensor) -> Tensor:
    """A feature, zero in cases without the modality."""
    return x.masked_fill(~present.reshape(-1, *(1,) * (x.ndim - 1)), 0)


def _refuse_missing(fusion: str, context: Context) -> None:
    """A fusion that needs every modality of every case, and a batch that lacks one."""
    lacking = {name: int((~p).sum()) for name, p in context.present.items() if not p.is_meta}
    problems = [
        f"{count} cases of a batch have no {name!r}. Leave them out, or use a fusion that takes "
        "them (concat, late)."
        for name, count in lacking.items()
        if count
    ]
    if problems:
        raise DataError(problems, f"the input of {fusion}, a fusion that needs every modality")


def _split(features: Any, count: int) -> list[Any]:
    """Features of streams that went through a trunk as one batch, stream by stream."""
    if isinstance(features, list):
        return [list(levels) for levels in zip(*(x.chunk(count) for x in features), strict=True)]
    return list(features.chunk(count))
