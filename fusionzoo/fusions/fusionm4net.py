"""FusionM4Net: classifiers of each image and of their sum, weighed, then support vector machines.

Source: Tang et al., FusionM4Net, Medical Image Analysis 76, 2022, doi:10.1016/j.media.2021.102307
(released code).
Differs from the released code: the grid of weights is a clean simplex (`grid=released` is the
release's, whose loop overwrites its own variables); which cases train the second model goes by
patient and seed, not by their order; probabilities of the machines are calibrated per class, as
scikit-learn does it now, where the release has libsvm's; any number of images and widths, a missing
one weighs nothing; a table's encoder learns by a classifier of its own that the verdict leaves out;
no test-time augmentation.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fusionzoo.errors import BadOption, LayoutMismatch, WeightsError
from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.ops.averaging import log_probs
from fusionzoo.ops.support_vectors import SupportVectorMachine
from fusionzoo.spec import FeatureSpec, TaskSpec

#: Name of the branch over the sum of the images, and of what `decide` reads of tables.
SUM, COLUMNS = "fused", "columns"
#: The release's names of the branches, in order.
_OFFICIAL = ("clin_mlp.", "derm_mlp.", "fc_fusion_.")
#: Weight of each branch's loss.
BRANCH_WEIGHT = 0.33
#: Values between 0 and 1 that are tried for the share of the first stage.
SHARES = 100

Logits = Mapping[str, Mapping[str, Tensor]]


@component(source="Tang 2022 (FusionM4Net), released code")
class FusionM4Net(AbstractFusion):
    """P = w P_1 + (1 - w) P_2 per task; P_1 of the branches' weighed logits, P_2 of machines.

        P_1 = softmax(sum_b w_b head_b(mlp_b(x_b))),   b: each image, and their sum
        P_2 = svm([P_1 of all tasks, columns of tables])

    An MLP is two layers of linear, batch norm, SiLU and dropout. After training, the weights w_b
    are searched on validation cases for the best accuracy, mean over tasks; a support vector
    machine per task (RBF, C = 1, with probabilities) is fitted to training cases that were judged
    by a second model, trained without them; the one w of all tasks is searched on validation cases
    again, among `SHARES` values. Of equal weights the first in the order of the search counts; the
    simplex is searched from its centre. Before the fit, and where held-out cases of a task are of
    one class, P is P_1.

    A table takes part in P_2 alone: `identity` gives its columns. With one image there is no sum.

    Args:
        given: A vector per modality; narrower images are projected to the widest for the sum.
        stage: `ss` for P, `fs` for P_1, which costs half the training.
        hidden_dim: Width of the MLPs' first layer.
        embed_dim: Width of their second, which the heads read.
        dropout: After each of the two.
        grid: Weights that are tried: `simplex` for all multiples of 1 / `steps` that add up to 1,
            `released` for the release's irregular ones, of three branches.
        steps: Fineness of the grid.
        held_out: Share of the training cases that the machines are fitted to.

    Inputs:  per modality `batch channels_m`; an image that a case lacks has no weight
    Returns: one output per branch, `batch embed_dim`, and a table's vector; losses: none
    Raises:  LayoutMismatch: no image, or a table with `stage=fs`;
             BadOption: steps, a share or a grid that can't be
    Example:
        >>> given = {"clinic": FeatureSpec.vector(16), "derm": FeatureSpec.vector(16)}
        >>> maps = [FeatureSpec.map(16, (4, 4), (8, 8))]
        >>> fusion = FusionM4Net(given)
        >>> fusion.attach({"clinic": maps, "derm": maps}, [TaskSpec("dx", ("no", "yes"))])
        >>> {name: spec.channels for name, spec in fusion.outputs.items()}
        {'clinic': 128, 'derm': 128, 'fused': 128}
    """

    places: ClassVar[frozenset[str]] = frozenset({"join", "decide"})
    missing: ClassVar[str] = "mask"
    small: ClassVar[Mapping[str, Any]] = {"hidden_dim": 16, "embed_dim": 8}

    weights: Tensor
    share: Tensor
    machines: Any

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        stage: Literal["ss", "fs"] = "ss",
        hidden_dim: int = 512,
        embed_dim: int = 128,
        dropout: float = 0.3,
        grid: Literal["simplex", "released"] = "simplex",
        steps: int = 25,
        held_out: float = 0.5,
    ):
        super().__init__()
        if steps < 2 or not 0 < held_out < 1:
            raise BadOption(
                f"steps={steps} must be at least 2, and held_out={held_out} between 0 and 1."
            )
        self.given, self.stage, self.grid, self.steps = dict(given), stage, grid, steps
        self.hidden_dim, self.embed_dim, self.dropout = hidden_dim, embed_dim, dropout
        self._held_out = held_out

    @property
    def supervised(self) -> dict[str, float]:
        """Every branch, and a table's own classifier, alike."""
        return dict.fromkeys(self.outputs, BRANCH_WEIGHT)

    @property
    def held_out(self) -> float:
        """Nothing where the second stage is left out."""
        return self._held_out if self.stage == "ss" else 0.0

    def attach(
        self, stages: Mapping[str, Sequence[FeatureSpec]], tasks: Sequence[TaskSpec]
    ) -> None:
        """Tell images from tables, and build branches and machines."""
        self.tasks = tuple(tasks)
        self.tables = tuple(n for n in self.given if stages[n][-1].layout == "vector")
        self.images = tuple(n for n in self.given if n not in self.tables)
        self._check()
        branches = (*self.images, SUM) if len(self.images) > 1 else self.images
        widths = {name: self.given[name].channels for name in self.images}
        widest = max(widths.values())
        self.aligns = nn.ModuleDict(
            {
                n: nn.Linear(width, widest, bias=False)
                for n, width in widths.items()
                if width < widest
            }
        )
        self.branches = nn.ModuleDict(
            {name: self._branch(widths.get(name, widest)) for name in branches}
        )
        self.register_buffer("weights", torch.full((len(branches),), 1 / len(branches)))
        self.register_buffer("share", torch.ones(()))
        if self.stage == "ss":
            self.machines = nn.ModuleList(SupportVectorMachine(len(t.classes)) for t in tasks)
        self.outputs = dict.fromkeys(branches, FeatureSpec.vector(self.embed_dim))
        self.outputs |= {name: self.given[name] for name in self.tables}

    def _check(self) -> None:
        told = ", ".join(self.given)
        if not self.images:
            raise LayoutMismatch(
                f"Its branches are of images, and none of {told} goes through maps. Use an encoder "
                "with maps for one of them, or late."
            )
        if self.tables and self.stage == "fs":
            raise LayoutMismatch(
                f"stage='fs' never reads a table, and {', '.join(self.tables)} is one. Use "
                "stage=ss, or leave it out."
            )
        if self.grid == "released" and len(self.images) != 2:
            raise BadOption(
                f"grid='released' is of three branches; {told} make another number of them. Use "
                "grid=simplex."
            )

    def _branch(self, channels: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, after in ((channels, self.hidden_dim), (self.hidden_dim, self.embed_dim)):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.SiLU()]
            layers.append(nn.Dropout(self.dropout))
        return nn.Sequential(*layers)

    def join(self, features: dict[str, Float[Tensor, "batch _"]], context: Context) -> FusionOutput:
        """A vector per branch; tables as they are, for their own classifiers and for `decide`."""
        there = {n: x * context.present[n][:, None] for n, x in features.items()}
        read = {name: there[name] for name in self.images}
        if SUM in self.branches:
            aligned = [self.aligns[n](x) if n in self.aligns else x for n, x in read.items()]
            read[SUM] = torch.stack(aligned).sum(dim=0)
        vectors = {name: branch(read[name]) for name, branch in self.branches.items()}
        if not self.tables:
            return FusionOutput(vectors)
        tables = {name: there[name] for name in self.tables}
        columns = torch.cat(list(tables.values()), dim=1)
        beside = {COLUMNS: dict.fromkeys((task.name for task in self.tasks), columns)}
        return FusionOutput(vectors | tables, logits=beside)

    def decide(self, logits: Logits, context: Context) -> dict[str, Tensor]:
        """P as logits; P_1 before the fit."""
        own = [context.present[name] for name in self.images]
        if SUM in self.branches:
            own.append(torch.stack(own).any(dim=0))
        first = self._weighed(logits, self.weights, torch.stack(own))
        if self.stage == "fs" or not any(machine.fitted for machine in self.machines):
            return first
        second = self._second(first, logits)
        return {
            task: z if task not in second else _logits_of(_mix(z, second[task], self.share))
            for task, z in first.items()
        }

    def _weighed(
        self,
        logits: Logits,
        weights: Float[Tensor, " branches"],
        present: Bool[Tensor, "branches batch"],
    ) -> dict[str, Tensor]:
        """Logits of the branches that a case has, weighed; equally where they have no weight."""
        kept = weights.to(present.device)[:, None] * present
        even = (present | ~present.any(dim=0)).to(kept.dtype)
        kept = torch.where(kept.sum(dim=0) > 0, kept, even)
        kept = (kept / kept.sum(dim=0))[..., None]
        return {
            t.name: (kept * torch.stack([logits[b][t.name] for b in self.branches])).sum(dim=0)
            for t in self.tasks
        }

    def _second(self, first: Mapping[str, Tensor], logits: Logits) -> dict[str, Tensor]:
        """P_2 of the tasks whose machines are fitted."""
        x = self._columns(first, logits)
        machines = zip(self.tasks, self.machines, strict=True)
        return {task.name: machine(x) for task, machine in machines if machine.fitted}

    def _columns(self, first: Mapping[str, Tensor], logits: Logits) -> Float[Tensor, "cases _"]:
        """What the machines read: P_1 of all tasks, and the tables' columns."""
        told = [log_probs(first[task.name]).exp() for task in self.tasks]
        if self.tables:
            told.append(logits[COLUMNS][self.tasks[0].name].to(told[0]))
        return torch.cat(told, dim=1)

    def fit(self, logits: Logits, targets: Mapping[str, Tensor]) -> None:
        """Search the branches' weights on validation cases."""
        if len(self.branches) > 1:
            tried = torch.tensor(self._grid(), dtype=torch.float32)
            scores = torch.stack(
                [self._accuracy(self._alike(logits, weights), targets) for weights in tried]
            )
            self.weights.copy_(tried[scores.argmax()])

    def fit_stacked(
        self,
        logits: Logits,
        targets: Mapping[str, Tensor],
        val_logits: Logits,
        val_targets: Mapping[str, Tensor],
    ) -> None:
        """Fit the machines on held-out cases, then search their share on validation cases."""
        weights = self.weights.cpu()
        x = self._columns(self._alike(logits, weights), logits)
        self.machines.cpu()
        for task, machine in zip(self.tasks, self.machines, strict=True):
            machine.fit(x, targets[task.name])
        first = self._alike(val_logits, weights)
        second = self._second(first, val_logits)
        tried = torch.linspace(0, 1, SHARES)
        mixed = (
            {
                task: _mix(z, second[task], share) if task in second else z
                for task, z in first.items()
            }
            for share in tried
        )
        scores = torch.stack([self._accuracy(found, val_targets) for found in mixed])
        self.share.copy_(tried[scores.argmax()])
        self.machines.to(self.weights.device)

    def _alike(self, logits: Logits, weights: Float[Tensor, " branches"]) -> dict[str, Tensor]:
        """Weighed logits of cases that count as having every modality."""
        count = len(logits[next(iter(self.branches))][self.tasks[0].name])
        return self._weighed(logits, weights, torch.ones(len(weights), count, dtype=torch.bool))

    def _accuracy(self, found: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Mean over the tasks of the share of labelled cases that are right."""
        right = []
        for task in self.tasks:
            codes = targets[task.name]
            known, z = codes >= 0, found[task.name]
            said = (z[:, 0] > 0).long() if z.shape[1] == 1 else z.argmax(dim=1)
            if known.any():
                right.append((said == codes)[known].double().mean())
        return torch.stack(right).mean() if right else torch.zeros((), dtype=torch.double)

    def _grid(self) -> list[tuple[float, ...]]:
        if self.grid == "released":
            return list(released_grid(self.steps))
        return simplex_grid(len(self.branches), self.steps)

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The branches' state from that of a released FusionNet; encoders and heads are left out.

        Raises:
            WeightsError: No names of a FusionNet, or the modalities stand the other way round.
        """
        if self.images == ("derm", "clinic"):
            raise WeightsError(
                "the release's first image is the clinical one; the spec has 'derm' first. Write "
                "'clinic=..., derm=...'"
            )
        own, renamed = self.state_dict(), {}
        for official, ours in zip(_OFFICIAL, self.branches, strict=False):
            for name, tensor in state.items():
                if name.startswith(official):
                    renamed[f"branches.{ours}.{name.removeprefix(official)}"] = tensor
        if not renamed:
            raise WeightsError(
                f"none of its {len(state)} names is of a FusionNet's branches; the first is "
                f"{next(iter(state))!r}"
            )
        return own | renamed


def simplex_grid(branches: int, steps: int) -> list[tuple[float, ...]]:
    """All multiples of 1 / steps that add up to 1, the most even ones first."""
    places = range(steps + branches - 1)
    ends = ((-1, *bars, len(places)) for bars in combinations(places, branches - 1))
    whole = [tuple(after - before - 1 for before, after in pairwise(end)) for end in ends]
    whole.sort(key=lambda counts: (sum(n * n for n in counts), counts))
    return [tuple(n / steps for n in counts) for counts in whole]


def released_grid(steps: int) -> Iterator[tuple[float, float, float]]:
    """What the release's three loops over 0.05 to 1 visit: sums up to 1, scaled to 1.

    Scaled weights take the place of the loops' own variables, so that an outer one goes on with a
    scaled value until its next turn.
    """
    values = torch.linspace(0.05, 1, steps, dtype=torch.double).tolist()
    for outer in values:
        a = outer
        for middle in values:
            b = middle
            for c in values:
                total = a + b + c
                if total <= 1:
                    a, b = a / total, b / total
                    yield a, b, c / total


def _mix(
    first: Float[Tensor, "cases logits"], second: Float[Tensor, "cases classes"], share: Tensor
) -> Float[Tensor, "cases classes"]:
    """P, as w P_1 + (1 - w) P_2."""
    return share * log_probs(first).exp() + (1 - share) * second


def _logits_of(probs: Float[Tensor, "cases classes"]) -> Float[Tensor, "cases logits"]:
    """Logits whose softmax, or sigmoid for two classes, is that."""
    logs = probs.clamp(min=torch.finfo(probs.dtype).tiny).log()
    return logs if logs.shape[1] > 2 else logs[:, 1:] - logs[:, :1]


__all__ = ["FusionM4Net", "released_grid", "simplex_grid"]
