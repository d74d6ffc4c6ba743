"""The model that runs any combo: one loop for every place where a fusion may act."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.interface import AbstractEncoder, AbstractFusion, AbstractHead, Batch, Context


@dataclass
class ModelOutput:
    """What a model gives for a batch (not frozen: mixed precision casts its tensors in a copy).

    Args:
        logits: Final logits per task, `batch logits`.
        by_output: Logits per output of the fusion and task; the sole output of most combos equals `logits`.
        losses: Auxiliary losses by name.
    """

    logits: dict[str, Tensor]
    by_output: dict[str, dict[str, Tensor]]
    losses: dict[str, Tensor]


@dataclass(frozen=True)
class Feature:
    """One stream through the model: the modalities it reads and the modules it goes through, by key."""

    name: str
    modalities: tuple[str, ...]
    encoder: str
    adapter: str


class Trunk(nn.Module):
    """One encoder with its necks and, where a vector is wanted, its summary: the part that a stage may freeze."""

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
    def fusion(self) -> AbstractFusion | None:
        """The fusion that joins; None for one modality."""
        return self.fusions[-1] if len(self.fusions) else None

    @property
    def exchanges(self) -> bool:
        """Whether a fusion acts between stages, so that no branch can be run on its own."""
        return any("exchange" in fusion.places for fusion in self.fusions)

    @property
    def supervised(self) -> dict[str, float]:
        """Outputs that the task loss is computed on, with weights."""
        return self.fusion.supervised if self.fusion is not None else {"final": 1.0}

    def context(self, batch: Batch) -> Context:
        """What fusions may look at beside the features."""
        present = {
            feature.name: torch.stack([batch.present[name] for name in feature.modalities]).any(dim=0)
            for feature in self.features
        }
        return Context(present, batch.targets if self.training else None, batch.index if self.training else None)

    def read(self, feature: Feature, batch: Batch) -> Tensor:
        """What one stream reads; stacked modalities are joined on channels."""
        inputs = [batch.inputs[name] for name in feature.modalities]
        return inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1)

    def encode(self, batch: Batch, context: Context, known: Mapping[str, Any]) -> dict[str, Any]:
        """Each stream up to where a frozen trunk ends; streams in `known` are taken as they are, unread."""
        if not self.exchanges:
            return {
                f.name: known[f.name] if f.name in known else self.trunks[f.encoder](self.read(f, batch))
                for f in self.features
            }
        return self._encode_in_step({f.name: self.read(f, batch) for f in self.features}, context)

    def _encode_in_step(self, inputs: Mapping[str, Tensor], context: Context) -> dict[str, Any]:
        """All encoders stage by stage, with the fusions' exchange between the stages."""
        encoders: dict[str, AbstractEncoder] = {f.name: self.trunks[f.encoder].encoder for f in self.features}
        states = {name: encoder.stem(inputs[name]) for name, encoder in encoders.items()}
        kept: dict[str, list[Tensor]] = {name: [] for name in encoders}
        for level in range(max(len(encoder.stages) for encoder in encoders.values())):
            for name, encoder in encoders.items():
                if level < len(encoder.stages):
                    states[name] = encoder.stage(level, states[name])
            for fusion in self.fusions:
                if "exchange" in fusion.places:
                    states = fusion.exchange(level, states, context)
            for name, encoder in encoders.items():
                if level < len(encoder.stages):
                    kept[name].append(encoder.emit(level, states[name]))
        features = {}
        for feature in self.features:
            encoder, trunk = encoders[feature.name], self.trunks[feature.encoder]
            pyramid = encoder.output.layout == "pyramid"
            last = encoder.emit(len(encoder.stages) - 1, states[feature.name])
            features[feature.name] = trunk.refine(kept[feature.name] if pyramid else last)
        return features

    def fuse(self, encoded: Mapping[str, Any], context: Context) -> ModelOutput:
        """From encoded streams to logits."""
        features = {f.name: self.adapters[f.adapter](encoded[f.name]) for f in self.features}
        losses: dict[str, Tensor] = {}
        if self.fusion is None:
            outputs = features
        else:
            features = self._without_missing(features, context)
            for fusion in self.fusions[:-1]:
                features = fusion.refine(features, context)
            joined = self.fusion.join(features, context)
            outputs, losses = joined.features, joined.losses
        by_output = {name: self.heads[name](vector) for name, vector in outputs.items()}
        if self.fusion is None:
            (logits,) = by_output.values()
        else:
            logits = self.fusion.decide(by_output, context)
        return ModelOutput(logits, by_output, losses)

    def _without_missing(self, features: dict[str, Any], context: Context) -> dict[str, Any]:
        """Features with zeros for the cases that don't have the modality, where that is the fusion's policy."""
        if self.fusions[0].missing != "zero":
            return features

        def mask(x: Tensor, present: Tensor) -> Tensor:
            return x * present.to(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))

        return {
            name: [mask(level, context.present[name]) for level in x] if isinstance(x, list) else mask(x, context.present[name])
            for name, x in features.items()
        }

    def forward(self, batch: Batch, known: Mapping[str, Any] | None = None) -> ModelOutput:
        """The whole way from a batch to logits; `known` holds streams that were encoded before."""
        context = self.context(batch)
        return self.fuse(self.encode(batch, context, known or {}), context)
