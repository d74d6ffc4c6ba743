"""Uniform B-splines in closed form, and the Cox-de Boor recursion that defines them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def uniform_knots(
    grid_size: int, order: int, low: float = -1.0, high: float = 1.0
) -> Float[Tensor, " knots"]:
    """Knots of `grid_size` equal intervals on [low, high], with `order` more on each side.

    Returns: `grid_size + 2 * order + 1` knots, float64.
    """
    step = (high - low) / grid_size
    return low + step * torch.arange(-order, grid_size + order + 1, dtype=torch.float64)


def uniform_bspline(
    x: Float[Tensor, "*any"], grid_size: int, order: int, low: float = -1.0, high: float = 1.0
) -> Float[Tensor, "*any bases"]:
    """All B-splines of degree `order` on the uniform grid, at each x, without a recursion.

    Every basis is a shifted copy of one symmetric bump, a difference of truncated powers:

        B_g(x) = 1/k! sum_{i <= k/2} (-1)^i C(k+1, i) max(0, (k+1)/2 - i - d)^k,
        d = |(x - low) / step + k - g - (k+1)/2|,  step = (high - low) / grid_size,  g = 0 ..
        grid_size+k-1

    Intervals are half open, [t_j, t_j+1), which shows only for order 0. Outside the extended grid
    all bases are 0.
    Exact for the uniform grid only.

    Args:
        x: Where to evaluate; any shape.
        grid_size: Intervals between `low` and `high`.
        order: Degree k of the polynomials; 3 is cubic.
        low: First knot of the inner grid.
        high: Last knot of the inner grid.

    Returns: One value per basis, `grid_size + order` of them, in a new last axis.
    """
    step = (high - low) / grid_size
    bases = torch.arange(grid_size + order, device=x.device, dtype=x.dtype)
    if order == 0:
        return (torch.floor((x - low) / step).unsqueeze(-1) == bases).to(x.dtype)
    reach = (order + 1) / 2
    centres = bases + (low / step + reach - order)
    distance = torch.sub(centres, x.unsqueeze(-1), alpha=1 / step).abs()
    falling = torch.sub(reach, distance).clamp(min=0)
    bump = falling**order
    for i in range(1, order // 2 + 1):
        falling = (falling - 1).clamp(min=0)
        bump = torch.add(bump, falling**order, alpha=(-1) ** i * math.comb(order + 1, i))
    return bump / math.factorial(order)


def cox_de_boor(
    x: Float[Tensor, "*any"], knots: Float[Tensor, " knots"], order: int
) -> Float[Tensor, "*any bases"]:
    """B-splines of degree `order` on any increasing knots, by the recursion of Cox and de Boor.

        B_{g,0}(x) = 1 on [t_g, t_g+1), else 0
        B_{g,k}(x) = (x - t_g) / (t_g+k - t_g) B_{g,k-1}(x) + (t_g+k+1 - x) / (t_g+k+1 - t_g+1)
        B_{g+1,k-1}(x)

    The definition that `uniform_bspline` is tested against, and the only one of the two for uneven
    knots.
    """
    x = x.unsqueeze(-1)
    basis = ((x >= knots[:-1]) & (x < knots[1:])).to(x.dtype)
    for k in range(1, order + 1):
        rising = (x - knots[: -k - 1]) / (knots[k:-1] - knots[: -k - 1]) * basis[..., :-1]
        sinking = (knots[k + 1 :] - x) / (knots[k + 1 :] - knots[1:-k]) * basis[..., 1:]
        basis = rising + sinking
    return basis


__all__ = ["cox_de_boor", "uniform_bspline", "uniform_knots"]
