"""Concat: the modalities' vectors side by side.

Source: the plainest joint fusion; also a reading of MMCAF-Net's 48-wide classifier as two vectors
of 24.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.spec import FeatureSpec


@component(source="common practice; no single paper")
class Concat(AbstractFusion):
    """z = [x_1, ..., x_M].

    Args:
        given: A vector per modality.

    Inputs:  per modality `batch channels_m`
    Returns: one output `fused`, `batch sum(channels_m)`; losses: none
    Example:
        >>> given = {"ct": FeatureSpec.vector(16), "table": FeatureSpec.vector(8)}
        >>> Concat(given).outputs["fused"].channels
        24
    """

    min_modalities: ClassVar[int] = 1

    def __init__(self, given: Mapping[str, FeatureSpec]):
        super().__init__()
        self.outputs = {"fused": FeatureSpec.vector(sum(spec.channels for spec in given.values()))}

    def join(self, features: dict[str, Float[Tensor, "batch _"]], context: Context) -> FusionOutput:
        """The vectors, in the order of the modalities."""
        return FusionOutput({"fused": torch.cat(list(features.values()), dim=1)})
