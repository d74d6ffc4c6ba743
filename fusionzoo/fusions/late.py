"""Late: a classifier per modality, and the mean of what they say.

Source: Yu et al., MMCAF-Net, 2025, arXiv:2508.04205, Table 3 "Late_Fusion"; the paper gives no
details, its release keeps a linear head per branch.
Differs from the paper: several tasks and classes, missing modalities and learned weights.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.ops.averaging import log_probs, logits_of_mean_probs
from fusionzoo.spec import FeatureSpec

_ROUNDS = 1000
_TOLERANCE = 1e-10


@component(source="Yu 2025 (MMCAF-Net), Table 3, Late_Fusion")
class Late(AbstractFusion):
    """p(class) = sum_m w_m p_m(class) / sum_m w_m over the modalities m that a case has.

    The final logits are those whose sigmoid or softmax is p. Modality m's own logits come from the
    head of output m, and each of them is supervised. With average="logits" the weighted mean is
    taken of the logits themselves
    (log-probabilities, for several classes, so that no modality's offset counts).

    Args:
        given: A vector per modality.
        average: `probs` or `logits` with equal weights, or `learned` for a mean of probabilities
            with the weights on the simplex that have the lowest log loss on validation data, one
            set for all tasks.

    Inputs:  per modality `batch channels_m`
    Returns: one output per modality, named as it; losses: none
    Example:
        >>> given = {"ct": FeatureSpec.vector(16), "table": FeatureSpec.vector(8)}
        >>> Late(given).outputs["table"].channels
        8
    """

    places: ClassVar[frozenset[str]] = frozenset({"join", "decide"})
    missing: ClassVar[str] = "mask"

    weights: Tensor

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        average: Literal["probs", "logits", "learned"] = "probs",
    ):
        super().__init__()
        self.average = average
        self.outputs = dict(given)
        self.register_buffer("weights", torch.full((len(given),), 1 / len(given)))

    @property
    def supervised(self) -> dict[str, float]:
        """Every modality's own logits, equally."""
        return dict.fromkeys(self.outputs, 1.0)

    def join(self, features: dict[str, Float[Tensor, "batch _"]], context: Context) -> FusionOutput:
        """Each modality's vector, untouched."""
        return FusionOutput(dict(features))

    def decide(
        self, logits: Mapping[str, Mapping[str, Tensor]], context: Context
    ) -> dict[str, Tensor]:
        """The averaged logits of each task."""
        present = torch.stack([context.present[name] for name in self.outputs])
        weights = self._weights_of_cases(present)
        final = {}
        for task in next(iter(logits.values())):
            each = torch.stack([logits[name][task] for name in self.outputs])
            final[task] = (
                _mean_logits(each, weights)
                if self.average == "logits"
                else logits_of_mean_probs(each, weights)
            )
        return final

    def fit(
        self, logits: Mapping[str, Mapping[str, Tensor]], targets: Mapping[str, Tensor]
    ) -> None:
        """Find the weights, where they are learned, on cases with all modalities and a label."""
        if self.average != "learned":
            return
        likelihoods = []
        for task, codes in targets.items():
            known = codes >= 0
            each = torch.stack([logits[name][task][known] for name in self.outputs])
            likelihoods.append(_likelihoods(each.detach(), codes[known]))
        together = torch.cat(likelihoods, dim=1)
        if together.shape[1]:
            self.weights.copy_(_best_mixture(together))

    def _weights_of_cases(
        self, present: Bool[Tensor, "modalities batch"]
    ) -> Float[Tensor, "modalities batch"]:
        """The weights of present modalities, scaled to sum 1; equal where none of them counts."""
        kept = self.weights[:, None] * present
        even = present | ~present.any(dim=0)
        kept = torch.where(kept.sum(dim=0) > 0, kept, even.to(kept.dtype))
        return kept / kept.sum(dim=0)


def _mean_logits(
    logits: Float[Tensor, "modalities batch logits"], weights: Float[Tensor, "modalities batch"]
) -> Float[Tensor, "batch logits"]:
    comparable = F.log_softmax(logits, dim=-1) if logits.shape[-1] > 1 else logits
    return (weights[..., None] * comparable).sum(dim=0)


def _likelihoods(
    logits: Float[Tensor, "modalities cases logits"], codes: Int[Tensor, " cases"]
) -> Float[Tensor, "modalities cases"]:
    """The probability that each modality gives to each case's class."""
    log_p = log_probs(logits.double())
    return log_p.gather(-1, codes.expand(len(logits), -1)[..., None])[..., 0].exp()


def _best_mixture(
    likelihoods: Float[Tensor, "modalities cases"],
) -> Float[Tensor, " modalities"]:
    """The weights on the simplex with the lowest log loss, by expectation maximisation.

    The log loss of a mixture is convex in its weights, so that the search needs no start of its own
    and no seed.
    """
    weights = likelihoods.new_full((len(likelihoods),), 1 / len(likelihoods))
    for _ in range(_ROUNDS):
        joint = weights[:, None] * likelihoods
        shares = joint / joint.sum(dim=0).clamp(min=torch.finfo(joint.dtype).tiny)
        updated = shares.mean(dim=1)
        if (updated - weights).abs().max() < _TOLERANCE:
            return updated
        weights = updated
    return weights
