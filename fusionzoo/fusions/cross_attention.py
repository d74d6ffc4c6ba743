"""Cross-attention: each modality attends to the others at one scale.

Source: Yu et al., MMCAF-Net, 2025, arXiv:2508.04205, Table 3 "Cross-Attention", Eq. (10).
Differs from the paper: any number of modalities; tokens are taken as well as vectors.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.ops.attention import CrossAttention as Attention
from fusionzoo.ops.attention import TokenBatchNorm, as_tokens, attend_to_others
from fusionzoo.spec import FeatureSpec, Need

_OFFICIAL = {
    "norm_img.": "norms.0.norm.",
    "norm_tab.": "norms.1.norm.",
    "cross_attention1.": "attention.",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
}


@component(source="Yu 2025 (MMCAF-Net), Table 3, Eq. 10")
class CrossAttention(AbstractFusion):
    """z = mean_m mean_tokens mean_{n != m} A(norm_m(x_m), norm_n(x_n)), with one attention A.

    Modalities that are vectors have one token each. The softmax over one key is 1, so that A(a, b)
    = a + V b + c and queries and keys get no gradient, as in the paper; over several tokens they
    learn.

    Args:
        given: A vector or tokens per modality, all of `channels`.
        channels: Width of every modality.
        num_heads: Heads of attention; divides `channels`.

    Inputs:  per modality `batch channels` or `batch tokens channels`
    Returns: one output `fused`, `batch channels`; losses: none
    Raises:  BadOption: `num_heads` doesn't divide `channels`
    Example:
        >>> given = {"ct": FeatureSpec.vector(24), "table": FeatureSpec.vector(24)}
        >>> CrossAttention(given).outputs["fused"].channels
        24
    """

    no_gradient: ClassVar[frozenset[str]] = frozenset({"attention.query.*", "attention.key.*"})

    def __init__(self, given: Mapping[str, FeatureSpec], *, channels: int = 24, num_heads: int = 4):
        super().__init__()
        self.norms = nn.ModuleList(TokenBatchNorm(channels) for _ in given)
        self.attention = Attention(channels, channels, num_heads=num_heads)
        self.outputs = {"fused": FeatureSpec.vector(channels)}

    @classmethod
    def needs(cls, given: Mapping[str, FeatureSpec], **options: Any) -> dict[str, Need]:
        """A vector or tokens of each, `channels` wide."""
        return {name: Need(("vector", "tokens"), channels=options["channels"]) for name in given}

    def join(
        self, features: dict[str, Float[Tensor, "batch *tokens embed"]], context: Context
    ) -> FusionOutput:
        """The mean of all directions."""
        tokens = [norm(as_tokens(x)) for norm, x in zip(self.norms, features.values(), strict=True)]
        attended = attend_to_others(self.attention, tokens)
        pooled = [reduce(x, "batch tokens embed -> batch embed", "mean") for x in attended]
        return FusionOutput({"fused": torch.stack(pooled).mean(dim=0)})

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the release's `Simple_Fuse`; its image is our first modality."""
        for official, ours in _OFFICIAL.items():
            state = {key.replace(official, ours): value for key, value in state.items()}
        return state
