"""CRD-Net: a cross gate between the last maps of two images, a classifier of each beside the joint.

Source: CRD-Net as released (github.com/ZirongLiu/CRD-Net); a baseline of IIMGF-Net, MICCAI 2025,
Table 1.
Differs from the released code: any number of modalities, each attending to all others; volumes
have 3D convolutions, and a vector is a map of one position. The article speaks of further losses
that its code doesn't have; neither do we.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.spec import FeatureSpec, Need

#: Convolutions and norms by spatial axes; a vector is a line of one position.
_CONV: Mapping[int, type[nn.Module]] = {0: nn.Conv1d, 1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORM: Mapping[int, type[nn.Module]] = {
    0: nn.BatchNorm1d,
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}


class NormedConv(nn.Sequential):
    """norm(W * x + b), and an activation where one is given.

    Args:
        in_channels: Channels of the map.
        out_channels: Channels of the result.
        dims: Spatial axes.
        kernel: Width of the kernel along every axis, odd.
        groups: Groups of the convolution.
        activation: What comes after the norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dims: int,
        kernel: int = 1,
        groups: int = 1,
        activation: nn.Module | None = None,
    ):
        conv = _CONV[dims](in_channels, out_channels, kernel, padding=kernel // 2, groups=groups)
        norm = _NORM[dims](out_channels)
        super().__init__(conv, norm, *([activation] if activation is not None else []))


class TalkingHeadsAttention(nn.Module):
    """norm(P relu(T_2 softmax(T_1 (q k^T / sqrt(d))) v)), with T_1 and T_2 mixing the heads.

    Values are four times as wide as queries and keys, and go through a depth-wise convolution of 3.

    Args:
        channels: Channels of the map.
        head_dim: Width d of a head's queries and keys.
        num_heads: Heads.
        dims: Spatial axes.
    """

    def __init__(self, channels: int, *, head_dim: int, num_heads: int, dims: int):
        super().__init__()
        width, wide = num_heads * head_dim, num_heads * 4 * head_dim
        self.num_heads, self.scale = num_heads, head_dim**-0.5
        self.query = NormedConv(channels, width, dims=dims)
        self.key = NormedConv(channels, width, dims=dims)
        self.value = nn.Sequential(
            NormedConv(channels, wide, dims=dims),
            NormedConv(wide, wide, dims=dims, kernel=3, groups=wide),
        )
        self.before, self.after = (nn.Conv2d(num_heads, num_heads, 1) for _ in range(2))
        self.project = NormedConv(wide, channels, dims=dims)

    def forward(
        self, x: Float[Tensor, "batch channels *space"]
    ) -> Float[Tensor, "batch channels *space"]:
        """A map of the same shape."""
        q, k, v = (_heads(part(x), self.num_heads) for part in (self.query, self.key, self.value))
        weights = self.after(self.before(q @ k.mT * self.scale).softmax(dim=-1))
        mixed = rearrange(weights @ v, "batch heads tokens dim -> batch (heads dim) tokens")
        return self.project(torch.relu(mixed.reshape(len(x), -1, *x.shape[2:])))


class CrossAttention(nn.Module):
    """x_m + P_m concat_h softmax(Q_h K_h^T / sqrt(d)) V_h, keys and values of all other modalities.

    All queries, keys and values come from the maps as they were before.

    Args:
        channels: Channels of each modality.
        dims: Spatial axes of each.
        embed_dim: Width of all heads together.
        num_heads: Heads.
    """

    def __init__(
        self, channels: Sequence[int], dims: Sequence[int], *, embed_dim: int, num_heads: int
    ):
        super().__init__()
        self.num_heads, self.scale = num_heads, (embed_dim // num_heads) ** -0.5
        each = list(zip(channels, dims, strict=True))
        self.qkv = nn.ModuleList(_CONV[d](own, 3 * embed_dim, 1) for own, d in each)
        self.project = nn.ModuleList(_CONV[d](embed_dim, own, 1) for own, d in each)

    def forward(
        self, maps: Sequence[Float[Tensor, "batch _ ..."]]
    ) -> list[Float[Tensor, "batch _ ..."]]:
        """Maps of the same shapes."""
        split = [
            [_heads(part, self.num_heads) for part in qkv(x).chunk(3, dim=1)]
            for qkv, x in zip(self.qkv, maps, strict=True)
        ]
        found = []
        for m, (x, project) in enumerate(zip(maps, self.project, strict=True)):
            others = [parts for n, parts in enumerate(split) if n != m]
            k, v = (torch.cat([parts[i] for parts in others], dim=2) for i in (1, 2))
            gathered = (split[m][0] @ k.mT * self.scale).softmax(dim=-1) @ v
            flat = rearrange(gathered, "batch heads tokens dim -> batch (heads dim) tokens")
            found.append(x + project(flat.reshape(len(x), -1, *x.shape[2:])))
        return found


class CrossGate(nn.Module):
    """Attention and a feed-forward step within each modality, then attention across, then a step.

        x <- x + A x,  x <- x + F x,  x <- cross(x, y, ...),  x <- F' x

    Args:
        channels: Channels of each modality.
        dims: Spatial axes of each.
        embed_dim: Width of a head in A, and of all heads together in the cross-attention.
        num_heads: Heads.
    """

    def __init__(
        self, channels: Sequence[int], dims: Sequence[int], *, embed_dim: int, num_heads: int
    ):
        super().__init__()
        each = list(zip(channels, dims, strict=True))
        self.attend = nn.ModuleList(
            TalkingHeadsAttention(own, head_dim=embed_dim, num_heads=num_heads, dims=d)
            for own, d in each
        )
        self.step = nn.ModuleList(_feed_forward(own, d) for own, d in each)
        self.cross = CrossAttention(channels, dims, embed_dim=embed_dim, num_heads=num_heads)
        self.last = nn.ModuleList(_feed_forward(own, d) for own, d in each)

    def forward(
        self, maps: Sequence[Float[Tensor, "batch _ ..."]]
    ) -> list[Float[Tensor, "batch _ ..."]]:
        """Maps of the same shapes."""
        maps = [x + attend(x) for attend, x in zip(self.attend, maps, strict=True)]
        maps = [x + step(x) for step, x in zip(self.step, maps, strict=True)]
        return [last(x) for last, x in zip(self.last, self.cross(maps), strict=True)]


@component(source="CRD-Net, released code (ZirongLiu/CRD-Net)")
class CRDNet(AbstractFusion):
    """z = [mean c_1(g_1), ..., mean c_M(g_M)] with g the maps after one cross gate.

    c_m is a 1x1 convolution, ReLU and a convolution of 3 as wide as the map; means are over
    positions. The head of z gives the verdict; each mean has a classifier of its own that only
    training reads, with the same weight. Two ResNet-18 and four classes make 82.7 million
    parameters, nearly all of them in the gate; a narrower `embed_dim` has far fewer.

    Args:
        given: A map or a vector per modality.
        embed_dim: Width of a head within a modality, and of all heads together across.
        num_heads: Heads; divides `embed_dim`.

    Inputs:  per modality `batch channels_m *space_m` or `batch channels_m`; a missing one is zeros
             and its own classifier learns nothing from the case
    Returns: `fused`, `batch sum(channels_m)`, and one output per modality, named as it; losses:
             none
    Raises:  BadOption: `num_heads` doesn't divide `embed_dim`
    Example:
        >>> given = {"clinic": FeatureSpec.map(8, (4, 4), (8, 8)), "table": FeatureSpec.vector(6)}
        >>> CRDNet(given, embed_dim=16).outputs["fused"].channels
        14
    """

    places: ClassVar[frozenset[str]] = frozenset({"join", "decide"})
    small: ClassVar[Mapping[str, Any]] = {"embed_dim": 16}
    #: One position attends to itself alone, and to nothing else where all others are vectors.
    no_gradient: ClassVar[frozenset[str]] = frozenset(
        {
            "gate.attend.*.query.*",
            "gate.attend.*.key.*",
            "gate.attend.*.before.*",
            "gate.cross.qkv.*",
        }
    )

    def __init__(
        self, given: Mapping[str, FeatureSpec], *, embed_dim: int = 1024, num_heads: int = 4
    ):
        super().__init__()
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise BadOption(
                f"embed_dim={embed_dim} can't be split into num_heads={num_heads}. Use a number of "
                f"heads that divides {embed_dim}."
            )
        channels = [spec.channels for spec in given.values()]
        dims = [spec.spatial_dims for spec in given.values()]
        self.gate = CrossGate(channels, dims, embed_dim=embed_dim, num_heads=num_heads)
        self.convolve = nn.ModuleList(
            nn.Sequential(_CONV[d](own, own, 1), nn.ReLU(), _CONV[d](own, own, 3, padding=1))
            for own, d in zip(channels, dims, strict=True)
        )
        own_vectors = {name: FeatureSpec.vector(spec.channels) for name, spec in given.items()}
        self.outputs = {"fused": FeatureSpec.vector(sum(channels)), **own_vectors}

    @classmethod
    def needs(cls, given: Mapping[str, FeatureSpec], **options: Any) -> dict[str, Need]:
        """The last map of each, or a vector."""
        return {name: Need(("map", "vector")) for name in given}

    @property
    def supervised(self) -> dict[str, float]:
        """The joint verdict and each modality's own."""
        return {"final" if name == "fused" else name: 1.0 for name in self.outputs}

    def join(
        self, features: dict[str, Float[Tensor, "batch _ *space"]], context: Context
    ) -> FusionOutput:
        """All means side by side, and each alone."""
        maps = [x if x.ndim > 2 else x[..., None] for x in features.values()]
        gated = self.gate(maps)
        means = [
            reduce(convolve(x), "batch channels ... -> batch channels", "mean")
            for convolve, x in zip(self.convolve, gated, strict=True)
        ]
        own = dict(zip(features, means, strict=True))
        return FusionOutput({"fused": torch.cat(means, dim=1), **own})

    def decide(
        self, logits: Mapping[str, Mapping[str, Tensor]], context: Context
    ) -> dict[str, Tensor]:
        """The joint verdict."""
        return dict(logits["fused"])


def _heads(
    x: Float[Tensor, "batch channels *space"], num_heads: int
) -> Float[Tensor, "batch heads tokens dim"]:
    """Positions of a map as tokens, by head."""
    return rearrange(
        x.flatten(2), "batch (heads dim) tokens -> batch heads tokens dim", heads=num_heads
    )


def _feed_forward(channels: int, dims: int) -> nn.Sequential:
    """To four times the channels and back."""
    wide = NormedConv(channels, 4 * channels, dims=dims, activation=nn.GELU())
    return nn.Sequential(wide, NormedConv(4 * channels, channels, dims=dims))


__all__ = ["CRDNet", "CrossAttention", "CrossGate", "NormedConv", "TalkingHeadsAttention"]
