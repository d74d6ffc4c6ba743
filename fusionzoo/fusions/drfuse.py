"""DrFuse: what modalities share and what each has alone, weighed per class by attention.

Source: Yao et al., DrFuse, AAAI 2024 (released code).
Differs from the paper: each modality has one encoder, split by two linear maps, where the paper has
two encoders or two copies of the later stages; several tasks of any number of classes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.losses.classification import binary_cross_entropy, task_loss
from fusionzoo.losses.divergence import absolute_cosine, jensen_shannon
from fusionzoo.ops.modulation import image_and_table
from fusionzoo.spec import FeatureSpec, TaskSpec

_BRANCHES = ("table", "shared", "image")


@component(source="Yao 2024 (DrFuse)")
class DrFuse(AbstractFusion):
    """f_c = sum_j softmax_j(<q, k_cj> / sqrt(d)) v_j over table, shared, image; for logit c.

        s = log(2 e^(a+b) + e^a + e^b) - log(2 + e^a + e^b),  a = G(S_t x_t),  b = G(S_i x_i)
        tokens: D_t x_t, s, D_i x_i;  q is the mean of their queries

    Where a case has no image, s = a and the image's token is masked. The table is taken to be
    there; where it isn't, its features are zeros.

    Args:
        given: The final vectors of an image and of a table, in any order.
        hidden_dim: Width d of all parts.
        branches: Weight of each branch's own classification loss.
        disentangle: Weight of the Jensen-Shannon divergence of a and b plus the absolute cosines
            between shared and distinct parts.
        ranking: Weight of the loss that gives a branch more attention where its own loss is lower.

    Inputs:  per modality `batch channels_m`
    Returns: one output per logit, `logit0`, `logit1`, ..., each `batch hidden_dim`; losses:
             `disentangle` and, in training, `table`, `shared`, `image` and `ranking`
    Raises:  LayoutMismatch: not one encoder with maps and one with vectors
    Example:
        >>> table, image = FeatureSpec.vector(8), FeatureSpec.map(16, (4, 4), (8, 8))
        >>> drfuse = DrFuse({"ct": FeatureSpec.vector(16), "table": table}, hidden_dim=32)
        >>> drfuse.attach({"ct": [image], "table": [table]}, [TaskSpec("dx", ("no", "yes"))])
        >>> drfuse.outputs["logit0"].channels
        32
    """

    places: ClassVar[frozenset[str]] = frozenset({"join", "decide"})
    max_modalities: ClassVar[int | None] = 2
    missing: ClassVar[str] = "mask"

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        hidden_dim: int = 256,
        branches: float = 1.0,
        disentangle: float = 1.0,
        ranking: float = 1.0,
    ):
        super().__init__()
        self.given = dict(given)
        self.hidden_dim = hidden_dim
        self.branches, self.disentangle, self.ranking = branches, disentangle, ranking

    def attach(
        self, stages: Mapping[str, Sequence[FeatureSpec]], tasks: Sequence[TaskSpec]
    ) -> None:
        """Build the parts for this image, this table and these tasks."""
        self.image, self.table = image_and_table(stages)
        self.tasks = tuple(tasks)
        self.num_logits = sum(task.num_logits for task in tasks)
        width = self.hidden_dim
        channels = {
            "image": self.given[self.image].channels,
            "table": self.given[self.table].channels,
        }
        self.shared = nn.ModuleDict({k: nn.Linear(n, width) for k, n in channels.items()})
        self.distinct = nn.ModuleDict({k: nn.Linear(n, width) for k, n in channels.items()})
        self.project = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, width),
            nn.ReLU(),
            nn.Linear(width, width),
        )
        self.attention = nn.Linear(width, (2 + self.num_logits) * width)
        self.classify = nn.ModuleDict(
            {name: nn.Linear(width, self.num_logits) for name in _BRANCHES}
        )
        self.outputs = {f"logit{c}": FeatureSpec.vector(width) for c in range(self.num_logits)}

    def join(self, features: dict[str, Float[Tensor, "batch _"]], context: Context) -> FusionOutput:
        """One vector per logit, and the losses of the parts."""
        image, paired = features[self.image], context.present[self.image]
        table = features[self.table] * context.present[self.table][:, None]
        a, b = self.project(self.shared["table"](table)), self.project(self.shared["image"](image))
        parts = {
            "table": self.distinct["table"](table),
            "shared": torch.where(paired[:, None], pool_logits(a, b), a),
            "image": self.distinct["image"](image),
        }
        fused, weights = self._attend(torch.stack(list(parts.values()), dim=1), paired)
        apart = jensen_shannon(a, b, paired) + absolute_cosine(a, parts["table"])
        apart = apart + absolute_cosine(b, parts["image"], paired)
        losses = {"disentangle": self.disentangle * apart}
        if context.targets is not None:
            losses |= self._supervise(parts, weights, paired, context.targets)
        return FusionOutput(dict(zip(self.outputs, fused.unbind(dim=1), strict=True)), losses)

    def decide(
        self, logits: Mapping[str, Mapping[str, Tensor]], context: Context
    ) -> dict[str, Tensor]:
        """Each logit from the head of its own vector."""
        names = iter(self.outputs)
        return {
            task.name: torch.stack(
                [logits[next(names)][task.name][:, c] for c in range(task.num_logits)], dim=1
            )
            for task in self.tasks
        }

    def _attend(
        self, tokens: Float[Tensor, "batch tokens embed"], paired: Bool[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch logits embed"], Float[Tensor, "batch logits tokens"]]:
        """What each logit gathers, and with which weights."""
        pattern = "batch tokens (parts embed) -> parts batch tokens embed"
        query, value, *keys = rearrange(self.attention(tokens), pattern, embed=self.hidden_dim)
        there = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        there[:, _BRANCHES.index("image")] = paired
        mean = (query * there[..., None]).sum(dim=1) / there.sum(dim=1, keepdim=True)
        scores = torch.einsum("cbte,be->bct", torch.stack(keys), mean) / math.sqrt(self.hidden_dim)
        weights = scores.masked_fill(~there[:, None], -torch.inf).softmax(dim=-1)
        return weights @ value, weights

    def _supervise(
        self,
        parts: Mapping[str, Tensor],
        weights: Float[Tensor, "batch logits tokens"],
        paired: Bool[Tensor, " batch"],
        targets: Mapping[str, Int[Tensor, " batch"]],
    ) -> dict[str, Tensor]:
        """Classification loss of each branch, and the ranking of attention by them."""
        losses: dict[str, Tensor] = {}
        branch_losses = []
        for name in _BRANCHES:
            counted = paired if name == "image" else torch.ones_like(paired)
            own = self.classify[name](parts[name]).split([t.num_logits for t in self.tasks], dim=1)
            per_task = [
                task_loss(z, targets[t.name].masked_fill(~counted, -1), t)
                for z, t in zip(own, self.tasks, strict=True)
            ]
            losses[name] = self.branches * torch.stack(per_task).mean()
            detached = [
                _per_logit(z.detach(), targets[t.name], t)
                for z, t in zip(own, self.tasks, strict=True)
            ]
            branch_losses.append(torch.cat(detached, dim=1))
        ranks = rank_attention(weights, torch.stack(branch_losses, dim=-1), paired)
        return losses | {"ranking": self.ranking * ranks}


def pool_logits(a: Float[Tensor, "*any"], b: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """log(2 e^(a+b) + e^a + e^b) - log(2 + e^a + e^b), elementwise."""
    two = math.log(2)
    either = torch.logaddexp(a, b)
    return torch.logaddexp(a + b + two, either) - torch.logaddexp(torch.full_like(a, two), either)


def rank_attention(
    weights: Float[Tensor, "batch logits tokens"],
    losses: Float[Tensor, "batch logits tokens"],
    paired: Bool[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Mean over branches j, k of max(0, sign(l_j - l_k) (w_j - w_k)), averaged where positive.

    Pairs with the image count for cases that have one; entries whose loss is NaN (no label) don't
    count.
    """
    terms = []
    for j, k in ((0, 1), (0, 2), (1, 2)):
        order = torch.sign(losses[..., j] - losses[..., k]).nan_to_num()
        wrong = F.relu(order * (weights[..., j] - weights[..., k]))
        if k == _BRANCHES.index("image"):
            wrong = wrong * paired[:, None]
        terms.append(wrong.sum() / (wrong > 0).sum().clamp(min=1))
    return torch.stack(terms).mean()


def _per_logit(
    logits: Float[Tensor, "batch logits"], targets: Int[Tensor, " batch"], task: TaskSpec
) -> Float[Tensor, "batch logits"]:
    """Each case's cross-entropy, once per logit of its task; NaN without a label."""
    known = targets.clamp(min=0)
    if task.binary:
        each = binary_cross_entropy(logits, known[:, None].to(logits.dtype))
    else:
        each = F.cross_entropy(logits, known, reduction="none")[:, None].expand_as(logits)
    return each.masked_fill((targets < 0)[:, None], torch.nan)
