"""TFormer: two images attend to each other in windows after every stage, then a table to both.

Source: Zhang et al., TFormer, Computers in Biology and Medicine 157, 2023, arXiv 2211.11393
(released code).
Differs from the released code: any pyramids, with windows that shrink to small maps, volumes, and
images of two sizes, which are brought to one grid; without a table the verdict reads both images'
vectors, and with one image only the last step is left.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.errors import BadOption, LayoutMismatch, WeightsError
from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.ops.attention import MergedCrossAttention
from fusionzoo.ops.common_grid import CommonGrid, cells, largest, resampled
from fusionzoo.ops.conv import channel_linear
from fusionzoo.ops.patch_merging import PatchMerging
from fusionzoo.ops.window_cross_attention import FeedForward, WindowCrossBlock
from fusionzoo.spec import FeatureSpec, Need

#: Names of the release, and what they are here.
_OFFICIAL = (
    ("fusion_block", "blocks."),
    ("downsample_cli_0.", "carries.0.0."),
    ("downsample_der_0.", "carries.0.1."),
    ("downsample_cli.", "carries.1.0."),
    ("downsample_der.", "carries.1.1."),
    ("fusion_head_cli.0.", "pools.0."),
    ("fusion_head_der.0.", "pools.1."),
    ("meta_subnet.rnn.model.", "metadata."),
    ("fusion_meta.layers.0.", "post."),
)


class MutualBlock(nn.Module):
    """x <- x + A(x, y), then y <- y + B(y, x) with the new x, for each of `depth` layers.

    A and B are Swin's blocks with the other map among the keys, and so add x and y themselves too.
    Windows of every second layer are shifted.

    Args:
        channels: Channels of both maps.
        size: Size of both maps.
        depth: Layers.
        num_heads: Heads of attention.
        window: Most positions of a window along an axis.
    """

    layers: Any

    def __init__(
        self, channels: int, size: Sequence[int], *, depth: int, num_heads: int, window: int = 7
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                WindowCrossBlock(
                    channels, size, num_heads=num_heads, window=window, shifted=layer % 2 == 1
                )
                for _ in range(2)
            )
            for layer in range(depth)
        )

    def forward(
        self,
        x: Float[Tensor, "batch channels *space"],
        y: Float[Tensor, "batch channels *space"],
    ) -> tuple[Float[Tensor, "batch channels *space"], Float[Tensor, "batch channels *space"]]:
        """Two maps of the same shape."""
        x, y = (rearrange(z, "batch channels ... -> batch ... channels") for z in (x, y))
        for first, second in self.layers:
            x = first(x, y) + x
            y = second(y, x) + y
        x, y = (rearrange(z, "batch ... channels -> batch channels ...") for z in (x, y))
        return x, y


class PostFusion(nn.Module):
    """x + Q h with h = t + MLP(norm(t)), t = n + attention(n, norm(c)), n = norm(P x).

    As in the release, it is the normalised tokens that are added. The attention is
    `MergedCrossAttention`, the MLP as wide as c.

    Args:
        channels: Channels of x and of the result.
        context_channels: Channels of c.
        num_heads: Heads; divides `context_channels`.
    """

    def __init__(self, channels: int, context_channels: int, *, num_heads: int = 8):
        super().__init__()
        self.project_in = nn.Linear(channels, context_channels)
        self.project_out = nn.Linear(context_channels, channels)
        self.x_norm1, self.c_norm1, self.x_norm2 = (
            nn.LayerNorm(context_channels) for _ in range(3)
        )
        self.attn = MergedCrossAttention(context_channels, num_heads=num_heads)
        self.mlp = FeedForward(context_channels, context_channels)

    def forward(
        self,
        x: Float[Tensor, "batch queries channels"],
        context: Float[Tensor, "batch keys context_channels"],
    ) -> Float[Tensor, "batch queries channels"]:
        """Tokens of the same shape as x."""
        normed = self.x_norm1(self.project_in(x))
        t = normed + self.attn(normed, self.c_norm1(context))
        return x + self.project_out(t + self.mlp(self.x_norm2(t)))


@component(source="Zhang 2023 (TFormer), released code")
class TFormer(AbstractFusion):
    """z = [v_2, v_1], or [v_2, t + post(t, [v_1, v_2])] with a table's t; v_m = relu(W mean f_mL).

    f_l = mutual_l(x_l + P_1 f_1,l-1, y_l + P_2 f_2,l-1) from the finest level to the coarsest, P
    being patch merging where the next level is smaller or wider and the identity otherwise. The
    first image of the spec plays the release's clinical image, the second its dermoscopy; which of
    them is updated first matters, and it is the first on the first half of the levels and the
    second on the others. t is two layers of linear, batch norm and ReLU over the table, which goes
    through `identity` in the release.

    Of pyramids, as many of the coarsest levels are used as there are `depths`; with fewer levels,
    the last of the depths and heads. Where a number of heads doesn't divide a level's channels, the
    largest smaller one that does is taken.

    Args:
        given: One or two images as pyramids, maps or tokens, and tables as vectors.
        embed_dim: Width of each image's vector and of the table's.
        depths: Layers per level, fine to coarse.
        num_heads: Most heads per level.
        window: Most positions of a window along an axis.
        post_heads: Heads where the table attends to the images.
        dropout: Of the table's vector.

    Inputs:  images `[batch channels_l *space_l]`, tables `batch columns`; a missing one is zeros
    Returns: one output `fused`, `batch 2*embed_dim`; losses: none
    Raises:  LayoutMismatch: more than two images, or none;
             BadOption: depths and heads of different number, or heads that don't divide a width
    Example:
        >>> from fusionzoo.spec import Level
        >>> maps = FeatureSpec.pyramid((Level(8, (4, 4), (8, 8)), Level(16, (2, 2), (16, 16))))
        >>> TFormer({"clinic": maps, "derm": maps}, embed_dim=16).outputs["fused"].channels
        32
    """

    small: ClassVar[Mapping[str, Any]] = {"embed_dim": 16, "depths": (1,), "num_heads": (2,)}

    aligns: Any
    carries: Any

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        embed_dim: int = 128,
        depths: tuple[int, ...] = (1, 1, 2, 1),
        num_heads: tuple[int, ...] = (6, 6, 6, 12),
        window: int = 7,
        post_heads: int = 8,
        dropout: float = 0.3,
    ):
        super().__init__()
        _check(depths, num_heads, window)
        self.images = _images(given)
        self.tables = [name for name in given if name not in self.images]
        self.grid = CommonGrid({name: given[name] for name in self.images})
        if len(self.images) == 2:
            self._build_levels(depths, num_heads, window)
        self.pools = nn.ModuleList(
            nn.Linear(channels, embed_dim) for channels in self._pooled_channels()
        )
        if self.tables:
            columns = sum(given[name].channels for name in self.tables)
            self.metadata = _table_network(columns, embed_dim, dropout)
            self.post = PostFusion(embed_dim, len(self.images) * embed_dim, num_heads=post_heads)
        self.outputs = {"fused": FeatureSpec.vector(2 * embed_dim)}

    @classmethod
    def needs(cls, given: Mapping[str, FeatureSpec], **options: Any) -> dict[str, Need]:
        """Pyramids, maps or tokens of images, of pyramids as many levels as both have; vectors."""
        images = _images(given)
        common = [len(given[n].levels) for n in images if given[n].layout == "pyramid"]
        levels = min([*common, len(options["depths"])])
        return {
            name: Need((spec.layout,), num_levels=levels if spec.layout == "pyramid" else None)
            for name, spec in given.items()
        }

    def _build_levels(self, depths: Sequence[int], num_heads: Sequence[int], window: int) -> None:
        """One mutual block per level, and what carries its results to the next."""
        sizes = [largest(at_level) for at_level in self.grid.sizes]
        widths = [max(channels) for channels in self.grid.channels]
        count = len(sizes)
        self.sizes = sizes
        self.aligns = nn.ModuleList(
            nn.ModuleList(
                nn.Identity() if own == width else nn.Linear(own, width) for own in channels
            )
            for channels, width in zip(self.grid.channels, widths, strict=True)
        )
        self.blocks = nn.ModuleList(
            MutualBlock(width, size, depth=depth, num_heads=_dividing(heads, width), window=window)
            for width, size, depth, heads in zip(
                widths, sizes, depths[-count:], num_heads[-count:], strict=True
            )
        )
        self.carries = nn.ModuleList(
            nn.ModuleList(_carry(own, after, cell) for _ in range(2))
            for (own, after), cell in zip(pairwise(widths), cells(sizes), strict=True)
        )

    def _pooled_channels(self) -> list[int]:
        last = self.grid.channels[-1]
        return last if len(self.images) == 1 else [max(last)] * 2

    def join(self, features: dict[str, Any], context: Context) -> FusionOutput:
        """Both images' vectors, or one and the table's."""
        levels = self.grid.maps({name: features[name] for name in self.images})
        last = self._fused(levels) if len(self.images) == 2 else levels[-1]
        vectors = [
            torch.relu(pool(x.flatten(2).mean(dim=2)))
            for pool, x in zip(self.pools, last, strict=True)
        ]
        if not self.tables:
            return FusionOutput({"fused": torch.cat(vectors[::-1], dim=1)})
        table = self.metadata(torch.cat([features[name] for name in self.tables], dim=1))
        found = self.post(table[:, None], torch.cat(vectors, dim=1)[:, None])[:, 0]
        return FusionOutput({"fused": torch.cat([vectors[-1], found], dim=1)})

    def _fused(self, levels: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """The two maps of the coarsest level, after all levels."""
        fused: list[Tensor] = []
        for level, maps in enumerate(levels):
            size = self.sizes[level]
            maps = [
                resampled(_through(align, x), size)
                for align, x in zip(self.aligns[level], maps, strict=True)
            ]
            if fused:
                carries = zip(self.carries[level - 1], maps, fused, strict=True)
                maps = [x + _carried(carry, before, size) for carry, x, before in carries]
            swapped = 2 * (level + 1) > len(levels)
            found = self.blocks[level](*(maps[::-1] if swapped else maps))
            fused = list(found[::-1] if swapped else found)
        return fused

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This fusion's state dict from that of a released TFormer, whose Swin has four levels.

        Its Swin and heads are left out, and the parts for the table where there is none.

        Raises:
            WeightsError: No names of a TFormer, or the modalities stand the other way round.
        """
        if self.images == ["derm", "clinic"]:
            raise WeightsError(
                "the release reads the clinical image first; the spec has 'derm' first. Write "
                "'clinic=derm=...'"
            )
        own, renamed = self.state_dict(), {}
        for official, tensor in state.items():
            found = next((pair for pair in _OFFICIAL if official.startswith(pair[0])), ("", ""))
            name = found[1] + official.removeprefix(found[0])
            name = name.replace("post.fn.", "post.")
            if name in own:
                renamed[name] = tensor
        if not renamed:
            raise WeightsError(
                f"none of its {len(state)} names is a TFormer's; the first is {next(iter(state))!r}"
            )
        return renamed


