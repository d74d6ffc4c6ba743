"""CLIP: modalities aligned by a contrastive loss, their embeddings side by side for the classifier.

Source: Radford et al., CLIP, ICML 2021, Fig. 3, as in Sanjeev et al., PECon, 2023 (released code);
Yu et al., MMCAF-Net, 2025, arXiv:2508.04205, Table 3 "clip_Fusion", which gives no details.
Differs from the paper: alignment and classification are learned together; any number of modalities.
"""

import math
from collections.abc import Mapping
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.losses.contrastive import symmetric_info_nce
from fusionzoo.spec import FeatureSpec


@component(source="Radford 2021 (CLIP), Fig. 3; Yu 2025 (MMCAF-Net), Table 3, clip_Fusion")
class CLIP(AbstractFusion):
    """z = [z_1, ..., z_M] with z_m = P_m x_m / |P_m x_m|, and InfoNCE between every two of them.

    The loss is `losses.contrastive.symmetric_info_nce` at scale min(exp(t), 100), over the cases
    that have both modalities, averaged over pairs of modalities. It needs negatives: a batch of n
    cases has n - 1 of them, so small batches teach little.

    Args:
        given: A vector per modality.
        embed_dim: Width of every embedding.
        weight: Weight of the contrastive loss.
        temperature: Where exp(-t) begins.
        mask_duplicates: Whether copies of one case (from oversampling) are left out of each other's
            negatives; without copies it changes nothing.
        supervised: Whether cases of the same class are positives too, for the first task.

    Inputs:  per modality `batch channels_m`
    Returns: one output `fused`, `batch modalities*embed_dim`; losses: `clip`
    Example:
        >>> given = {"ct": FeatureSpec.vector(16), "table": FeatureSpec.vector(8)}
        >>> CLIP(given).outputs["fused"].channels
        256
    """

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        embed_dim: int = 128,
        weight: float = 1.0,
        temperature: float = 0.07,
        mask_duplicates: bool = True,
        supervised: bool = False,
    ):
        super().__init__()
        self.weight = weight
        self.mask_duplicates, self.by_class = mask_duplicates, supervised
        self.projections = nn.ModuleList(
            nn.Linear(spec.channels, embed_dim) for spec in given.values()
        )
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))
        self.outputs = {"fused": FeatureSpec.vector(len(given) * embed_dim)}

    def join(self, features: dict[str, Float[Tensor, "batch _"]], context: Context) -> FusionOutput:
        """The embeddings side by side, and how well they find each other."""
        embedded = {
            name: F.normalize(project(x), dim=1)
            for project, (name, x) in zip(self.projections, features.items(), strict=True)
        }
        pairs = [self._alignment(embedded, a, b, context) for a, b in combinations(embedded, 2)]
        fused = torch.cat(list(embedded.values()), dim=1)
        return FusionOutput({"fused": fused}, {"clip": self.weight * torch.stack(pairs).mean()})

    def _alignment(
        self, embedded: Mapping[str, Tensor], first: str, second: str, context: Context
    ) -> Float[Tensor, ""]:
        labels = (context.targets or {}) if self.by_class else {}
        return symmetric_info_nce(
            embedded[first],
            embedded[second],
            self.logit_scale.exp().clamp(max=100),
            index=context.index if self.mask_duplicates else None,
            targets=next(iter(labels.values()), None),
            paired=context.present[first] & context.present[second],
        )
