"""PEfusion: seven ways of joining an image and tables, from early to late.

Source: Huang et al., Multimodal fusion with deep neural networks for leveraging CT imaging and
electronic health record, Scientific Reports 10, 2020, doi:10.1038/s41598-020-78888-w (released
code). MMCAF-Net doesn't say which of the seven it ran; the default is the best of the paper.
Differs from the released code: tables are scaled on the training part, not over the whole file;
the grid search of the elastic net has folds of training cases alone; a modality that the elastic
net judges in the end has a classifier of its own while the encoders learn.
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.errors import LayoutMismatch
from fusionzoo.interface import AbstractFusion, Context, FusionOutput, component
from fusionzoo.ops.averaging import logits_of_mean_probs
from fusionzoo.spec import FeatureSpec, TaskSpec

#: What the elastic net's grid search tries.
GRID: Mapping[str, tuple[Any, ...]] = {
    "C": (1e-3, 0.1, 1.0, 10.0, 1000.0),
    "l1_ratio": (0.01, 0.1, 0.3, 0.5, 0.9, 0.99),
    "class_weight": ("balanced", None),
    "max_iter": (100, 500),
}
SEARCH_FOLDS = 5

_ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}
_EARLY = ("early", "joint_all", "joint_separate")
_ELASTIC = ("late_elastic_average", "late_separate_average")


class FullyConnected(nn.Sequential):
    """act(W x + b), then dropout(act(W h + b)) for each further layer."""

    def __init__(
        self, in_channels: int, width: int, *, num_hidden: int, activation: str, dropout: float
    ):
        act = _ACTIVATIONS[activation]
        layers: list[nn.Module] = [nn.Linear(in_channels, width), act()]
        for _ in range(num_hidden):
            layers += [nn.Linear(width, width), act(), nn.Dropout(dropout)]
        super().__init__(*layers)
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.2)


@component(source="Huang 2020 (PEfusion), released code")
class PEFusion(AbstractFusion):
    """One of seven schemes; in the late ones p = mean of p_j over the judges that a case has.

    | scheme | what it does |
    |---|---|
    | `early` | the vectors side by side through one network |
    | `joint_all` | a network per image, one for all tables together, and one over what they give |
    | `joint_separate` | a network per modality, and one over what they give |
    | `late_nn_average` | a classifier per modality; p averages their probabilities |
    | `late_elastic_average` | p averages images' classifiers and one elastic net on all tables |
    | `late_separate_average` | the same with an elastic net per table |
    | `late_meta` | a logistic regression on the modalities' logits |

    With one table the two `joint` schemes are one, and so are the two elastic ones. Elastic nets
    are logistic regressions with an elastic-net penalty, fitted by scikit-learn (saga) after
    training on the training cases' table vectors, which are the table itself under `identity`;
    `GRID` is searched by AUROC in 5 folds of those cases. The folds are of cases, because a fusion
    knows no patients; validation and test cases take no part. `late_meta` is fitted on validation
    logits. What was fitted is in the saved state; before that, classifiers are averaged.

    Args:
        given: A vector per modality.
        scheme: One of the seven.
        num_neurons: Width of the networks of the early and joint schemes.
        num_hidden: Further layers of each network.
        activation: `elu`, `relu` or `leaky_relu`.
        dropout: After each further layer.

    Inputs:  per modality `batch channels_m`
    Returns: one output `fused`, `batch num_neurons`, or one per modality in the late schemes;
             losses: none
    Raises:  LayoutMismatch: an elastic scheme without a table
    Example:
        >>> given = {"ct": FeatureSpec.vector(16), "table": FeatureSpec.vector(8)}
        >>> maps, table = FeatureSpec.map(16, (4, 4), (8, 8)), FeatureSpec.vector(8)
        >>> pefusion = PEFusion(given, scheme="joint_separate")
        >>> pefusion.attach({"ct": [maps], "table": [table]}, [])
        >>> pefusion.outputs["fused"].channels
        10
    """

    places: ClassVar[frozenset[str]] = frozenset({"join", "decide"})
    missing: ClassVar[str] = "mask"

    fitted: Tensor

    def __init__(
        self,
        given: Mapping[str, FeatureSpec],
        *,
        scheme: Literal[
            "early",
            "joint_all",
            "joint_separate",
            "late_nn_average",
            "late_elastic_average",
            "late_separate_average",
            "late_meta",
        ] = "late_elastic_average",
        num_neurons: int = 10,
        num_hidden: int = 0,
        activation: Literal["elu", "relu", "leaky_relu"] = "elu",
        dropout: float = 0.0,
    ):
        super().__init__()
        self.given, self.scheme, self.num_neurons = dict(given), scheme, num_neurons
        self.network = partial(
            FullyConnected, num_hidden=num_hidden, activation=activation, dropout=dropout
        )
        self.is_fitted = False
        self.outputs = dict(given)
        if scheme in _EARLY:
            self.outputs = {"fused": FeatureSpec.vector(num_neurons)}

    @property
    def supervised(self) -> dict[str, float]:
        """Every modality's own logits in the late schemes, the fused ones otherwise."""
        return {"final": 1.0} if self.scheme in _EARLY else dict.fromkeys(self.outputs, 1.0)

    def attach(
        self, stages: Mapping[str, Sequence[FeatureSpec]], tasks: Sequence[TaskSpec]
    ) -> None:
        """Tell images from tables, and build the networks or the places of what is fitted."""
        self.tasks = tuple(tasks)
        tables = tuple(name for name in self.given if stages[name][-1].layout == "vector")
        if self.scheme in _ELASTIC and not tables:
            raise LayoutMismatch(
                f"scheme={self.scheme!r} fits an elastic net to a table, and none of "
                f"{', '.join(self.given)} goes through vectors. Use scheme=late_nn_average or "
                "scheme=joint_separate."
            )
        self.groups = self._groups(tables)
        if self.scheme in _EARLY:
            self._build_networks()
        else:
            self._build_places()

    def _groups(self, tables: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        """Which modalities share a network, or a fitted judge."""
        if self.scheme in ("early", "late_meta"):
            return (tuple(self.given),)
        if self.scheme == "joint_all":
            images = tuple((name,) for name in self.given if name not in tables)
            return (*images, tables) if tables else images
        if self.scheme == "late_elastic_average":
            return (tables,)
        if self.scheme == "late_separate_average":
            return tuple((name,) for name in tables)
        return tuple((name,) for name in self.given)

    def _build_networks(self) -> None:
        widths = [sum(self.given[name].channels for name in group) for group in self.groups]
        if self.scheme != "early":
            self.networks = nn.ModuleList(self.network(width, self.num_neurons) for width in widths)
            widths = [self.num_neurons] * len(widths)
        self.classifier = self.network(sum(widths), self.num_neurons)

    def _build_places(self) -> None:
        """A matrix and offsets per fitted judge and task, zero until they are fitted."""
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self.register_load_state_dict_post_hook(_look_whether_fitted)
        if self.scheme == "late_nn_average":
            return
        for j, group in enumerate(self.groups):
            for t, task in enumerate(self.tasks):
                width = (
                    len(group) * task.num_logits
                    if self.scheme == "late_meta"
                    else sum(self.given[name].channels for name in group)
                )
                self.register_buffer(f"weight_{j}_{t}", torch.zeros(task.num_logits, width))
                self.register_buffer(f"bias_{j}_{t}", torch.zeros(task.num_logits))

    def join(self, features: dict[str, Float[Tensor, "batch _"]], context: Context) -> FusionOutput:
        """The networks' vector, or each modality's own beside the verdicts of the elastic nets."""
        if self.scheme in _EARLY:
            parts = [_side_by_side(features, context.present, group) for group in self.groups]
            if self.scheme != "early":
                parts = [net(x) for net, x in zip(self.networks, parts, strict=True)]
            return FusionOutput({"fused": self.classifier(torch.cat(parts, dim=1))})
        if self.scheme not in _ELASTIC or not self.is_fitted:
            return FusionOutput(dict(features))
        verdicts = {}
        for j, group in enumerate(self.groups):
            x = _side_by_side(features, context.present, group)
            verdicts[_name(group)] = self._judge(j, dict.fromkeys((t.name for t in self.tasks), x))
        return FusionOutput(dict(features), logits=verdicts)

    def _judge(self, judge: int, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Logits per task of one fitted judge."""
        return {
            task.name: F.linear(
                inputs[task.name],
                self.get_buffer(f"weight_{judge}_{t}"),
                self.get_buffer(f"bias_{judge}_{t}"),
            )
            for t, task in enumerate(self.tasks)
        }

    def decide(
        self, logits: Mapping[str, Mapping[str, Tensor]], context: Context
    ) -> dict[str, Tensor]:
        """The scheme's verdict on each task."""
        if self.scheme in _EARLY:
            return dict(logits["fused"])
        if self.scheme == "late_meta" and self.is_fitted:
            return self._judge(
                0, {t.name: _stacked(logits, tuple(self.given), t) for t in self.tasks}
            )
        judges: dict[str, tuple[str, ...]] = {name: (name,) for name in self.given}
        if self.scheme in _ELASTIC and self.is_fitted:
            judged = {name for group in self.groups for name in group}
            judges = {name: (name,) for name in self.given if name not in judged}
            judges |= {_name(group): group for group in self.groups}
        there = torch.stack(
            [torch.stack([context.present[n] for n in group]).any(0) for group in judges.values()]
        )
        weights = (there | ~there.any(dim=0)).float()
        weights = weights / weights.sum(dim=0)
        return {
            task.name: logits_of_mean_probs(
                torch.stack([logits[name][task.name] for name in judges]), weights
            )
            for task in self.tasks
        }

    def fit_features(
        self,
        features: Mapping[str, Tensor],
        present: Mapping[str, Bool[Tensor, " cases"]],
        targets: Mapping[str, Int[Tensor, " cases"]],
    ) -> None:
        """Fit the elastic nets, each on the training cases that have a table of its own."""
        if self.scheme not in _ELASTIC:
            return
        found = []
        for group in self.groups:
            x = _side_by_side(features, present, group)
            there = torch.stack([present[name] for name in group]).any(dim=0)
            for task in self.tasks:
                codes = targets[task.name].where(there, torch.tensor(-1))
                found.append(_elastic_net(x, codes, task))
        self._keep(found)

    def fit(
        self, logits: Mapping[str, Mapping[str, Tensor]], targets: Mapping[str, Tensor]
    ) -> None:
        """Fit the meta classifier on validation logits."""
        if self.scheme == "late_meta":
            stacked = {t.name: _stacked(logits, tuple(self.given), t) for t in self.tasks}
            self._keep([_logistic(stacked[t.name], targets[t.name], t) for t in self.tasks])

    def _keep(self, found: Sequence[tuple[Tensor, Tensor] | None]) -> None:
        """Take over what was fitted; nothing where a judge lacks a class to learn from."""
        if any(each is None for each in found):
            return
        places = [(j, t) for j in range(len(self.groups)) for t in range(len(self.tasks))]
        for (j, t), (weight, bias) in zip(places, filter(None, found), strict=True):
            self.get_buffer(f"weight_{j}_{t}").copy_(weight)
            self.get_buffer(f"bias_{j}_{t}").copy_(bias)
        self.fitted.fill_(True)
        self.is_fitted = True


def _look_whether_fitted(fusion: Any, _: Any) -> None:
    """Take the flag out of loaded weights, so that running the fusion reads no values."""
    fusion.is_fitted = bool(fusion.fitted)


def _name(group: Sequence[str]) -> str:
    """What the verdict of an elastic net is called among the outputs."""
    return "elastic:" + "+".join(group)


def _side_by_side(
    features: Mapping[str, Tensor], present: Mapping[str, Tensor], group: Sequence[str]
) -> Float[Tensor, "cases channels"]:
    """Vectors of a group in one, zeros where a case has none."""
    return torch.cat([features[name] * present[name][:, None] for name in group], dim=1)


def _stacked(
    logits: Mapping[str, Mapping[str, Tensor]], names: Sequence[str], task: TaskSpec
) -> Float[Tensor, "cases logits"]:
    return torch.cat([logits[name][task.name] for name in names], dim=1)


def _labelled(
    x: Float[Tensor, "cases channels"], codes: Int[Tensor, " cases"], task: TaskSpec
) -> tuple[Any, Any] | None:
    """Cases with a label as arrays; None where a class has fewer than two."""
    known = codes >= 0
    counts = torch.bincount(codes[known], minlength=len(task.classes))
    if counts.min() < 2:
        return None
    return x[known].double().numpy(), codes[known].numpy()


def _elastic_net(
    x: Float[Tensor, "cases channels"], codes: Int[Tensor, " cases"], task: TaskSpec
) -> tuple[Tensor, Tensor] | None:
    """Weights of the elastic net with the best mean AUROC over stratified folds of the cases."""
    import sklearn
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    data = _labelled(x, codes, task)
    if data is None:
        return None
    # Since 1.8 the l1_ratio says it all, and naming the penalty is deprecated.
    older = tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8)
    model = LogisticRegression(
        solver="saga", random_state=0, **({"penalty": "elasticnet"} if older else {})
    )
    rarest = int(torch.bincount(torch.from_numpy(data[1])).min())
    folds = StratifiedKFold(min(SEARCH_FOLDS, rarest), shuffle=True, random_state=0)
    scoring = "roc_auc" if task.binary else "roc_auc_ovr"
    search = GridSearchCV(model, {k: list(v) for k, v in GRID.items()}, scoring=scoring, cv=folds)
    with warnings.catch_warnings():  # 100 iterations, one of the grid's values, are often too few
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(*data)
    best = search.best_estimator_
    return torch.from_numpy(best.coef_), torch.from_numpy(best.intercept_)


def _logistic(
    x: Float[Tensor, "cases channels"], codes: Int[Tensor, " cases"], task: TaskSpec
) -> tuple[Tensor, Tensor] | None:
    """Weights of a plain logistic regression."""
    from sklearn.linear_model import LogisticRegression

    data = _labelled(x, codes, task)
    if data is None:
        return None
    model = LogisticRegression(max_iter=1000).fit(*data)
    return torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)


__all__ = ["GRID", "FullyConnected", "PEFusion"]
