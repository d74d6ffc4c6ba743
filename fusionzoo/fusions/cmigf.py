"""CMIGF: cross-modal Mamba blocks at every level, each level's result carried to the next.

Source: IIMGF-Net, MICCAI 2025, Sec. 2.2; its released code.
Differs from the paper: patch merging carries a level's result to the next, whose size the paper's
sum doesn't fit, as in the released code. From the released code: any number of levels, axes,
channels and sizes, and features that are no maps; drop paths can be set, where the release ignores
its own setting.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.ops.common_grid import CommonGrid, any_features, cells, largest, resampled
from fusionzoo.ops.conv import channel_linear
from fusionzoo.ops.cross_mamba import CrossMambaPair
from fusionzoo.ops.depthwise import depthwise_conv3d
from fusionzoo.ops.iimgf_release import (
    check_layout_bug,
    check_order,
    refined_mean,
    released_part,
)
from fusionzoo.ops.patch_merging import PatchMerging
from fusionzoo.spec import FeatureSpec, Need

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
#: The release's mergings, by the level that they come after and the modality.
_OFFICIAL_CARRIES = (("downsample_cli_0", "downsample_der_0"), ("downsample_cli", "downsample_der"))


@component(source="IIMGF-Net, MICCAI 2025, Sec. 2.2")
class CMIGF(AbstractFusion):
    """f_l = blocks_l(x_l + P(f_{l-1}), y_l + P'(f'_{l-1})) at every level l, fine to coarse.

    A block of two maps x and y, U the depth-wise convolution that both share and M the scans of
    which each is read out by the other (`fusionzoo.ops.cross_mamba`), over positions row by row:

        u, v = silu(U W x), silu(U W' y);   u', v' = M(u, v);   x + V u',   y + V' v'

    As the last fusion of a chain it gives [mean(x + f), mean(y + f')] of the last level; before
    another one, f and f' of all levels.

    Modalities take part as `fusionzoo.ops.common_grid` says: a vector is a map of one position,
    carried from level to level by a linear map, spread over the other's grid inside of a block and
    averaged after it. Maps of different sizes or channels meet on the larger grid at the larger
    number of channels. Volumes are scanned along their last axis first.

    Args:
        given: What two encoders give.
        depths: Blocks per level; one, and two at the last level by default. Fewer than there are
            levels use the coarsest ones.
        num_states: States per channel of the scans.
        drop_path: Probability in training that a case skips a block's branch.
        exchange: Whether scans read each other out; False leaves two separate ones.
        append_means: Whether the output has the means of f and f' too, as wide as MGC's: a stand-in
            for MGC that leaves the head as it is.
        official_layout_bug: Whether the output's f has positions and channels mixed up, as in the
            released code, which reads a map that has its channels last as one that has them first.
            For maps of two axes.
        scan_backend: Backend of the selective scans.

    Inputs:  per modality a pyramid of `batch channels_l *space_l`, a map, tokens or a vector
    Returns: refined, the same; or one output `fused`, `batch channels` of both last levels (twice
        that with `append_means`); losses: none
    Raises:  BadOption: depths that aren't positive, or a layout bug in what isn't a picture's map
    Example:
        >>> from fusionzoo.spec import Level
        >>> maps = FeatureSpec.pyramid((Level(8, (4, 4), (8, 8)), Level(16, (2, 2), (16, 16))))
        >>> CMIGF({"clinic": maps, "derm": maps}).outputs["fused"].channels
        32
    """

    places: ClassVar[frozenset[str]] = frozenset({"refine", "join"})
    max_modalities: ClassVar[int] = 2

    levels: Any
    carries: Any

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        depths: tuple[int, ...] | None = None,
        num_states: int = 16,
        drop_path: float = 0.0,
        exchange: bool = True,
        append_means: bool = False,
        official_layout_bug: bool = False,
        scan_backend: str = "auto",
    ):
        super().__init__()
        self.grid = grid = CommonGrid(given)
        depths = depths or (*(1,) * (grid.num_levels - 1), 2)
        if len(depths) != grid.num_levels or min(depths) < 1:
            raise BadOption(
                f"depths={tuple(depths)} must have a positive number for each of the "
                f"{grid.num_levels} levels."
            )
        if official_layout_bug:
            check_layout_bug(given)
        self.append_means, self.official_layout_bug = append_means, official_layout_bug
        self.levels = nn.ModuleList(
            nn.ModuleList(
                Block(
                    channels,
                    grid.num_axes,
                    num_states=num_states,
                    drop_path=drop_path,
                    exchange=exchange,
                    backend=scan_backend,
                )
                for _ in range(depth)
            )
            for channels, depth in zip(grid.channels, depths, strict=True)
        )
        self.carries = nn.ModuleList(nn.ModuleList() for _ in depths[1:])
        for index in range(len(given)):
            merged = cells([sizes[index] for sizes in grid.sizes])
            for level, cell in enumerate(merged):
                own, after = (grid.channels[i][index] for i in (level, level + 1))
                self.carries[level].append(PatchMerging(own, after, cell=cell))
        self.refined = dict(given)
        width = sum(grid.channels[-1]) * (2 if append_means else 1)
        self.outputs = {"fused": FeatureSpec.vector(width)}

    @classmethod
    def needs(cls, given: Mapping[str, FeatureSpec], **options: Any) -> dict[str, Need]:
        """Anything; of pyramids as many levels as there are depths, or as both have."""
        return any_features(given, options["depths"] and len(options["depths"]))

    def refine(self, features: dict[str, Any], context: Context) -> dict[str, Any]:
        """What the blocks give at every level."""
        fused: list[list[Tensor]] = []
        for level, maps in enumerate(self.grid.maps(features)):
            if level:
                carries = self.carries[level - 1]
                maps = [
                    x + carry.onto(before, x.shape[2:])
                    for x, carry, before in zip(maps, carries, fused[-1], strict=True)
                ]
            for block in self.levels[level]:
                maps = block(maps)
            fused.append(maps)
        return self.grid.features(fused)

    def join(self, features: dict[str, Any], context: Context) -> FusionOutput:
        """The means of the last level's maps, each with what was fused added."""
        plain = self.grid.maps(features)[-1]
        fused = self.grid.maps(self.refine(features, context))[-1]
        means = [
            refined_mean(x, f, official_layout_bug=self.official_layout_bug)
            for x, f in zip(plain, fused, strict=True)
        ]
        if self.append_means:
            means += [f.flatten(2).mean(2) for f in fused]
        return FusionOutput({"fused": torch.cat(means, dim=1)})

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This fusion's state dict from that of a released IIMGF-Net, which has three levels.

        Raises:
            WeightsError: The modalities stand the other way round than in the release.
        """
        check_order(self.grid.given)
        renamed: dict[str, Tensor] = {}
        for level, blocks in enumerate(self.levels):
            for number, block in enumerate(blocks):
                official = released_part(state, f"fusion_block{level}.cross_mamba.{number}.")
                own = block.rename_official(official)
                renamed |= {f"levels.{level}.{number}.{key}": x for key, x in own.items()}
        for level, names in enumerate(_OFFICIAL_CARRIES[: len(self.carries)]):
            for index, name in enumerate(names):
                own = released_part(state, f"{name}.")
                renamed |= {f"carries.{level}.{index}.{key}": x for key, x in own.items()}
        return renamed


class Block(nn.Module):
    """One block of `CMIGF`.

    Args:
        channels: Channels of the two maps; the scans have the larger number.
        num_axes: Axes of the maps.
        num_states: States per channel of the scans.
        drop_path: Probability in training that a case skips the branch.
        exchange: Whether scans read each other out.
        backend: Backend of the scans.
    """

    enter: Any
    leave: Any
    conv: Any

    def __init__(
        self,
        channels: Sequence[int],
        num_axes: int,
        *,
        num_states: int = 16,
        drop_path: float = 0.0,
        exchange: bool = True,
        backend: str = "auto",
    ):
        super().__init__()
        inner = max(channels)
        self.enter = nn.ModuleList(nn.Linear(own, inner, bias=False) for own in channels)
        self.conv = _CONV[num_axes](inner, inner, 3, padding=1, groups=inner)
        self.scans = CrossMambaPair(
            inner, num_states=num_states, exchange=exchange, backend=backend
        )
        self.leave = nn.ModuleList(nn.Linear(inner, own, bias=False) for own in channels)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, maps: Sequence[Float[Tensor, "batch _ ..."]]
    ) -> list[Float[Tensor, "batch _ ..."]]:
        """Two maps of the same sizes and channels."""
        size = largest([x.shape[2:] for x in maps])
        entered = [
            F.silu(self._convolve(resampled(channel_linear(linear, x), size)))
            for linear, x in zip(self.enter, maps, strict=True)
        ]
        scanned = self.scans(*(x.flatten(2) for x in entered))
        left = [
            resampled(y.mT.unflatten(2, size), x.shape[2:])
            for x, y in zip(maps, scanned, strict=True)
        ]
        return [
            x + self.drop_path(channel_linear(linear, y))
            for x, linear, y in zip(maps, self.leave, left, strict=True)
        ]

    def _convolve(self, x: Tensor) -> Tensor:
        if x.ndim < 5:
            return self.conv(x)
        return depthwise_conv3d(x, self.conv.weight) + self.conv.bias.view(-1, 1, 1, 1)

    def rename_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This block's state dict from that of the release."""
        names = {
            "enter.0.weight": "in_proj.weight",
            "enter.1.weight": "in_proj_modalx.weight",
            "conv.weight": "conv2d.weight",
            "conv.bias": "conv2d.bias",
            "leave.0.weight": "out_proj_rgb.weight",
            "leave.1.weight": "out_proj_e.weight",
        }
        scans = self.scans.rename_official(released_part(state, "CMA_ssm."))
        return {ours: state[official] for ours, official in names.items()} | {
            f"scans.{key}": tensor for key, tensor in scans.items()
        }
