"""MSCA: multi-scale cross-attention between modalities at three widths.

Source: Yu et al., MMCAF-Net, 2025, arXiv:2508.04205, Fig. 3 and Eq. (10).
Differs from the paper: both narrower copies come from the full width, as in the released code; the
text's chain of halvings is `pyramid="consecutive"`; the last merge is a sum, as in the code, and
Fig. 3's is `merge="concat"`. From its released code: any number of modalities and of tokens, and no
unused layer.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.ops.attention import CrossAttention, TokenBatchNorm, as_tokens, attend_to_others
from fusionzoo.spec import FeatureSpec, Need

_OFFICIAL = {
    "norm_img.": "norms.0.norm.",
    "norm_tab.": "norms.1.norm.",
    "down1.0.": "halves.0.0.",
    "down2.0.": "halves.1.0.",
    "sample_img1.": "passes.0.",
    "sample_tab1.": "passes.1.",
    "sample_img2.": "passes.2.",
    "sample_tab2.": "passes.3.",
    "cross_attention1.": "attentions.0.",
    "cross_attention2.": "attentions.1.",
    "cross_attention3.": "attentions.2.",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "SF1.": "merges.0.",
    "SF2.": "merges.1.",
    "fc1x": "fine",
    "fc1y": "coarse",
}


class BSF(nn.Module):
    """(x' + a x') + (y' + a y') of two scales x and y, with a = softmax(x' y').

    Here x' = W x + b and y' = U y + c. Products are elementwise and the softmax is over
    channels. With merge="concat" the two terms stand side by side.

    Args:
        channels: Width of x, and of each term.
        coarse_channels: Width of y.
        merge: `sum` (released code) or `concat` (Fig. 3).
    """

    def __init__(
        self, channels: int, coarse_channels: int, *, merge: Literal["sum", "concat"] = "sum"
    ):
        super().__init__()
        self.fine = nn.Linear(channels, channels)
        self.coarse = nn.Linear(coarse_channels, channels)
        self.merge = merge
        self.out_channels = channels * (2 if merge == "concat" else 1)

    def forward(
        self, x: Float[Tensor, "*any fine"], y: Float[Tensor, "*any coarse"]
    ) -> Float[Tensor, "*any merged"]:
        """The two scales as one."""
        x, y = self.fine(x), self.coarse(y)
        gate = 1 + torch.softmax(x * y, dim=-1)
        return torch.cat([x * gate, y * gate], dim=-1) if self.merge == "concat" else (x + y) * gate


@component(source="Yu 2025 (MMCAF-Net), Fig. 3 and Eq. 10")
class MSCA(AbstractFusion):
    """One attention for all directions at each of the widths C, C/2 and C/4, then two merges.

        x_m0 = norm_m(x_m),  x_m1 = D_1 x_m0,  x_m2 = D_2 x_m0,    D = dropout(relu(linear)), shared
        by the modalities h_ml = mean_{n != m} A_l(x_ml, x_nl),  where x_ml has P_ml h_m,l-1 added
        from level 1 on o_l  = mean_m mean_tokens h_ml,        z = BSF(o_0, BSF(o_1, o_2))

    Modalities that are vectors have one token each. The softmax over one key is 1, so that A(a, b)
    = a + V b + c: queries and keys don't matter and get no gradient, as in the paper. Over several
    tokens they learn.

    Args:
        given: A vector or tokens per modality, all of `channels`.
        channels: Width C of every modality; a multiple of 4.
        num_heads: Heads at each of the three levels; each divides its level's width.
        merge: Whether the last BSF sums its two terms (code) or puts them side by side (Fig. 3).
        pool: `mean` over the modalities before the merges, or `tokens` to keep one token per
            modality and flatten them after the merges (a reading of the release's 48-wide
            classifier).
        pyramid: D_2 reads the full width (`direct`, code) or D_1's result (`consecutive`, text).
        dropout: Probability of dropping a unit of the narrower copies.

    Inputs:  per modality `batch channels` or `batch tokens channels`
    Returns: one output `fused`, `batch channels` (twice as wide for `concat`, once per modality for
        `tokens`);
             losses: none
    Raises:  BadOption: widths that can't be halved twice or split into the heads
    Example:
        >>> given = {"ct": FeatureSpec.vector(24), "table": FeatureSpec.vector(24)}
        >>> MSCA(given).outputs["fused"].channels
        24
    """

    no_gradient: ClassVar[frozenset[str]] = frozenset(
        {"attentions.*.query.*", "attentions.*.key.*"}
    )

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        channels: int = 24,
        num_heads: tuple[int, int, int] = (4, 2, 2),
        merge: Literal["sum", "concat"] = "sum",
        pool: Literal["mean", "tokens"] = "mean",
        pyramid: Literal["direct", "consecutive"] = "direct",
        dropout: float = 0.5,
    ):
        super().__init__()
        if channels % 4 or len(num_heads) != 3:
            raise BadOption(
                f"MSCA works at three widths, each half of the one before; channels={channels} and "
                f"num_heads={num_heads} don't fit. Use channels that 4 divides, "
                "and three numbers of heads."
            )
        widths = (channels, channels // 2, channels // 4)
        self.pool, self.pyramid = pool, pyramid
        self.norms = nn.ModuleList(TokenBatchNorm(channels) for _ in given)
        starts = (channels, widths[1] if pyramid == "consecutive" else channels)
        self.halves = nn.ModuleList(
            nn.Sequential(nn.Linear(start, width), nn.ReLU(), nn.Dropout(dropout))
            for start, width in zip(starts, widths[1:], strict=True)
        )
        self.attentions = nn.ModuleList(
            CrossAttention(width, width, num_heads=heads)
            for width, heads in zip(widths, num_heads, strict=True)
        )
        self.passes = nn.ModuleList(
            nn.Linear(wide, narrow) for wide, narrow in pairwise(widths) for _ in given
        )
        last = BSF(channels, widths[1], merge=merge)
        self.merges = nn.ModuleList([BSF(widths[1], widths[2]), last])
        kept = len(given) if pool == "tokens" else 1
        self.outputs = {"fused": FeatureSpec.vector(kept * last.out_channels)}

    @classmethod
    def needs(cls, given: Mapping[str, FeatureSpec], **options: Any) -> dict[str, Need]:
        """A vector or tokens of each, `channels` wide."""
        return {name: Need(("vector", "tokens"), channels=options["channels"]) for name in given}

    def join(
        self, features: dict[str, Float[Tensor, "batch *tokens embed"]], context: Context
    ) -> FusionOutput:
        """Three levels of attention, merged from the narrowest up."""
        full = [norm(as_tokens(x)) for norm, x in zip(self.norms, features.values(), strict=True)]
        half = [self.halves[0](x) for x in full]
        quarter = [self.halves[1](x) for x in (half if self.pyramid == "consecutive" else full)]
        found: list[Tensor] = []
        levels = []
        for level, own in enumerate((full, half, quarter)):
            if level:
                carries = self.passes[(level - 1) * len(own) : level * len(own)]
                told = zip(carries, own, found, strict=True)
                own = [x + carry(above) for carry, x, above in told]
            found = attend_to_others(self.attentions[level], own)
            levels.append(self._pooled(found))
        fused = self.merges[1](levels[0], self.merges[0](levels[1], levels[2]))
        return FusionOutput({"fused": rearrange(fused, "batch kept embed -> batch (kept embed)")})

    def _pooled(self, found: list[Tensor]) -> Float[Tensor, "batch kept embed"]:
        """One token per modality, or their mean."""
        tokens = torch.stack(
            [reduce(x, "batch tokens embed -> batch embed", "mean") for x in found], dim=1
        )
        return tokens if self.pool == "tokens" else tokens.mean(dim=1, keepdim=True)

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the release's `MultiScale_Fusion`; its image is our first modality."""
        for official, ours in _OFFICIAL.items():
            state = {key.replace(official, ours): value for key, value in state.items()}
        return state
