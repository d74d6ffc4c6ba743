"""A linear layer of a map by convolutions: the same values and gradients as by matrix products."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fusionzoo.ops import linear2d as linear
from fusionzoo.ops.linear2d import Linear2d, linear2d


@pytest.fixture
def convolutions(monkeypatch):
    """How often one is called, with two threads, which they need."""
    called = []
    conv2d = F.conv2d
    monkeypatch.setattr(F, "conv2d", lambda *a, **k: called.append(1) or conv2d(*a, **k))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield called
    torch.set_num_threads(threads)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_many_positions_are_convolved_to_the_same_values(convolutions, bias, memory_format):
    torch.manual_seed(1)
    layer = Linear2d(24, 40, bias=bias)
    x = torch.randn(2, 24, 16, 17).contiguous(memory_format=memory_format).requires_grad_()
    dy = torch.randn(2, 40, 16, 17)
    leaves = [x, *layer.parameters()]
    y = layer(x)
    assert convolutions == [1]
    assert y.is_contiguous(memory_format=torch.channels_last)
    found = torch.autograd.grad(y, leaves, dy)
    assert convolutions == [1, 1]  # the input's gradient; the weight's is a product
    expected = nn.Linear.forward(layer, x.movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(found, torch.autograd.grad(expected, leaves, dy), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_only_wanted_gradients_are_computed(convolutions):
    layer = Linear2d(4, 4)
    layer(torch.zeros(1, 4, 32, 32)).sum().backward()
    assert convolutions == [1]
    assert layer.weight.grad is not None


@pytest.mark.parametrize("case", ["few positions", "one thread", "float64", "autocast"])
def test_everything_else_is_a_product(convolutions, case):
    positions = 4 if case == "few positions" else 32
    dtype = torch.float64 if case == "float64" else torch.float32
    if case == "one thread":
        torch.set_num_threads(1)
    x, weight = torch.randn(1, 4, positions, positions, dtype=dtype), torch.randn(3, 4, dtype=dtype)
    with torch.autocast("cpu", enabled=case == "autocast"):
        y = linear2d(x, weight)
    expected = F.linear(x.movedim(1, -1), weight).movedim(-1, 1)
    tolerance = 0.1 if case == "autocast" else 1e-5
    torch.testing.assert_close(y.to(dtype), expected, rtol=tolerance, atol=tolerance)
    assert convolutions == []


def test_it_can_be_differentiated_twice(monkeypatch):
    monkeypatch.setattr(linear, "_pays", lambda x, weight: True)
    torch.manual_seed(0)
    x = torch.randn(1, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(linear2d, (x, weight, bias))
    assert torch.autograd.gradgradcheck(linear2d, (x, weight, bias))
