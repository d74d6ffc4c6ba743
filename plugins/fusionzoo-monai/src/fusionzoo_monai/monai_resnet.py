"""monai_resnet: MONAI's ResNet, the shape of MedicalNet's weights, for images and volumes.

Source: MONAI (Apache-2.0), `monai.networks.nets.ResNet`, after Hara et al., CVPR 2018, and Chen et
al., Med3D, 2019, arXiv:1904.00625; He et al., CVPR 2016.
Differs from MONAI: pooling and classifier are left to assembly and the head.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractEncoder, component
from fusionzoo.spec import SPATIAL_DIMS, FeatureSpec, Modality

#: Blocks of each stage, by depth; from 50 on they are bottlenecks, four times as wide at their end.
BLOCKS: Mapping[int, tuple[int, int, int, int]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}
STRIDES = (1, 2, 2, 2)


@component(source="MONAI ResNet; He 2016, Hara 2018, Chen 2019 (Med3D)")
class MonaiResNet(AbstractEncoder):
    """Convolution 7x7(x7), norm, ReLU and a pool by 2, then four stages of residual blocks.

    Args:
        modality: An image or a volume.
        depth: 10, 18, 34, 50 or 101.
        width: Channels of the first stage's blocks; every later stage has twice as many.
        first_stride: Stride of the first convolution; MedicalNet's is 2, MONAI's default 1.
        shortcut: How a block's input is brought to its output's shape: `B` by a convolution, `A`
            by pooling and zeros (MedicalNet's 18 and 34).

    Inputs:  `batch channels *space`
    Returns: a pyramid of four maps, fine to coarse
    Raises:  BadOption: a width below 1, or a stride other than 1 and 2
    Example:
        >>> ct = Modality("ct", "volume", 1, (8, 32, 32))
        >>> [level.channels for level in MonaiResNet(ct, depth=10, width=8).output.levels]
        [8, 16, 32, 64]
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image", "volume"})
    small: ClassVar[Mapping[str, Any]] = {"depth": 10, "width": 4}

    def __init__(
        self,
        modality: Modality,
        *,
        depth: Literal[10, 18, 34, 50, 101] = 18,
        width: int = 64,
        first_stride: int = 2,
        shortcut: Literal["A", "B"] = "B",
    ):
        from monai.networks.nets.resnet import ResNet

        super().__init__()
        if width < 1 or first_stride not in (1, 2):
            raise BadOption(
                f"width={width} and first_stride={first_stride} make no network. Use a width of 1 "
                "or more, and a stride of 1 or 2."
            )
        channels = [width * 2**level for level in range(4)]
        self.net = ResNet(
            "bottleneck" if depth >= 50 else "basic",
            list(BLOCKS[depth]),
            channels,
            spatial_dims=SPATIAL_DIMS[modality.kind],
            n_input_channels=modality.channels,
            conv1_t_stride=first_stride,
            shortcut_type=shortcut,
            feed_forward=False,
        )
        expansion = 4 if depth >= 50 else 1
        self.stages = _stages(modality, first_stride, [expansion * width for width in channels])

    def stem(self, x: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "batch stem *_"]:
        """Convolution, norm, ReLU and pool."""
        return self.net.maxpool(self.net.act(self.net.bn1(self.net.conv1(x))))

    def stage(
        self, level: int, x: Float[Tensor, "batch inputs *space"]
    ) -> Float[Tensor, "batch outputs *_"]:
        """The blocks of one stage."""
        return self.net.get_submodule(f"layer{level + 1}")(x)

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a MONAI or MedicalNet network, without its classifier."""
        return {f"net.{name}": x for name, x in state.items() if not name.startswith("fc.")}


def _stages(modality: Modality, first: int, channels: list[int]) -> tuple[FeatureSpec, ...]:
    size = tuple(-(-length // first) for length in modality.size)
    size, stride, stages = tuple(-(-length // 2) for length in size), 2 * first, []
    for width, step in zip(channels, STRIDES, strict=True):
        size, stride = tuple(-(-length // step) for length in size), stride * step
        stages.append(FeatureSpec.map(width, size, (stride,) * len(size)))
    return tuple(stages)
