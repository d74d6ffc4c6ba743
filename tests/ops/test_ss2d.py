"""SS2D and its parts against golden outputs of the released code, and by hand."""

import math

import pytest
import torch
from torch import nn

from fusionzoo.ops.ss2d import SS2D, LayerNorm2d, cross_merge, cross_scan
from tests import golden_normal


def test_cross_scan_and_merge_golden():
    golden = golden_normal.load("cross_scan_merge")
    assert torch.equal(cross_scan(golden["in"]["x"]), golden["out"]["scan_cross2d"])
    merged = cross_merge(golden["in"]["ys"].flatten(3), 4, 5)
    torch.testing.assert_close(merged.flatten(2), golden["out"]["merge_cross2d"])


def test_merging_a_scan_gives_the_map_four_times():
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(cross_merge(cross_scan(x), 4, 5), 4 * x)


def test_scan_and_merge_are_each_others_gradients():
    x = torch.randn(2, 3, 2, 5, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 4, 3, 10, dtype=torch.float64, requires_grad=True)
    for run, leaf in ((cross_scan, x), (lambda y: cross_merge(y, 2, 5), y)):
        assert torch.autograd.gradcheck(run, leaf)
        assert torch.autograd.gradgradcheck(run, leaf)
    inner = (cross_scan(x) * y).sum()
    torch.testing.assert_close((x * cross_merge(y, 2, 5)).sum(), inner)


@pytest.mark.parametrize("backend", ["reference", "torch", "auto"])
def test_ss2d_golden(backend):
    module = golden_normal.fill_module(SS2D(32, backend=backend))
    golden_normal.assert_golden(module, "ss2d_noz")


def test_sizes_and_gradients_with_more_states():
    module = SS2D(20, num_states=3, ratio=2.0)
    x = torch.randn(1, 20, 3, 5)
    y = module(x)
    assert y.shape == x.shape
    assert module.x_proj_weight.shape == (4, 2 + 2 * 3, 40)
    y.square().sum().backward()
    assert [name for name, p in module.named_parameters() if not p.grad.any()] == []


def test_first_steps_and_rates():
    module = SS2D(64, num_states=4)
    steps = nn.functional.softplus(module.dt_projs_bias)
    assert 1e-3 * 0.999 <= steps.min() < 2e-3
    assert 0.05 < steps.max() <= 0.1001
    torch.testing.assert_close(module.A_logs[5].exp(), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert module.dt_projs_weight.abs().max() <= 1 / math.sqrt(4)


def test_a_norm_over_channels_is_the_plain_one():
    x = torch.randn(2, 6, 3, 4)
    ours, plain = LayerNorm2d(6), nn.LayerNorm(6)
    plain.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), plain(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
