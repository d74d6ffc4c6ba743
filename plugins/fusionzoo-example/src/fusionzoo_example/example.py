"""example: modalities weighed by a gate that sees all of them.

Source: none yet; name the authors, the venue, the year and the equations.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.spec import FeatureSpec


@component(source="none yet")
class Example(AbstractFusion):
    """z = sum_m g_m tanh(V_m x_m + b_m), with (g_1, ..., g_M) = softmax(W [x_1, ..., x_M] + c).

    Args:
        given: A vector per modality.
        channels: Width of z.

    Inputs:  per modality `batch channels_m`
    Returns: one output `fused`, `batch channels`; losses: none
    Example:
        >>> given = {"ct": FeatureSpec.vector(16), "table": FeatureSpec.vector(8)}
        >>> Example(given, channels=24).outputs["fused"].channels
        24
    """

    def __init__(self, given: Mapping[str, FeatureSpec], *, channels: int = 64):
        super().__init__()
        widths = [spec.channels for spec in given.values()]
        self.values = nn.ModuleList(nn.Linear(width, channels) for width in widths)
        self.gate = nn.Linear(sum(widths), len(widths))
        self.outputs = {"fused": FeatureSpec.vector(channels)}

    def join(self, features: dict[str, Float[Tensor, "batch _"]], context: Context) -> FusionOutput:
        """The gated sum."""
        given = list(features.values())
        gates = torch.softmax(self.gate(torch.cat(given, dim=1)), dim=1)
        values = [torch.tanh(value(x)) for value, x in zip(self.values, given, strict=True)]
        fused = torch.einsum("bm,mbc->bc", gates, torch.stack(values))
        return FusionOutput({"fused": fused})
