"""Linear: one linear layer per task.

Source: Yu et al., MMCAF-Net, 2025, arXiv:2508.04205, final classifier; IIMGF-Net, MICCAI 2025, the
eight classifiers of its released code.
Differs from MMCAF-Net's released code: that declares 48 inputs for a vector of 24 and fails; the
width follows the vector here. From IIMGF-Net's: tasks go by name, and two classes have one logit,
the difference of its two.
"""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.errors import WeightsError
from fusionzoo.interface import AbstractHead, component
from fusionzoo.spec import FeatureSpec, TaskSpec

#: Tasks that IIMGF-Net's release spells differently.
_OFFICIAL_TASKS = {"bwv": "bwn"}


@component(source="Yu 2025 (MMCAF-Net), final classifier; IIMGF-Net, released classifiers")
class Linear(AbstractHead):
    """logits_task = W_task x + b_task.

    With binary="two", a task of two classes has two outputs a_0 and a_1 and the logit a_1 - a_0:
    the sigmoid of it is the softmax of the two, so cross-entropy and the gradients of the outputs
    are those of two logits. It has twice the weights, and is what released models of two logits
    have.

    Args:
        given: The vector that it reads.
        tasks: What to predict.
        binary: Linear outputs of a task of two classes, `one` or `two`.

    Inputs:  `batch channels`
    Returns: per task `batch 1` (binary) or `batch classes`
    Example:
        >>> import torch
        >>> task = TaskSpec("malignant", ("no", "yes"))
        >>> Linear(FeatureSpec.vector(24), [task])(torch.zeros(2, 24))["malignant"].shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        given: FeatureSpec,
        tasks: Sequence[TaskSpec],
        *,
        binary: Literal["one", "two"] = "one",
    ):
        super().__init__(given, tasks)
        self.layers = nn.ModuleList(
            nn.Linear(given.channels, 2 if task.binary and binary == "two" else task.num_logits)
            for task in self.tasks
        )

    def forward(self, x: Float[Tensor, "batch channels"]) -> dict[str, Float[Tensor, "batch _"]]:
        """Logits per task."""
        outputs = (layer(x) for layer in self.layers)
        return {
            task.name: y.diff(dim=1) if task.binary and y.shape[1] == 2 else y
            for task, y in zip(self.tasks, outputs, strict=True)
        }

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This head's state dict from that of a released IIMGF-Net, tasks by their names.

        Its two outputs for two classes become one, where that is what there is here.

        Raises:
            WeightsError: It has no classifier for a task.
        """
        released = {key.split(".")[0].removeprefix("fc_") for key in state if key.startswith("fc_")}
        names = [task.name.lower() for task in self.tasks]
        official = [_OFFICIAL_TASKS.get(name, name) for name in names]
        lacking = [name for name in official if name not in released]
        if lacking:
            raise WeightsError(
                f"They have no classifier for {', '.join(lacking)}; they have: "
                f"{', '.join(sorted(released)) or 'none'}. Leave the head's weights out."
            )
        renamed = {}
        for index, (layer, name) in enumerate(zip(self.layers, official, strict=True)):
            for leaf, own in layer.named_parameters():
                tensor = state[f"fc_{name}.{leaf}"]
                merged = len(own) == 1 and len(tensor) == 2
                renamed[f"layers.{index}.{leaf}"] = tensor.diff(dim=0) if merged else tensor
        return renamed
