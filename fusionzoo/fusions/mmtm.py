"""MMTM: modalities gate each other's channels between the stages of their encoders.

Source: Vaezi Joze et al., MMTM, CVPR 2020.
Differs from the paper: any number of modalities; gates are plain sigmoids, as in the released code
(`double_gate=True` doubles them).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.spec import FeatureSpec, TaskSpec


class TransferModule(nn.Module):
    """x_m <- x_m sigmoid(E_m z), with z = relu(W [mean(x_1), ..., mean(x_M)]) and means over space.

    Args:
        channels: Channels of each modality.
        ratio: z is 2 sum(channels) / ratio wide, rounded down.
        double_gate: Whether gates go from 0 to 2 instead of 0 to 1.
    """

    def __init__(self, channels: Sequence[int], *, ratio: int, double_gate: bool):
        super().__init__()
        width = 2 * sum(channels) // ratio
        self.factor = 2.0 if double_gate else 1.0
        self.squeeze = nn.Linear(sum(channels), width)
        self.excite = nn.ModuleList(nn.Linear(width, own) for own in channels)

    def forward(
        self, features: Sequence[Float[Tensor, "batch ..."]]
    ) -> list[Float[Tensor, "batch ..."]]:
        """Every modality's features, gated."""
        means = [reduce(x, "batch channels ... -> batch channels", "mean") for x in features]
        joint = torch.relu(self.squeeze(torch.cat(means, dim=1)))
        gated = []
        for x, excite in zip(features, self.excite, strict=True):
            gate = self.factor * torch.sigmoid(excite(joint))
            gated.append(x * gate.reshape(*gate.shape, *(1 for _ in x.shape[2:])))
        return gated


@component(source="Vaezi Joze 2020 (MMTM)")
class MMTM(AbstractFusion):
    """Transfer modules after the chosen stages, a classifier per modality, the mean of logits.

    Args:
        given: The final vector of each modality.
        ratio: How much the joint code is narrower than twice the modalities' channels.
        placements: Stages after which modalities are gated; all that every encoder has by default.
        double_gate: Whether gates go from 0 to 2.

    Inputs:  between stages `batch channels *space` or `batch channels`; in the end a vector each
    Returns: one output per modality, named as it; losses: none
    Raises:  BadOption: a placement that not every encoder has
    Example:
        >>> spec = FeatureSpec.vector(8)
        >>> mmtm = MMTM({"ct": spec, "table": spec})
        >>> mmtm.attach({"ct": [spec], "table": [spec]}, [])
        >>> len(mmtm.transfers)
        1
    """

    places: ClassVar[frozenset[str]] = frozenset({"exchange", "join", "decide"})

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        ratio: int = 4,
        placements: tuple[int, ...] | None = None,
        double_gate: bool = False,
    ):
        super().__init__()
        self.ratio, self.placements, self.double_gate = ratio, placements, double_gate
        self.outputs = dict(given)

    def attach(
        self, stages: Mapping[str, Sequence[FeatureSpec]], tasks: Sequence[TaskSpec]
    ) -> None:
        """Build a transfer module for each placement."""
        common = min(len(specs) for specs in stages.values())
        levels = tuple(range(common)) if self.placements is None else self.placements
        if not levels or not all(0 <= level < common for level in levels):
            raise BadOption(
                f"placements={levels} are not all stages of every encoder; they have {common} in "
                f"common. Use numbers from 0 to {common - 1}."
            )
        self.transfers = nn.ModuleDict()
        for level in levels:
            channels = [specs[level].channels for specs in stages.values()]
            module = TransferModule(channels, ratio=self.ratio, double_gate=self.double_gate)
            self.transfers[str(level)] = module

    def exchange(
        self, level: int, states: dict[str, Tensor], context: Context
    ) -> dict[str, Tensor]:
        """Gated features after a chosen stage."""
        if str(level) not in self.transfers:
            return states
        gated = self.transfers[str(level)](list(states.values()))
        return dict(zip(states, gated, strict=True))

    def join(self, features: dict[str, Float[Tensor, "batch _"]], context: Context) -> FusionOutput:
        """Each modality's vector, untouched."""
        return FusionOutput(dict(features))

    def decide(
        self, logits: Mapping[str, Mapping[str, Tensor]], context: Context
    ) -> dict[str, Tensor]:
        """The mean of the modalities' logits."""
        tasks = next(iter(logits.values()))
        return {
            task: torch.stack([by_task[task] for by_task in logits.values()]).mean(dim=0)
            for task in tasks
        }
