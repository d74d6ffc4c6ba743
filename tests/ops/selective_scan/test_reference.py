"""The recurrence against its formula, one step at a time in Python numbers."""

import math

import torch

from fusionzoo.ops.selective_scan import reference
from tests.ops.selective_scan.cases import random_scan


def by_hand(scan, item, channel):
    """One channel of one item, written from the equations."""
    group = channel // (scan.A.shape[0] // scan.B.shape[1])
    states = [0.0] * scan.A.shape[1]
    result = []
    for t in range(scan.u.shape[2]):
        u = scan.u[item, channel, t].item()
        x = scan.delta[item, channel, t].item() + scan.delta_bias[channel].item()
        x = math.log(1 + math.exp(x))
        for n, h in enumerate(states):
            decay = math.exp(x * scan.A[channel, n].item())
            states[n] = decay * h + x * scan.B[item, group, n, t].item() * u
        read = [scan.C[item, group, n, t].item() * h for n, h in enumerate(states)]
        result.append(sum(read) + scan.D[channel].item() * u)
    return result


def test_is_the_formula():
    scan = random_scan(2, 6, 3, 4, 7, dtype=torch.float64)
    y = reference.scan(*scan)
    for item, channel in ((0, 0), (0, 3), (1, 5)):
        expected = torch.tensor(by_hand(scan, item, channel), dtype=torch.float64)
        torch.testing.assert_close(y[item, channel], expected)


def test_without_softplus_a_step_of_zero_changes_nothing():
    scan = random_scan(1, 2, 1, 3, 5, softplus=False, extras=False, dtype=torch.float64)
    scan.delta[..., 2] = 0
    scan.C[..., 2] = scan.C[..., 1]
    y = reference.scan(*scan)
    torch.testing.assert_close(y[..., 2], y[..., 1])


def test_gradients():
    scan = random_scan(1, 4, 2, 2, 3, dtype=torch.float64)
    inputs = [x.requires_grad_() for x in scan[:-1]]
    assert torch.autograd.gradcheck(lambda *x: reference.scan(*x, True), inputs)