def _images(given: Mapping[str, FeatureSpec]) -> list[str]:
    """What isn't a vector; LayoutMismatch where that isn't one or two."""
    images = [name for name, spec in given.items() if spec.layout != "vector"]
    if not 1 <= len(images) <= 2:
        found = ", ".join(f"{name}: {spec}" for name, spec in given.items())
        raise LayoutMismatch(
            f"Fusion 'tformer' joins two images, or one and a table; it is given {len(images)} "
            f"modalities with maps ({found}). Use concat or late for other numbers."
        )
    return images


def _check(depths: Sequence[int], num_heads: Sequence[int], window: int) -> None:
    if not depths or len(depths) != len(num_heads) or min(*depths, *num_heads, window) < 1:
        raise BadOption(
            f"depths={tuple(depths)}, num_heads={tuple(num_heads)} and window={window} must be "
            "positive, with as many depths as heads: one for each level, fine to coarse."
        )


def _dividing(most: int, channels: int) -> int:
    """The largest number of heads up to `most` that divides the channels."""
    return next(heads for heads in range(most, 0, -1) if channels % heads == 0)


def _through(align: nn.Module, x: Tensor) -> Tensor:
    """A map at its level's number of channels."""
    return channel_linear(align, x) if isinstance(align, nn.Linear) else x


def _carry(channels: int, after: int, cell: Sequence[int]) -> nn.Module:
    """What leads from one level to the next; nothing where they are alike."""
    if channels == after and all(length == 1 for length in cell):
        return nn.Identity()
    return PatchMerging(channels, after, cell=cell)


def _carried(carry: nn.Module, x: Tensor, size: Sequence[int]) -> Tensor:
    """A level's result at the next level."""
    return carry.onto(x, size) if isinstance(carry, PatchMerging) else x


def _table_network(columns: int, embed_dim: int, dropout: float) -> nn.Sequential:
    """Two layers of linear, batch norm and ReLU."""
    layers: list[nn.Module] = []
    for before in (columns, embed_dim):
        layers += [nn.Linear(before, embed_dim), nn.BatchNorm1d(embed_dim), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(dropout))


__all__ = ["MutualBlock", "PostFusion", "TFormer"]
