"""monai_segresnet: the encoder of MONAI's SegResNet, for images and volumes.

Source: MONAI (Apache-2.0), `monai.networks.nets.SegResNet`, after Myronenko, BrainLes 2018,
arXiv:1810.11654, Sec. 3.1.
Differs from MONAI: there is no decoder; every level is given.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractEncoder, component
from fusionzoo.spec import SPATIAL_DIMS, FeatureSpec, Modality


@component(source="MONAI SegResNet; Myronenko 2018, Sec. 3.1")
class MonaiSegResNet(AbstractEncoder):
    """A convolution, then levels of pre-activated residual blocks, each after one of stride 2.

    Args:
        modality: An image or a volume.
        init_filters: Channels of the first level, a multiple of 8; every later one has twice as
            many.
        blocks_down: Blocks of each level.
        dropout: On the first convolution's map, where it is above 0.

    Inputs:  `batch channels *space`
    Returns: a pyramid of a map per level, strides 1, 2, 4, ...
    Raises:  BadOption: filters that 8 doesn't divide
    Example:
        >>> ct = Modality("ct", "volume", 1, (8, 32, 32))
        >>> net = MonaiSegResNet(ct, blocks_down=(1, 2))
        >>> [level.size for level in net.output.levels]
        [(8, 32, 32), (4, 16, 16)]
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image", "volume"})
    small: ClassVar[Mapping[str, Any]] = {"blocks_down": (1, 1)}

    def __init__(
        self,
        modality: Modality,
        *,
        init_filters: int = 8,
        blocks_down: tuple[int, ...] = (1, 2, 2, 4),
        dropout: float = 0.0,
    ):
        from monai.networks.nets.segresnet import SegResNet

        super().__init__()
        if init_filters < 8 or init_filters % 8:
            raise BadOption(
                f"init_filters={init_filters} can't be normalised in groups of 8. Use a multiple "
                "of 8."
            )
        net = SegResNet(
            SPATIAL_DIMS[modality.kind],
            init_filters,
            modality.channels,
            dropout_prob=dropout or None,
            blocks_down=tuple(blocks_down),
            blocks_up=(1,) * (len(blocks_down) - 1),
        )
        self.first, self.levels = net.convInit, net.down_layers
        self.dropout = net.dropout if dropout else None
        size, stages = modality.size, []
        for level in range(len(blocks_down)):
            size = tuple(-(-length // 2) for length in size) if level else size
            stride = (2**level,) * len(size)
            stages.append(FeatureSpec.map(init_filters * 2**level, size, stride))
        self.stages = tuple(stages)

    def stem(self, x: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "batch stem *_"]:
        """The first convolution."""
        x = self.first(x)
        return x if self.dropout is None else self.dropout(x)

    def stage(
        self, level: int, x: Float[Tensor, "batch inputs *space"]
    ) -> Float[Tensor, "batch outputs *_"]:
        """One level."""
        return self.levels[level](x)

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a MONAI network, without its decoder."""
        ours = {"convInit.": "first.", "down_layers.": "levels."}
        return {
            name.replace(theirs, our, 1): x
            for theirs, our in ours.items()
            for name, x in state.items()
            if name.startswith(theirs)
        }
