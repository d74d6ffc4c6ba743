"""A support vector machine with probabilities: fitted by scikit-learn, kept and run as tensors.

Source: Cortes and Vapnik, Machine Learning 20, 1995; Platt, Advances in Large Margin Classifiers,
1999, as scikit-learn's `CalibratedClassifierCV(SVC(), ensemble=False)` has them together.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

#: Folds in which the decisions that the sigmoids are fitted to are made.
FOLDS = 5


class SupportVectorMachine(nn.Module):
    """p_c = s_c / sum s with s_c = 1 / (1 + exp(a_c d_c + b_c)) and d_c the decision for class c.

    Decisions come from f_ij = sum_v w_ijv exp(-gamma |x - v|^2) + t_ij over support vectors v, one
    for each pair of classes i < j and above 0 for i: d_c counts the pairs that c wins, plus a third
    of r / (1 + |r|), r being the sum of what speaks for c. Two classes have one f, above 0 for the
    second, and p of the second is its s.

    The number of support vectors is known after the fit only; a state dict with any number loads.

    Args:
        num_classes: Classes of the task. Those with fewer than two cases in the fit get p = 0.
    """

    #: Buffers whose sizes are those of the fit.
    sized_by_fit: ClassVar[frozenset[str]] = frozenset(
        {"classes", "vectors", "weights", "thresholds", "slopes", "offsets"}
    )

    classes: Tensor
    vectors: Tensor
    weights: Tensor
    thresholds: Tensor
    slopes: Tensor
    offsets: Tensor
    gamma: Tensor

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = num_classes
        self.register_buffer("classes", torch.zeros(0, dtype=torch.long))
        self.register_buffer("vectors", torch.zeros(0, 0))
        self.register_buffer("weights", torch.zeros(0, 0))
        for name in ("thresholds", "slopes", "offsets"):
            self.register_buffer(name, torch.zeros(0))
        self.register_buffer("gamma", torch.ones(()))

    @property
    def fitted(self) -> bool:
        """Whether there is anything to say."""
        return len(self.classes) > 0

    def fit(self, x: Float[Tensor, "cases columns"], codes: Int[Tensor, " cases"]) -> None:
        """Fit to the cases that have a label; nothing happens where they are all of one class.

        C is 1 and gamma 1 / (columns * variance). The sigmoids are fitted to decisions on cases
        left out, in up to `FOLDS` stratified folds.
        """
        counts = torch.bincount(codes[codes >= 0], minlength=self.num_classes)
        usual = (counts >= 2).nonzero()[:, 0]
        if len(usual) < 2:
            return
        kept = torch.isin(codes, usual)
        found = _calibrated(x[kept], codes[kept], folds=min(FOLDS, int(counts[usual].min())))
        for name, values in found.items():
            own = self.get_buffer(name)
            setattr(self, name, torch.as_tensor(values).to(own))

    def forward(self, x: Float[Tensor, "cases columns"]) -> Float[Tensor, "cases classes"]:
        """Probabilities of all classes."""
        x = x.to(self.vectors)
        squares = (x[:, None] - self.vectors).square().sum(dim=-1)
        pairs = torch.exp(-self.gamma * squares) @ self.weights.mT + self.thresholds
        decisions = pairs if len(self.classes) == 2 else self._of_each_class(pairs)
        sigmoids = torch.sigmoid(-(self.slopes * decisions + self.offsets))
        if len(self.classes) == 2:
            known = torch.cat([1 - sigmoids, sigmoids], dim=1)
        else:
            total = sigmoids.sum(dim=1, keepdim=True)
            even = torch.full_like(sigmoids, 1 / len(self.classes))
            known = torch.where(total > 0, sigmoids / total, even)
        return known.new_zeros(len(x), self.num_classes).index_copy(1, self.classes, known)

    def _of_each_class(self, pairs: Float[Tensor, "cases pairs"]) -> Float[Tensor, "cases classes"]:
        """Wins of each class among its pairs, and how clear they are."""
        wins, clear = (pairs.new_zeros(len(pairs), len(self.classes)) for _ in range(2))
        for number, (i, j) in enumerate(combinations(range(len(self.classes)), 2)):
            for place, own in ((i, pairs[:, number]), (j, -pairs[:, number])):
                clear[:, place] += own
                wins[:, place] += own > 0 if place == j else own >= 0
        return wins + clear / (3 * (clear.abs() + 1))

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for name in self.sized_by_fit:
            told, own = state_dict.get(prefix + name), self.get_buffer(name)
            if told is not None and told.shape != own.shape:
                setattr(self, name, own.new_zeros(told.shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _calibrated(
    x: Float[Tensor, "cases columns"], codes: Int[Tensor, " cases"], *, folds: int
) -> dict[str, Any]:
    """Arrays of the machine that scikit-learn fits, by the names of their buffers."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import SVC

    cv = StratifiedKFold(folds, shuffle=True, random_state=0)
    model = CalibratedClassifierCV(SVC(), ensemble=False, cv=cv)
    model.fit(x.double().numpy(), codes.numpy())
    (calibrated,) = model.calibrated_classifiers_
    machine = calibrated.estimator
    return {
        "classes": machine.classes_,
        "vectors": machine.support_vectors_,
        "weights": _by_pair(machine),
        "thresholds": machine.intercept_,
        "gamma": 1 / (x.shape[1] * x.double().var(correction=0)) if x.var() > 0 else torch.ones(()),
        "slopes": [one.a_ for one in calibrated.calibrators],
        "offsets": [one.b_ for one in calibrated.calibrators],
    }


def _by_pair(machine: Any) -> Float[Tensor, "pairs vectors"]:
    """Weights of all support vectors for each pair of classes; 0 for those of other classes."""
    dual, ends = torch.as_tensor(machine.dual_coef_), machine.n_support_.cumsum()
    if len(machine.classes_) == 2:
        return dual
    spans = [slice(end - count, end) for end, count in zip(ends, machine.n_support_, strict=True)]
    pairs = []
    for i, j in combinations(range(len(spans)), 2):
        row = torch.zeros(dual.shape[1], dtype=dual.dtype)
        row[spans[i]], row[spans[j]] = dual[j - 1, spans[i]], dual[i, spans[j]]
        pairs.append(row)
    return torch.stack(pairs)


__all__ = ["FOLDS", "SupportVectorMachine"]
