"""The product in place of a strided convolution: the same values and gradients, either way."""

import pytest
import torch
from torch.nn import functional as F

from fusionzoo.ops.halving_conv import HalvingConv2d


@pytest.mark.parametrize("size", [(4, 4), (5, 3), (12, 10)])
def test_it_is_the_convolution_whichever_way_it_takes(size: tuple[int, int]):
    torch.manual_seed(1)
    conv = HalvingConv2d(5, 20).double()
    x = torch.randn(2, 5, *size, dtype=torch.float64, requires_grad=True)
    leaves = [x, conv.weight, conv.bias]
    y, expected = conv(x), F.conv2d(x, conv.weight, conv.bias, stride=2, padding=1)
    torch.testing.assert_close(y, expected)
    dy = torch.randn_like(expected)
    for found, true in zip(
        torch.autograd.grad(y, leaves, dy), torch.autograd.grad(expected, leaves, dy), strict=True
    ):
        torch.testing.assert_close(found, true)


def test_few_positions_make_it_a_product_and_many_do_not(monkeypatch: pytest.MonkeyPatch):
    called = []
    unfold = F.unfold
    monkeypatch.setattr(F, "unfold", lambda *a, **k: called.append(1) or unfold(*a, **k))
    conv = HalvingConv2d(3, 8)
    conv(torch.zeros(2, 3, 8, 8))
    assert not called
    assert conv(torch.zeros(1, 3, 4, 4)).shape == (1, 8, 2, 2)
    assert called
