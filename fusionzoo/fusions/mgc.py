"""MGC: levels of several modalities inform each other, from coarse to fine and back.

Source: IIMGF-Net, MICCAI 2025, Sec. 2.3, Eq. (4)-(5); its released code.
Differs from the paper: ReLUs and a residual, as in the released code (`relu`, `residual`); maxima
over runs of positions, as there (`pool`). From the released code: any number of modalities, levels
and axes; what it computes and throws away isn't built (`both_streams`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.errors import LayoutMismatch
from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.ops.common_grid import CommonGrid, any_features, largest, resampled
from fusionzoo.ops.conv import channel_linear
from fusionzoo.ops.cross_mamba import CrossMamba, CrossMambaPair
from fusionzoo.ops.iimgf_release import (
    check_layout_bug,
    check_order,
    refined_mean,
    released_part,
)
from fusionzoo.spec import FeatureSpec, Need

_MAXIMUM = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}


@component(source="IIMGF-Net, MICCAI 2025, Sec. 2.3, Eq. 4-5")
class MGC(AbstractFusion):
    """[mean(x_1 + f_1), ..., mean(x_M + f_M), mean(R_L)], over the last of levels 1..L.

    Z_l has the modalities' maps f of level l side by side on channels, positions in a row; x are
    the encoders' maps before any refining fusion of the chain (without one, mean(f)). With M a scan
    of its first argument, read out by the second (`fusionzoo.ops.cross_mamba`),

        K_l = M(Z_l, up(Z_{l+1})),       K_L = Z_L        coarse to fine
        R_l = K_l + M(K_l, down(R_{l-1})),   R_1 = K_1    fine to coarse
        up(Z)   = V relu(T Z)            T over positions, V over channels; at level 1, a ReLU after
        down(R) = relu(V' maxima(R))     no ReLU at the last level

    Modalities take part as `fusionzoo.ops.common_grid` says; where sizes differ, the smaller maps
    are spread over the largest one's grid. One level is [mean(x_1 + f_1), ..., mean(Z)].

    Args:
        given: What encoders, or a fusion that refines, give.
        num_states: States per channel of the scans.
        upsample: T is a learned map over `tokens`, as released, which ties the weights to the size
            they were made for, or `interpolate`, which doesn't and has no ReLU after it.
        pool: Maxima over runs of positions (`raster`, as released: 1x4 strips of a picture, which
            may go on in the next row), or over the `cells` that lie where the coarser positions do.
        relu: Whether up and down have ReLUs; the paper has none.
        residual: Whether K_l is added to R_l; the paper doesn't.
        exchange: Whether scans are read out by their second argument; by their first otherwise.
        both_streams: Whether the second result of each pair of scans has weights too, as released.
            Nothing reads them and no gradient reaches them.
        official_layout_bug: Whether f has positions and channels mixed up in the first means, as in
            the released code (`fusionzoo.ops.refined_mean`). For maps of two axes.
        scan_backend: Backend of the selective scans.

    Inputs:  per modality a pyramid of `batch channels_l *space_l`, a map, tokens or a vector
    Returns: one output `fused`, `batch 2 sum(channels_L)`; losses: none
    Raises:  BadOption: a layout bug in what isn't a picture's map; LayoutMismatch: maps of another
             size than the one that `tokens` was built for
    Example:
        >>> from fusionzoo.spec import Level
        >>> maps = FeatureSpec.pyramid((Level(8, (4, 4), (8, 8)), Level(16, (2, 2), (16, 16))))
        >>> MGC({"clinic": maps, "derm": maps}).outputs["fused"].channels
        64
    """

    min_modalities: ClassVar[int] = 1

    narrow: Any
    widen: Any

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        num_states: int = 4,
        upsample: Literal["tokens", "interpolate"] = "tokens",
        pool: Literal["raster", "cells"] = "raster",
        relu: bool = True,
        residual: bool = True,
        exchange: bool = True,
        both_streams: bool = False,
        official_layout_bug: bool = False,
        scan_backend: str = "auto",
    ):
        super().__init__()
        self.grid = grid = CommonGrid(given)
        if official_layout_bug:
            check_layout_bug(given)
        self.pool, self.relu, self.residual = pool, relu, residual
        self.official_layout_bug = official_layout_bug
        widths = [sum(channels) for channels in grid.channels]
        lengths = [math.prod(largest(sizes)) for sizes in grid.sizes]
        levels = range(grid.num_levels - 1)
        self.ups = nn.ModuleList()
        if upsample == "tokens":
            self.ups.extend(nn.Linear(lengths[i + 1], lengths[i]) for i in levels)
        self.narrow = nn.ModuleList(nn.Linear(widths[i + 1], widths[i]) for i in levels)
        self.widen = nn.ModuleList(nn.Linear(widths[i], widths[i + 1]) for i in levels)
        make = CrossMambaPair if both_streams else CrossMamba
        options: dict[str, Any] = {
            "num_states": num_states,
            "exchange": exchange,
            "backend": scan_backend,
        }
        self.to_fine = nn.ModuleList(make(widths[i], **options) for i in levels)
        self.to_coarse = nn.ModuleList(make(widths[i + 1], **options) for i in levels)
        self.outputs = {"fused": FeatureSpec.vector(2 * widths[-1])}

    @classmethod
    def needs(cls, given: Mapping[str, FeatureSpec], **options: Any) -> dict[str, Need]:
        """Anything; of pyramids as many levels as all have."""
        return any_features(given)

    def join(self, features: dict[str, Any], context: Context) -> FusionOutput:
        """The means of the last level's maps, and of what both ways through the levels give."""
        levels = self.grid.maps(features)
        before = None if context.unrefined is None else self.grid.maps(context.unrefined)[-1]
        sizes = [largest([x.shape[2:] for x in maps]) for maps in levels]
        joined = [
            torch.cat([resampled(x, size) for x in maps], dim=1).flatten(2)
            for maps, size in zip(levels, sizes, strict=True)
        ]
        last = self.fine_to_coarse(self.coarse_to_fine(joined, sizes), sizes)[-1]
        if before is None:
            means = [x.flatten(2).mean(2) for x in levels[-1]]
        else:
            _check_kept(before, levels[-1])
            means = [
                refined_mean(x, f, official_layout_bug=self.official_layout_bug)
                for x, f in zip(before, levels[-1], strict=True)
            ]
        return FusionOutput({"fused": torch.cat([*means, last.mean(2)], dim=1)})

    def coarse_to_fine(
        self,
        joined: Sequence[Float[Tensor, "batch _ _"]],
        sizes: Sequence[tuple[int, ...]],
    ) -> list[Float[Tensor, "batch _ _"]]:
        """K_1, ..., K_L from Z_1, ..., Z_L; each reads its coarser neighbour's Z."""
        informed = []
        for level, scan in enumerate(self.to_fine):
            coarse = self.upsampled(level, joined[level + 1], sizes)
            informed.append(_scanned(scan, joined[level], coarse).mT)
        return [*informed, joined[-1]]

    def upsampled(
        self,
        level: int,
        coarse: Float[Tensor, "batch inputs positions"],
        sizes: Sequence[tuple[int, ...]],
    ) -> Float[Tensor, "batch channels length"]:
        """up(Z) from the level after `level`."""
        if len(self.ups):
            self._check_size(level, sizes)
            coarse = self._activated(self.ups[level](coarse))
        else:
            coarse = resampled(coarse.unflatten(2, sizes[level + 1]), sizes[level]).flatten(2)
        coarse = channel_linear(self.narrow[level], coarse)
        return coarse if level else self._activated(coarse)

    def fine_to_coarse(
        self,
        informed: Sequence[Float[Tensor, "batch _ _"]],
        sizes: Sequence[tuple[int, ...]],
    ) -> list[Float[Tensor, "batch _ _"]]:
        """R_1, ..., R_L from K_1, ..., K_L; each reads its finer neighbour's R."""
        found = [informed[0]]
        for level, scan in enumerate(self.to_coarse):
            own = informed[level + 1]
            given = _scanned(scan, own, self.downsampled(level, found[-1], sizes)).mT
            found.append(given + own if self.residual else given)
        return found

    def downsampled(
        self,
        level: int,
        fine: Float[Tensor, "batch inputs positions"],
        sizes: Sequence[tuple[int, ...]],
    ) -> Float[Tensor, "batch channels length"]:
        """down(R) of level `level`."""
        size = sizes[level + 1]
        if self.pool == "raster":
            fine = F.adaptive_max_pool1d(fine, math.prod(size))
        else:
            fine = _MAXIMUM[len(size)](fine.unflatten(2, sizes[level]), size).flatten(2)
        fine = channel_linear(self.widen[level], fine)
        return fine if level == len(self.widen) - 1 else self._activated(fine)

    def _activated(self, x: Tensor) -> Tensor:
        return torch.relu(x) if self.relu else x

    def _check_size(self, level: int, sizes: Sequence[tuple[int, ...]]) -> None:
        """Refuse maps of another size than the one that the map over positions was made for."""
        built = [largest(own) for own in self.grid.sizes[level : level + 2]]
        found = list(sizes[level : level + 2])
        if [*map(math.prod, found)] != [*map(math.prod, built)]:
            made_for, given = (
                " and ".join("x".join(map(str, s)) for s in x) for x in (built, found)
            )
            raise LayoutMismatch(
                f"MGC was built for maps of {made_for} and is given {given}. Use inputs of the "
                "size that it was built for, or mgc(upsample=interpolate), which takes any."
            )

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This fusion's state dict from that of a released IIMGF-Net.

        Raises:
            WeightsError: The modalities stand the other way round than in the release.
        """
        check_order(self.grid.given)
        renamed = {}
        for level in range(len(self.narrow)):
            layers = [("narrow", f"C2F.{level}.2"), ("widen", f"F2C.{level}.1")]
            layers += [("ups", f"C2F.{level}.0")] * bool(len(self.ups))
            for ours, official in layers:
                renamed[f"{ours}.{level}.weight"] = state[f"{official}.weight"].flatten(1)
                renamed[f"{ours}.{level}.bias"] = state[f"{official}.bias"]
            for ours, official in (("to_fine", "C2F_cross"), ("to_coarse", "F2C_cross")):
                scan: Any = self.get_submodule(f"{ours}.{level}")
                own = released_part(state, f"{official}.{level}.")
                pair = isinstance(scan, CrossMambaPair)
                found = scan.rename_official(own) if pair else scan.rename_official(own, 1)
                renamed |= {f"{ours}.{level}.{key}": tensor for key, tensor in found.items()}
        return renamed


def _check_kept(before: Sequence[Tensor], refined: Sequence[Tensor]) -> None:
    """Refuse maps that the chain gave other shapes, so that they can't be added to themselves."""
    for x, f in zip(before, refined, strict=True):
        if x.shape != f.shape:
            raise LayoutMismatch(
                f"MGC adds what the fusions before it made of a map to the map; they made "
                f"{tuple(f.shape[1:])} of {tuple(x.shape[1:])}. Use ones that keep shapes (cmigf)."
            )


def _scanned(scan: nn.Module, own: Tensor, other: Tensor) -> Tensor:
    """The first sequence scanned, tokens first; of a pair, the second one's isn't computed."""
    first = scan.first if isinstance(scan, CrossMambaPair) else scan
    return first(own, other)
