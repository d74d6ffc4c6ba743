"""MLP: fully connected layers over the columns of a table.

Source: Yu et al., MMCAF-Net, 2025, arXiv:2508.04205, the MLP that its KAN is compared with
(7, 24 and 24 units).
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.interface import AbstractEncoder, component
from fusionzoo.spec import FeatureSpec, Modality

_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}


@component(source="Yu 2025 (MMCAF-Net), released code, MLP table branch")
class MLP(AbstractEncoder):
    """h_l = dropout(activation(W_l h_l-1 + b_l)) for each hidden layer, then W h + b.

    Each layer is a stage.

    Args:
        modality: The table.
        hidden: Widths of the hidden layers; none makes it a linear map.
        channels: Width of the last layer.
        dropout: Probability of dropping a hidden unit.
        activation: What follows each hidden layer.

    Inputs:  `batch columns`
    Returns: `batch channels`
    Example:
        >>> import torch
        >>> table = Modality("table", "table", 7)
        >>> MLP(table)(torch.zeros(2, 7)).shape
        torch.Size([2, 24])
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"table"})

    def __init__(
        self,
        modality: Modality,
        *,
        hidden: tuple[int, ...] = (24,),
        channels: int = 24,
        dropout: float = 0.2,
        activation: Literal["relu", "gelu", "silu", "elu", "tanh"] = "relu",
    ):
        super().__init__()
        widths = (modality.channels, *hidden, channels)
        self.stages = tuple(FeatureSpec.vector(width) for width in widths[1:])
        self.layers = nn.ModuleList(nn.Linear(width, after) for width, after in pairwise(widths))
        self.bend = nn.Sequential(_ACTIVATIONS[activation](), nn.Dropout(dropout))

    def stage(
        self, level: int, x: Float[Tensor, "batch columns"]
    ) -> Float[Tensor, "batch channels"]:
        """Layer `level`, activated unless it is the last."""
        x = self.layers[level](x)
        return x if level == len(self.layers) - 1 else self.bend(x)

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the release's two layers `l1`, `l2` under the names of this encoder."""
        return {
            key.replace("l1.", "layers.0.").replace("l2.", "layers.1."): value
            for key, value in state.items()
        }
