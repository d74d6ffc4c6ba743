"""PECon: modalities are aligned by a contrastive loss first, and classified after that.

Source: Sanjeev et al., PECon, 2023 (released code).
Differs from the released code: one training run, whose first steps align and whose later ones
classify, where the release trains twice with optimisers of their own; each modality's classifier
has one logit for two classes, not two; any number of modalities, any of which may be missing.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.losses.contrastive import symmetric_info_nce
from fusionzoo.spec import FeatureSpec, TaskSpec

#: Widths of the layers before the last, and dropout after the first, of images and of tables.
IMAGE_HIDDEN, IMAGE_DROPOUT = (512, 256), 0.5
TABLE_HIDDEN, TABLE_DROPOUT = (128,), 0.4


class Embedder(nn.Sequential):
    """W_n relu(... dropout(relu(W_1 x + b_1)) ...) + b_n; dropout after the first layer alone.

    Args:
        widths: Of the input, the hidden layers and the output.
        dropout: Probability of dropping a unit of the first hidden layer.
    """

    def __init__(self, widths: Sequence[int], *, dropout: float):
        layers: list[nn.Module] = [nn.Linear(widths[0], widths[1]), nn.ReLU(), nn.Dropout(dropout)]
        for before, after in pairwise(widths[1:-1]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(*layers, nn.Linear(widths[-2], widths[-1]))


@component(source="Sanjeev 2023 (PECon), released code")
class PECon(AbstractFusion):
    """logit = mean_m C_m(z_m) with z_m = E_m(x_m), and InfoNCE between every two z.

    While aligning, the contrastive loss alone reaches the embedders (and what is before them), and
    the classifiers learn on embeddings held fixed. After `align_steps` training steps the
    contrastive loss is gone and classification reaches everything. Images go through 512 and 256
    hidden units, tables through 128. The step counter is part of the saved state.

    Args:
        given: A vector per modality.
        embed_dim: Width of every embedding.
        stages: `two`, or `joint` for both losses at every step.
        align_steps: Steps of the first stage.
        weight: Weight of the contrastive loss.
        temperature: Where the scale's exp(-t) begins; the scale stays at 100 or below.

    Inputs:  per modality `batch channels_m`
    Returns: one output per modality, `batch embed_dim`; losses: `contrastive` while aligning
    Raises:  BadOption: a negative number of steps
    Example:
        >>> given = {"ct": FeatureSpec.vector(16), "table": FeatureSpec.vector(8)}
        >>> pecon = PECon(given, embed_dim=32)
        >>> maps = FeatureSpec.map(16, (4, 4), (8, 8))
        >>> pecon.attach({"ct": [maps], "table": [FeatureSpec.vector(8)]}, [])
        >>> pecon.outputs["table"].channels
        32
    """

    places: ClassVar[frozenset[str]] = frozenset({"join", "decide"})
    missing: ClassVar[str] = "mask"

    steps: Tensor

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        embed_dim: int = 128,
        stages: Literal["two", "joint"] = "two",
        align_steps: int = 200,
        weight: float = 1.0,
        temperature: float = 0.07,
    ):
        super().__init__()
        if align_steps < 0:
            raise BadOption(f"align_steps={align_steps} is no number of steps. Use 0 or more.")
        self.given, self.embed_dim = dict(given), embed_dim
        self.in_stages, self.align_steps, self.weight = stages == "two", align_steps, weight
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.outputs = {name: FeatureSpec.vector(embed_dim) for name in given}

    def attach(
        self, stages: Mapping[str, Sequence[FeatureSpec]], tasks: Sequence[TaskSpec]
    ) -> None:
        """Build each modality's embedder, by whether it went through vectors or maps."""
        self.embedders = nn.ModuleDict()
        for name, spec in self.given.items():
            table = stages[name][-1].layout == "vector"
            hidden, dropout = (
                (TABLE_HIDDEN, TABLE_DROPOUT) if table else (IMAGE_HIDDEN, IMAGE_DROPOUT)
            )
            widths = (spec.channels, *hidden, self.embed_dim)
            self.embedders[name] = Embedder(widths, dropout=dropout)

    def join(self, features: dict[str, Float[Tensor, "batch _"]], context: Context) -> FusionOutput:
        """The embeddings, held fixed for the classifiers while aligning."""
        embedded = {name: self.embedders[name](x) for name, x in features.items()}
        if not self.training:
            return FusionOutput(embedded)
        aligning = not self.in_stages or int(self.steps) < self.align_steps
        self.steps += 1
        if not aligning:
            return FusionOutput(embedded)
        losses = {"contrastive": self.weight * self._contrast(embedded, context)}
        if self.in_stages:
            embedded = {name: z.detach() for name, z in embedded.items()}
        return FusionOutput(embedded, losses)

    def decide(
        self, logits: Mapping[str, Mapping[str, Tensor]], context: Context
    ) -> dict[str, Tensor]:
        """The mean of the logits of the modalities that a case has; of all where it has none."""
        there = torch.stack([context.present[name] for name in self.outputs])
        weights = (there | ~there.any(dim=0)).to(next(iter(logits[next(iter(logits))].values())))
        weights = (weights / weights.sum(dim=0))[..., None]
        return {
            task: (weights * torch.stack([logits[name][task] for name in self.outputs])).sum(dim=0)
            for task in next(iter(logits.values()))
        }

    def _contrast(self, embedded: Mapping[str, Tensor], context: Context) -> Float[Tensor, ""]:
        """InfoNCE over the cases that have both, averaged over pairs of modalities."""
        scale = self.logit_scale.exp().clamp(max=100)
        pairs = []
        for first, second in combinations(embedded, 2):
            both = context.present[first] & context.present[second]
            a, b = F.normalize(embedded[first]), F.normalize(embedded[second])
            pairs.append(symmetric_info_nce(a, b, scale, index=context.index, paired=both))
        return torch.stack(pairs).mean()


__all__ = ["Embedder", "PECon"]
