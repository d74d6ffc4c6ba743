"""Support vector machines as tensors: scikit-learn's probabilities, saved and loaded."""

import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC
from torch import Tensor

from fusionzoo.ops.support_vectors import SupportVectorMachine


def cases(num_classes: int, count: int = 90) -> tuple[Tensor, Tensor]:
    """Overlapping clouds, one per class, of different scales along the columns."""
    torch.manual_seed(0)
    codes = torch.arange(count) % num_classes
    x = torch.randn(count, 4) * torch.tensor([1.0, 0.5, 2.0, 0.1])
    return x + codes[:, None] * torch.tensor([0.7, -0.5, 0.0, 0.1]), codes


def judge(x: Tensor, codes: Tensor) -> CalibratedClassifierCV:
    cv = StratifiedKFold(5, shuffle=True, random_state=0)
    return CalibratedClassifierCV(SVC(), ensemble=False, cv=cv).fit(x.double(), codes)


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_probabilities_are_scikit_learns(num_classes: int) -> None:
    x, codes = cases(num_classes)
    machine = SupportVectorMachine(num_classes)
    machine.fit(x, codes)
    new = torch.randn(40, 4) * 3
    expected = judge(x, codes).predict_proba(new.double())
    np.testing.assert_allclose(machine(new).numpy(), expected, atol=1e-5)
    assert np.ptp(expected) > 0.5


def test_rare_classes_and_unlabelled_cases_take_no_part() -> None:
    x, codes = cases(3)
    codes = torch.where(codes == 0, 0, codes + 1)  # of five classes, 1 has no case
    codes[:10], codes[10] = -1, 4
    machine = SupportVectorMachine(5)
    machine.fit(x, codes)
    kept = (codes >= 0) & (codes < 4)
    expected = judge(x[kept], codes[kept]).predict_proba(x.double())
    found = machine(x).numpy()
    np.testing.assert_allclose(found[:, [0, 2, 3]], expected, atol=1e-5)
    assert not found[:, [1, 4]].any()


def test_few_cases_have_fewer_folds() -> None:
    x, codes = cases(2, 8)
    codes[:] = torch.tensor([0, 0, 0, 0, 0, 1, 1, -1])
    machine = SupportVectorMachine(2)
    machine.fit(x, codes)
    assert machine.fitted
    assert torch.isfinite(machine(x)).all()


@pytest.mark.parametrize("codes", [[-1] * 6, [0] * 6, [0, 0, 0, 0, 0, 1]])
def test_one_class_teaches_nothing(codes: list[int]) -> None:
    machine = SupportVectorMachine(2)
    machine.fit(torch.randn(6, 3), torch.tensor(codes))
    assert not machine.fitted


def test_constant_columns() -> None:
    machine = SupportVectorMachine(2)
    machine.fit(torch.ones(12, 3), torch.arange(12) % 2)
    np.testing.assert_allclose(machine(torch.ones(2, 3)).numpy(), 0.5, atol=0.05)


def test_what_was_fitted_is_saved_and_loaded() -> None:
    x, codes = cases(3)
    machine = SupportVectorMachine(3)
    machine.fit(x, codes)
    again = torch.nn.Sequential(SupportVectorMachine(3))
    again.load_state_dict(torch.nn.Sequential(machine).state_dict())
    assert torch.equal(again(x), machine(x))
    again.load_state_dict(torch.nn.Sequential(SupportVectorMachine(3)).state_dict())
    assert not again[0].fitted
