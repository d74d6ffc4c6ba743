"""Linear: one linear layer per task.

Source: Yu et al., MMCAF-Net, 2025, arXiv:2508.04205, final classifier.
Differs from its released code: that declares 48 inputs for a vector of 24 and fails; the width
follows the vector here.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.interface import AbstractHead, component
from fusionzoo.spec import FeatureSpec, TaskSpec


@component(source="Yu 2025 (MMCAF-Net), final classifier")
class Linear(AbstractHead):
    """logits_task = W_task x + b_task.

    Args:
        given: The vector that it reads.
        tasks: What to predict.

    Inputs:  `batch channels`
    Returns: per task `batch 1` (binary) or `batch classes`
    Example:
        >>> import torch
        >>> task = TaskSpec("malignant", ("no", "yes"))
        >>> Linear(FeatureSpec.vector(24), [task])(torch.zeros(2, 24))["malignant"].shape
        torch.Size([2, 1])
    """

    def __init__(self, given: FeatureSpec, tasks: Sequence[TaskSpec]):
        super().__init__(given, tasks)
        self.layers = nn.ModuleList(
            nn.Linear(given.channels, task.num_logits) for task in self.tasks
        )

    def forward(self, x: Float[Tensor, "batch channels"]) -> dict[str, Float[Tensor, "batch _"]]:
        """Logits per task."""
        return {task.name: layer(x) for task, layer in zip(self.tasks, self.layers, strict=True)}
