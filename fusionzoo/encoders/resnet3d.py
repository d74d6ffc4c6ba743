"""resnet3d: a small 3D ResNet of four blocks, the image side of DAFT.

Source: Wolf et al., DAFT, NeuroImage 260, 2022, doi:10.1016/j.neuroimage.2022.119505 (its own
backbone), at the width that MMCAF-Net's copy of it has.
Differs from the paper: batch norm has momentum 0.1, as in that copy.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractEncoder, component
from fusionzoo.spec import FeatureSpec, Modality

#: Where a block lets its maps be changed: what the skip and the first convolution read, and what
#: the first norm and the first ReLU give.
POINTS = frozenset({"skip", "main", "norm", "relu"})
#: Channels of the blocks in units of the width, and the stride of each.
WIDTHS, STRIDES = (1, 2, 4, 8), (1, 2, 2, 2)


class ResidualBlock(nn.Module):
    """relu(norm(conv(relu(norm(conv(x))))) + skip(x)), convolutions 3x3x3 without bias.

    The skip is the identity, or a 1x1x1 convolution with a norm where shapes change.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the first convolution and of the skip.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(out_channels)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm3d(out_channels),
            )

    def forward(
        self,
        x: Float[Tensor, "batch inputs depth height width"],
        changes: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType({}),
    ) -> Float[Tensor, "batch outputs strided_depth strided_height strided_width"]:
        """The block's map; `changes` are functions of the maps at some of `POINTS`."""

        def at(point: str, found: Tensor) -> Tensor:
            return changes[point](found) if point in changes else found

        main = at("norm", self.bn1(self.conv1(at("main", x))))
        main = self.conv2(at("relu", torch.relu(main)))
        return torch.relu(self.bn2(main) + self.downsample(at("skip", x)))


@component(source="Wolf 2022 (DAFT), backbone")
class ResNet3D(AbstractEncoder):
    """A convolution and a pool by 2, then residual blocks of n, 2n, 4n and 8n channels.

    Strides of the maps are 2, 4, 8 and 16 along every axis. With `daft` behind the third block it
    is DAFT's whole network: `ct=resnet3d(width=4), table=identity -> daft -> linear` has 56,854
    parameters for a table of seven columns.

    Args:
        modality: A volume of at least two voxels along every axis.
        width: Channels n of the first block; 4 in MMCAF-Net's copy, 32 in the paper.

    Inputs:  `batch channels depth height width`
    Returns: a pyramid of four maps, fine to coarse; the pool rounds down, later strides round up
    Raises:  BadOption: a width below 1, or an axis of one voxel
    Example:
        >>> ct = Modality("ct", "volume", 1, (12, 32, 32))
        >>> [tuple(x.shape[1:]) for x in ResNet3D(ct)(torch.zeros(2, *ct.shape))]
        [(4, 6, 16, 16), (8, 3, 8, 8), (16, 2, 4, 4), (32, 1, 2, 2)]
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"volume"})
    points: ClassVar[frozenset[str]] = POINTS

    def __init__(self, modality: Modality, *, width: int = 4):
        super().__init__()
        if width < 1:
            raise BadOption(
                f"Encoder 'resnet3d' can't have width={width}. Use 4 as MMCAF-Net's copy, 32 as "
                "the paper, or another number from 1."
            )
        if min(modality.size) < 2:
            raise BadOption(
                f"Encoder 'resnet3d' halves every axis at once, and {modality.name!r} is "
                f"{'x'.join(map(str, modality.size))}. Give volumes of two voxels or more."
            )
        self.conv = nn.Conv3d(modality.channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm3d(width)
        self.pool = nn.MaxPool3d(2)
        channels = [width, *(factor * width for factor in WIDTHS)]
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after, stride=stride)
            for (before, after), stride in zip(pairwise(channels), STRIDES, strict=True)
        )
        self.stages = _stages(modality, width)

    def stem(
        self, x: Float[Tensor, "batch channels depth height width"]
    ) -> Float[Tensor, "batch stem pooled_depth pooled_height pooled_width"]:
        """Convolution, norm, ReLU and the pool."""
        return self.pool(torch.relu(self.norm(self.conv(x))))

    def stage(
        self, level: int, x: Float[Tensor, "batch inputs depth height width"]
    ) -> Float[Tensor, "batch outputs strided_depth strided_height strided_width"]:
        """One block."""
        return self.blocks[level](x)

    def stage_with(
        self,
        level: int,
        x: Float[Tensor, "batch inputs depth height width"],
        changes: Mapping[str, Callable[[Tensor], Tensor]],
    ) -> Float[Tensor, "batch outputs strided_depth strided_height strided_width"]:
        """One block, with maps inside of it changed."""
        return self.blocks[level](x, changes)


def _stages(modality: Modality, width: int) -> tuple[FeatureSpec, ...]:
    size, stride = tuple(length // 2 for length in modality.size), 2
    stages = []
    for factor, step in zip(WIDTHS, STRIDES, strict=True):
        size, stride = tuple(-(-length // step) for length in size), stride * step
        stages.append(FeatureSpec.map(factor * width, size, (stride,) * len(size)))
    return tuple(stages)


__all__ = ["ResNet3D", "ResidualBlock"]
