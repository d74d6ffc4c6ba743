"""Identity: the input as it is, for fusions that read raw table columns.

Source: none; it computes nothing.
"""

from typing import ClassVar

from torch import Tensor

from fusionzoo.interface import AbstractEncoder, component
from fusionzoo.spec import Modality


@component(source="none; gives its input")
class Identity(AbstractEncoder):
    """y = x.

    Args:
        modality: The table.

    Inputs:  `batch columns`
    Returns: `batch columns`
    Example:
        >>> import torch
        >>> Identity(Modality("table", "table", 7))(torch.zeros(2, 7)).shape
        torch.Size([2, 7])
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"table"})

    def __init__(self, modality: Modality):
        super().__init__()
        self.stages = (modality.feature,)

    def stage(self, level: int, x: Tensor) -> Tensor:
        """What it was given."""
        return x
