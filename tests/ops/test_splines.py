"""The closed form against the recursion that defines B-splines, and against the released code."""

import numpy as np
import pytest
import torch

from fusionzoo.ops.splines import cox_de_boor, uniform_bspline, uniform_knots
from tests import golden_rule

X = torch.linspace(-4, 4, 1601, dtype=torch.float64)


def test_knots_extend_the_inner_grid_by_the_order() -> None:
    expected = np.arange(-2.2, 2.3, 0.4)
    np.testing.assert_allclose(uniform_knots(5, 3).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("grid_size", [1, 4, 5, 9])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.5, 3.0)])
def test_closed_form_equals_the_recursion(
    order: int, grid_size: int, low: float, high: float
) -> None:
    knots = uniform_knots(grid_size, order, low, high)
    x = torch.cat([X, knots])  # on the knots too
    expected = cox_de_boor(x, knots, order)
    actual = uniform_bspline(x, grid_size, order, low, high)
    assert actual.shape == (len(x), grid_size + order)
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=0)


def test_order_0_is_the_half_open_interval() -> None:
    x = torch.tensor([-1.0, -0.75, -0.5, 0.0, 0.5, 1.0], dtype=torch.float64)
    expected = cox_de_boor(x, uniform_knots(4, 0), 0)
    torch.testing.assert_close(uniform_bspline(x, 4, 0), expected, atol=0, rtol=0)
    assert expected[-1].sum() == 0  # the last knot belongs to no interval


@pytest.mark.parametrize("order", [2, 3, 4])
def test_gradient_equals_the_recursions(order: int) -> None:
    x = torch.linspace(-2.3, 2.3, 200, dtype=torch.float64, requires_grad=True)
    weights = torch.arange(5.0 + order, dtype=torch.float64).sin()
    (actual,) = torch.autograd.grad((uniform_bspline(x, 5, order) @ weights).sum(), x)
    (expected,) = torch.autograd.grad(
        (cox_de_boor(x, uniform_knots(5, order), order) @ weights).sum(), x
    )
    torch.testing.assert_close(actual, expected, atol=1e-10, rtol=0)


def test_bases_sum_to_one_inside_and_zero_beyond() -> None:
    inside = X[X.abs() <= 1]
    total = uniform_bspline(inside, 5, 3).sum(dim=-1)
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-12, rtol=0)
    assert uniform_bspline(X[X.abs() > 2.2], 5, 3).abs().max() == 0


def test_golden_basis_of_the_released_code() -> None:
    golden = golden_rule.load("bspline_basis")
    actual = uniform_bspline(golden["in"]["x"], 5, 3)
    torch.testing.assert_close(actual, golden["out"]["basis"], atol=1e-5, rtol=0)


def test_uneven_knots_follow_the_definition() -> None:
    knots = torch.tensor([0.0, 1.0, 3.0, 4.0], dtype=torch.float64)
    x = torch.tensor([0.5, 2.0, 3.5], dtype=torch.float64)
    tent = torch.tensor([[0.5, 0.0], [0.5, 0.5], [0.0, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(cox_de_boor(x, knots, 1), tent)
