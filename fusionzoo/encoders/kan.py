"""KAN: a learned curve on every edge between table columns and features.

Source: Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, arXiv:2404.19756, Eqs. (2.10)-(2.12); as
the table encoder of Yu et al., MMCAF-Net, 2025, arXiv:2508.04205.
Differs from the paper: the grid never moves; from the released code: splines are evaluated in
closed form and summed by a matrix product, no per-edge activations are kept, and the fixed edge
mask is folded into the scales on loading.
"""

import importlib
import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.errors import BadOption, MissingExtra, WeightsError
from fusionzoo.interface import AbstractEncoder, component
from fusionzoo.ops.splines import uniform_bspline, uniform_knots
from fusionzoo.spec import FeatureSpec, Modality

_OFFICIAL = re.compile(
    r"(?:act_fun\.(?P<level>\d+)\.|kan\.)?(?P<leaf>grid|coef|mask|scale_base|scale_sp)"
)


class KANLayer(nn.Module):
    """y_o = sum_i [ scale_base_io silu(x_i) + scale_spline_io sum_g coef_igo B_g(x_i) ].

    B_g are B-splines on a uniform grid over [-1, 1], extended by `order` intervals on each side;
    beyond it only the silu is left.

    Args:
        in_channels: Inputs.
        out_channels: Outputs.
        grid_size: Intervals between -1 and 1.
        order: Degree of the splines; 3 is cubic.
    """

    def __init__(self, in_channels: int, out_channels: int, *, grid_size: int, order: int):
        super().__init__()
        self.grid_size = grid_size
        self.order = order
        self.coef = nn.Parameter(torch.empty(in_channels, grid_size + order, out_channels))
        self.scale_base = nn.Parameter(torch.empty(in_channels, out_channels))
        self.scale_spline = nn.Parameter(torch.empty(in_channels, out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw curves close to zero, by least squares through noise at the inner grid's points.

        The noise is uniform, 0.25 / grid_size to each side.
        """
        in_channels = len(self.coef)
        points = torch.linspace(
            -1, 1, self.grid_size + 1, dtype=torch.float64, device=self.coef.device
        )
        basis = uniform_bspline(points, self.grid_size, self.order)
        noise = (torch.rand_like(self.coef[:, :1].expand(-1, len(points), -1)) - 0.5) / (
            2 * self.grid_size
        )
        with torch.no_grad():
            self.coef.copy_(torch.linalg.pinv(basis).to(noise.dtype) @ noise)
        nn.init.uniform_(self.scale_base, -1 / math.sqrt(in_channels), 1 / math.sqrt(in_channels))
        nn.init.ones_(self.scale_spline)

    def forward(self, x: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch channels"]:
        """The sum of all edges into each output."""
        basis = uniform_bspline(x, self.grid_size, self.order).flatten(1)
        curves = (self.scale_spline.unsqueeze(1) * self.coef).flatten(0, 1)
        return torch.addmm(F.silu(x) @ self.scale_base, basis, curves)


class PykanLayer(nn.Module):
    """The same layer from the package pykan, for comparison.

    Only its layer class is used: its model class reseeds every random generator and saves
    checkpoints.
    """

    def __init__(self, in_channels: int, out_channels: int, *, grid_size: int, order: int):
        super().__init__()
        try:
            layer = importlib.import_module("kan.KANLayer").KANLayer
        except ImportError as error:
            raise MissingExtra(
                f"Encoder 'kan' was asked for backend='pykan', which can't be imported ({error}). "
                "Install it: pip install 'fusionzoo[kan]', or use backend='native'."
            ) from error
        with torch.device("cpu"):  # its initial least squares can't be traced on the meta device
            built = layer(in_channels, out_channels, num=grid_size, k=order)
        self.layer = built.to(torch.get_default_device())

    def forward(self, x: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch channels"]:
        """The first of the four tensors that pykan gives."""
        return self.layer(x)[0]


_BACKENDS: Mapping[str, type[KANLayer] | type[PykanLayer]] = {
    "native": KANLayer,
    "pykan": PykanLayer,
}


@component(source="Liu 2024 (KAN), Eq. 2.10-2.12; Yu 2025 (MMCAF-Net), table branch")
class KAN(AbstractEncoder):
    """One or more KAN layers over the columns of a table; each layer is a stage.

    Columns should be scaled to [-1, 1], where the grid is; outside [-1 - 2 order / grid_size, 1 + 2
    order / grid_size] the splines are zero.

    Args:
        modality: The table.
        hidden: Widths of the layers before the last.
        channels: Width of the last layer.
        grid_size: Intervals of the grid between -1 and 1.
        order: Degree of the splines.
        backend: `native`, or `pykan` for the layers of that package (an optional extra).

    Inputs:  `batch columns`
    Returns: `batch channels`
    Raises:  BadOption: a size below 1; MissingExtra: pykan is not installed
    Example:
        >>> table = Modality("table", "table", 7)
        >>> KAN(table)(torch.zeros(2, 7)).shape
        torch.Size([2, 24])
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"table"})

    def __init__(
        self,
        modality: Modality,
        *,
        hidden: tuple[int, ...] = (),
        channels: int = 24,
        grid_size: int = 5,
        order: int = 3,
        backend: Literal["native", "pykan"] = "native",
    ):
        super().__init__()
        if grid_size < 1 or order < 1:
            raise BadOption(
                f"Encoder 'kan' was given grid_size={grid_size}, order={order}. "
                "Both must be 1 or more."
            )
        widths = (modality.channels, *hidden, channels)
        self.stages = tuple(FeatureSpec.vector(width) for width in widths[1:])
        self.layers = nn.ModuleList(
            _BACKENDS[backend](width, after, grid_size=grid_size, order=order)
            for width, after in pairwise(widths)
        )

    def stage(
        self, level: int, x: Float[Tensor, "batch columns"]
    ) -> Float[Tensor, "batch channels"]:
        """Layer `level`."""
        return self.layers[level](x)

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of pykan, or of the release of MMCAF-Net, under the names of this encoder.

        Takes the keys of one layer (`coef`, or `kan.coef`) or of several (`act_fun.0.coef`).

        The names are those of backend `native`.

        Raises: WeightsError: an unknown key, or a grid that was moved from where it began
        """
        layers: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            match = _OFFICIAL.fullmatch(key)
            if match is None:
                raise WeightsError(
                    f"Encoder 'kan' can't place the official weight {key!r} of shape "
                    f"{tuple(value.shape)}. Pass only the keys of KAN layers: "
                    "grid, coef, mask, scale_base, scale_sp."
                )
            layers.setdefault(int(match["level"] or 0), {})[match["leaf"]] = value
        return {
            f"layers.{level}.{name}": value
            for level, layer in sorted(layers.items())
            for name, value in _rename_layer(level, layer).items()
        }


def _rename_layer(level: int, layer: Mapping[str, Tensor]) -> dict[str, Tensor]:
    _check_grid(level, layer["grid"], num_bases=layer["coef"].shape[-1])
    return {
        "coef": layer["coef"].transpose(1, 2).contiguous(),
        "scale_base": layer["mask"] * layer["scale_base"],
        "scale_spline": layer["mask"] * layer["scale_sp"],
    }


def _check_grid(level: int, grid: Tensor, *, num_bases: int) -> None:
    order = grid.shape[-1] - num_bases - 1
    expected = uniform_knots(num_bases - order, order).to(grid)
    furthest = (grid - expected).abs().max().item()
    if furthest > 1e-4:
        raise WeightsError(
            f"The official KAN layer {level} has knots up to {furthest:.3g} away from the uniform "
            "grid over [-1, 1]. Encoder 'kan' can't hold a grid that was updated from data; "
            "use weights trained without grid updates."
        )
