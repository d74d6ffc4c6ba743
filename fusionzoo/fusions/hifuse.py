"""HiFuse between two images: its fusion blocks over the pyramids of two encoders.

Source: Huo et al., HiFuse, Biomedical Signal Processing and Control 87, 2024, arXiv:2209.08526,
Sec. 3.3; IIMGF-Net (Luo et al., MICCAI 2025), Table 1, compares with it on two images and doesn't
say how it was given them.
Differs from the paper: the two branches read two images instead of one. With the branches of
`hifuse` as encoders it is the released network but for that; any pyramids do.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from einops import reduce
from torch import Tensor, nn

from fusionzoo.errors import LayoutMismatch
from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.ops.hff import EPSILON, HFF, official_blocks
from fusionzoo.spec import FeatureSpec, Need


@component(source="Huo et al., HiFuse, BSPC 87, 2024, Sec. 3.3; IIMGF-Net, Table 1")
class HiFuse(AbstractFusion):
    """norm(mean(f_n)), where f_i = HFF(l_i, g_i, f_(i-1)) from fine to coarse levels.

    l are the maps of the first modality, g those of the second. The network's own branches, each
    on an image, are `clinic=hifuse(branch=local), derm=hifuse(branch=global) -> hifuse -> linear`.
    Pyramids of different lengths are joined at the coarsest levels that both have; where maps
    differ in size, the second one's are resized.

    Args:
        given: A pyramid of each modality.
        fused_channels: Channels of the fused map at every level; by default those of the first
            modality there.
        reduction: The channel gates are narrower inside by this factor.
        drop_path: Probability that a case skips a level's residual in training.
        ir_depthwise: Whether the 3x3 convolutions are depthwise, as the paper means them; the
            release has full ones, which hold most of the weights.

    Inputs:  per modality a pyramid of maps, or one map, of two or three axes
    Returns: one output `fused`, `batch channels` of the last level; losses: none
    Raises:  LayoutMismatch: a modality without maps
    Example:
        >>> given = FeatureSpec.map(8, (4, 4), (8, 8))
        >>> HiFuse({"clinic": given, "derm": given}, fused_channels=16).outputs["fused"].channels
        16
    """

    max_modalities: ClassVar[int | None] = 2

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        fused_channels: int | None = None,
        reduction: int = 16,
        drop_path: float = 0.0,
        ir_depthwise: bool = False,
    ):
        super().__init__()
        first, second = given.values()
        self.blocks = nn.ModuleList()
        before: int | None = None
        for own, other in zip(first.levels, second.levels, strict=True):
            width = fused_channels or own.channels
            block = HFF(
                own.channels,
                other.channels,
                width,
                before,
                dims=first.spatial_dims,
                reduction=reduction,
                depthwise=ir_depthwise,
                drop_path=drop_path,
            )
            self.blocks.append(block)
            before = width
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.outputs = {"fused": FeatureSpec.vector(width)}

    @classmethod
    def needs(cls, given: Mapping[str, FeatureSpec], **options: Any) -> dict[str, Need]:
        """As many maps of each as both have, over as many axes as the first one's."""
        flat = [name for name, spec in given.items() if not spec.spatial_dims]
        if flat:
            found = ", ".join(f"{name!r} goes through a {given[name].layout}" for name in flat)
            raise LayoutMismatch(
                f"Fusion 'hifuse' joins the maps of two images; {found}. Use encoders with maps "
                "(hifuse, rest, resnet3d), or a fusion that takes vectors (concat, late)."
            )
        common = min(len(spec.levels) for spec in given.values())
        dims = next(iter(given.values())).spatial_dims
        if any(spec.layout == "map" for spec in given.values()):
            return {name: Need(("map",), spatial_dims=dims) for name in given}
        return {name: Need(("pyramid",), num_levels=common, spatial_dims=dims) for name in given}

    def join(self, features: dict[str, Any], context: Context) -> FusionOutput:
        """The last fused map as a vector."""
        local_maps, global_maps = (x if isinstance(x, list) else [x] for x in features.values())
        fused = None
        for block, own, other in zip(self.blocks, local_maps, global_maps, strict=True):
            fused = block(own, other, fused)
        mean = reduce(fused, "batch channels ... -> batch channels", "mean")
        return FusionOutput({"fused": self.norm(mean)})

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The fusion blocks and the last norm of a released HiFuse."""
        blocks = {f"blocks.{name}": tensor for name, tensor in official_blocks(state).items()}
        norm = {f"norm.{name}": state[f"conv_norm.{name}"] for name in ("weight", "bias")}
        return blocks | norm


__all__ = ["HiFuse"]
