"""MLP: hidden layers shared by all tasks, then one linear layer per task.

Source: the classifier of multimodal baselines such as PEfusion's joint model; widths are free.
"""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.interface import AbstractHead, component
from fusionzoo.spec import FeatureSpec, TaskSpec


@component(source="common practice; no single paper")
class MLP(AbstractHead):
    """h_l = dropout(relu(W_l h_l-1 + b_l)), then logits_task = W_task h + b_task.

    Args:
        given: The vector that it reads.
        tasks: What to predict.
        hidden: Widths of the shared layers.
        dropout: Probability of dropping a hidden unit.

    Inputs:  `batch channels`
    Returns: per task `batch 1` (binary) or `batch classes`
    Example:
        >>> import torch
        >>> task = TaskSpec("stage", ("I", "II", "III"))
        >>> MLP(FeatureSpec.vector(24), [task])(torch.zeros(2, 24))["stage"].shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        given: FeatureSpec,
        tasks: Sequence[TaskSpec],
        *,
        hidden: tuple[int, ...] = (64,),
        dropout: float = 0.5,
    ):
        super().__init__(given, tasks)
        widths = (given.channels, *hidden)
        self.trunk = nn.Sequential()
        for width, after in pairwise(widths):
            self.trunk.extend([nn.Linear(width, after), nn.ReLU(), nn.Dropout(dropout)])
        self.layers = nn.ModuleList(nn.Linear(widths[-1], task.num_logits) for task in self.tasks)

    def forward(self, x: Float[Tensor, "batch channels"]) -> dict[str, Float[Tensor, "batch _"]]:
        """Logits per task."""
        x = self.trunk(x)
        return {task.name: layer(x) for task, layer in zip(self.tasks, self.layers, strict=True)}
