"""monai_swin_unetr: the Swin transformer of MONAI's SwinUNETR, for images and volumes.

Source: MONAI (Apache-2.0), `monai.networks.nets.swin_unetr.SwinTransformer`, after Hatamizadeh et
al., BrainLes 2021, arXiv:2201.01266, and Tang et al., CVPR 2022, Fig. 3.
Differs from MONAI: there is no decoder; every level is given, normalised over channels as the
decoder gets it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractEncoder, component
from fusionzoo.spec import SPATIAL_DIMS, FeatureSpec, Modality


@component(source="MONAI SwinUNETR; Hatamizadeh 2021, Tang 2022, Fig. 3")
class MonaiSwinUNETR(AbstractEncoder):
    """Patches of 2 voxels a side, then stages of windowed attention, each followed by merging.

    Args:
        modality: An image or a volume.
        embed_dim: Width of the patches; a multiple of three times the first stage's heads.
        depths: Blocks of each of the four stages.
        num_heads: Heads of each stage; each divides the stage's width.
        window_size: Side of the attention windows.
        drop_path: Largest rate of stochastic depth.

    Inputs:  `batch channels *space`
    Returns: a pyramid of five maps, strides 2 to 32
    Raises:  BadOption: heads that don't divide their widths, or other than four stages
    Example:
        >>> image = Modality("derm", "image", 3, (32, 32))
        >>> net = MonaiSwinUNETR(image, embed_dim=12, num_heads=(1, 2, 3, 4), depths=(1, 1, 1, 1))
        >>> [level.channels for level in net.output.levels]
        [12, 24, 48, 96, 192]
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image", "volume"})
    small: ClassVar[Mapping[str, Any]] = {
        "embed_dim": 12,
        "depths": (1, 1, 1, 1),
        "num_heads": (1, 2, 3, 4),
        "window_size": 4,
    }

    def __init__(
        self,
        modality: Modality,
        *,
        embed_dim: int = 48,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        num_heads: tuple[int, ...] = (3, 6, 12, 24),
        window_size: int = 7,
        drop_path: float = 0.0,
    ):
        from monai.networks.nets.swin_unetr import SwinTransformer

        super().__init__()
        _check(embed_dim, depths, num_heads)
        dims = SPATIAL_DIMS[modality.kind]
        self.net = SwinTransformer(
            modality.channels,
            embed_dim,
            (window_size,) * dims,
            (2,) * dims,
            depths,
            num_heads,
            drop_path_rate=drop_path,
            spatial_dims=dims,
        )
        size, stages = modality.size, []
        for level in range(5):
            size = tuple(-(-length // 2) for length in size)
            stages.append(FeatureSpec.map(embed_dim * 2**level, size, (2 ** (level + 1),) * dims))
        self.stages = tuple(stages)

    def stem(self, x: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "batch stem *_"]:
        """The patches."""
        return self.net.pos_drop(self.net.patch_embed(x))

    def stage(
        self, level: int, x: Float[Tensor, "batch inputs *space"]
    ) -> Float[Tensor, "batch outputs *_"]:
        """The patches as they are, then one stage each."""
        return x if level == 0 else self.net.get_submodule(f"layers{level}.0")(x.contiguous())

    def emit(
        self, level: int, x: Float[Tensor, "batch channels *space"]
    ) -> Float[Tensor, "batch channels *space"]:
        """A level, normalised over its channels."""
        return self.net.proj_out(x, normalize=True)

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a SwinUNETR, or of its transformer alone."""
        inner = {
            n.removeprefix("swinViT."): x for n, x in state.items() if n.startswith("swinViT.")
        }
        return {f"net.{name}": x for name, x in (inner or state).items()}


def _check(embed_dim: int, depths: tuple[int, ...], num_heads: tuple[int, ...]) -> None:
    if len(depths) != 4 or len(num_heads) != 4:
        raise BadOption(f"depths={depths} and num_heads={num_heads} must name four stages each.")
    wrong = [h for level, h in enumerate(num_heads) if embed_dim * 2**level % h]
    if wrong:
        raise BadOption(
            f"embed_dim={embed_dim} with num_heads={num_heads}: {wrong[0]} heads don't divide "
            "their stage's width, which doubles from stage to stage."
        )
