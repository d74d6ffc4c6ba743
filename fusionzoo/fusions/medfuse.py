"""MedFuse: an LSTM reads the modalities one after the other.

Source: Hayat et al., MedFuse, MLHC 2022 (released code).
Differs from the paper: any number of modalities, and any of them may be missing.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.losses.divergence import cosine_distance
from fusionzoo.spec import FeatureSpec, TaskSpec


@component(source="Hayat 2022 (MedFuse)")
class MedFuse(AbstractFusion):
    """The last hidden state of an LSTM over [x_1, P_2 x_2, ..., P_M x_M].

    Tables are read first, then images, each kind in the order of the spec; everything is projected
    to the width of what is read first. Missing modalities are skipped, so that a case's sequence is
    as long as it has modalities.

    Args:
        given: A vector per modality.
        hidden_dim: Width of the LSTM; that of the vector read last by default, as in the release.
        align: Weight of a cosine loss that draws each projection to what is read first.

    Inputs:  per modality `batch channels_m`
    Returns: one output `fused`, `batch hidden_dim`; losses: `align` where its weight is not 0
    Example:
        >>> table, image = FeatureSpec.vector(8), FeatureSpec.map(16, (4, 4), (8, 8))
        >>> medfuse = MedFuse({"ct": FeatureSpec.vector(16), "table": table})
        >>> medfuse.attach({"ct": [image], "table": [table]}, [])
        >>> medfuse.order, medfuse.outputs["fused"].channels
        (('table', 'ct'), 16)
    """

    missing: ClassVar[str] = "mask"

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        hidden_dim: int | None = None,
        align: float = 0.0,
    ):
        super().__init__()
        self.given = dict(given)
        self.hidden_dim, self.align = hidden_dim, align

    def attach(
        self, stages: Mapping[str, Sequence[FeatureSpec]], tasks: Sequence[TaskSpec]
    ) -> None:
        """Order the modalities, tables first, and build what reads them."""
        self.order = tuple(sorted(stages, key=lambda name: stages[name][-1].layout != "vector"))
        widths = [self.given[name].channels for name in self.order]
        hidden = self.hidden_dim or widths[-1]
        self.projections = nn.ModuleList(nn.Linear(width, widths[0]) for width in widths[1:])
        self.lstm = nn.LSTM(widths[0], hidden, batch_first=True)
        self.outputs = {"fused": FeatureSpec.vector(hidden)}

    def join(self, features: dict[str, Float[Tensor, "batch _"]], context: Context) -> FusionOutput:
        """The last state of each case's sequence."""
        first, *others = (features[name] for name in self.order)
        present = torch.stack([context.present[name] for name in self.order], dim=1)
        tokens = [first, *(p(x) for p, x in zip(self.projections, others, strict=True))]
        sequence = torch.stack(tokens, dim=1) * present[..., None]
        losses = {"align": self.align * _alignment(sequence, present)} if self.align else {}
        # Present tokens move to the front, in their order; what comes after them is not read.
        front = torch.argsort(~present, dim=1, stable=True)
        states, _ = self.lstm(sequence.gather(1, front[..., None].expand_as(sequence)))
        last = (present.sum(dim=1) - 1).clamp(min=0)
        fused = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]
        return FusionOutput({"fused": fused}, losses)

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the release's fusion of a table and an image, without its classifiers."""
        names = {"projection.": "projections.0.", "lstm_fusion_layer.": "lstm."}
        return {
            key.replace(official, ours): value
            for official, ours in names.items()
            for key, value in state.items()
            if key.startswith(official)
        }


def _alignment(
    sequence: Float[Tensor, "batch modalities embed"], present: Bool[Tensor, "batch modalities"]
) -> Float[Tensor, ""]:
    """Mean cosine distance of each later token to the first, over the cases that have both."""
    distances = []
    for i in range(1, sequence.shape[1]):
        both = present[:, 0] & present[:, i]
        if both.any():
            distances.append(cosine_distance(sequence[both, 0], sequence[both, i]))
    return torch.stack(distances).mean() if distances else sequence.sum() * 0
