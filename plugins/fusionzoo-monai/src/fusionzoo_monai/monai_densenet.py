"""monai_densenet: MONAI's DenseNet for images and volumes.

Source: MONAI (Apache-2.0), `monai.networks.nets.DenseNet`; Huang et al., CVPR 2017, Table 1.
Differs from MONAI: pooling and classifier are left to assembly and the head; levels are what the
dense blocks give, before the transitions.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractEncoder, component
from fusionzoo.spec import SPATIAL_DIMS, FeatureSpec, Modality

#: Layers of each dense block, by depth.
LAYERS: Mapping[int, tuple[int, ...]] = {
    121: (6, 12, 24, 16),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
    264: (6, 12, 64, 48),
}


@component(source="MONAI DenseNet; Huang 2017, Table 1")
class MonaiDenseNet(AbstractEncoder):
    """Convolution 7x7(x7) and pool, then dense blocks with transitions that halve size and width.

    Args:
        modality: An image or a volume.
        depth: 121, 169, 201 or 264.
        init_features: Channels of the first convolution.
        growth_rate: Channels that every layer adds.
        dropout: Of every layer.
        layers: Layers of each dense block, in place of the depth's.

    Inputs:  `batch channels *space`
    Returns: a pyramid of as many maps as there are blocks, fine to coarse
    Raises:  BadOption: an axis that is gone before the last block
    Example:
        >>> ct = Modality("ct", "volume", 1, (8, 32, 32))
        >>> net = MonaiDenseNet(ct, layers=(2, 2), init_features=8, growth_rate=4)
        >>> [level.channels for level in net.output.levels]
        [16, 16]
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image", "volume"})
    small: ClassVar[Mapping[str, Any]] = {
        "layers": (2, 2),
        "init_features": 8,
        "growth_rate": 4,
    }

    def __init__(
        self,
        modality: Modality,
        *,
        depth: Literal[121, 169, 201, 264] = 121,
        init_features: int = 64,
        growth_rate: int = 32,
        dropout: float = 0.0,
        layers: tuple[int, ...] | None = None,
    ):
        from monai.networks.nets.densenet import DenseNet

        super().__init__()
        blocks = tuple(layers or LAYERS[depth])
        self.stages = _stages(modality, blocks, init_features, growth_rate)
        net = DenseNet(
            SPATIAL_DIMS[modality.kind],
            modality.channels,
            1,
            init_features=init_features,
            growth_rate=growth_rate,
            block_config=blocks,
            dropout_prob=dropout,
        )
        self.net = net.features

    def stem(self, x: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "batch stem *_"]:
        """Convolution, norm, ReLU and pool."""
        for name in ("conv0", "norm0", "relu0", "pool0"):
            x = self.net.get_submodule(name)(x)
        return x

    def stage(
        self, level: int, x: Float[Tensor, "batch inputs *space"]
    ) -> Float[Tensor, "batch outputs *_"]:
        """The transition from the block before, and a dense block; the last one is normalised."""
        if level:
            x = self.net.get_submodule(f"transition{level}")(x)
        x = self.net.get_submodule(f"denseblock{level + 1}")(x)
        return self.net.norm5(x) if level == len(self.stages) - 1 else x

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a MONAI network, without its classifier."""
        kept = {name: x for name, x in state.items() if name.startswith("features.")}
        return {name.replace("features.", "net.", 1): x for name, x in kept.items()}


def _stages(
    modality: Modality, blocks: tuple[int, ...], width: int, growth: int
) -> tuple[FeatureSpec, ...]:
    size = tuple((length + 3) // 4 for length in modality.size)
    stages: list[FeatureSpec] = []
    for level, layers in enumerate(blocks):
        if level:
            size, width = tuple(length // 2 for length in size), width // 2
        width += layers * growth
        stages.append(FeatureSpec.map(width, size, (4 * 2**level,) * len(size)))
    if min(size) < 1:
        shown = "x".join(map(str, modality.size))
        raise BadOption(
            f"{modality.name!r} is {shown}, and {len(blocks)} blocks halve it {len(blocks) + 1} "
            "times. Give larger images, or fewer blocks with layers=(6, 12)."
        )
    return tuple(stages)
