"""Shared convolutional pieces against golden outputs and their definitions."""

import pytest
import torch

from fusionzoo.ops.conv import PointwiseConv3d, SqueezeExcite, channel_shuffle, resize_to
from tests import golden_rule


def test_squeeze_excite_golden():
    golden = golden_rule.load("se_block")
    gate = SqueezeExcite(32)
    names = {"excite.0": "squeeze", "excite.2": "excite"}
    gate.load_state_dict(
        {
            names[k.rpartition(".")[0]] + "." + k.rpartition(".")[2]: v
            for k, v in golden["param"].items()
        }
    )
    torch.testing.assert_close(gate(golden["in"]["x"]), golden["out"]["y"], rtol=1e-4, atol=1e-4)


def test_squeeze_excite_takes_any_number_of_axes():
    gate = SqueezeExcite(8)
    for space in [(5,), (5, 4), (2, 3, 4)]:
        assert gate(torch.randn(2, 8, *space)).shape == (2, 8, *space)


@pytest.mark.parametrize(("groups", "name"), [(3, "g3"), (12, "g12")])
def test_channel_shuffle_golden(groups, name):
    golden = golden_rule.load("channel_shuffle")
    assert torch.equal(channel_shuffle(golden["in"]["x"], groups), golden["out"][name])


def test_resize_to_is_linear_between_corners():
    ramp = torch.linspace(0, 1, 3).reshape(1, 1, 3, 1, 1)
    resized = resize_to(ramp, (5, 2, 1))
    torch.testing.assert_close(resized[0, 0, :, 0, 0], torch.linspace(0, 1, 5))
    assert resized.shape == (1, 1, 5, 2, 1)
    assert resize_to(ramp, (3, 1, 1)) is ramp


@pytest.mark.parametrize(("stride", "bias"), [(1, True), (2, False)])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_pointwise_convolution_is_torchs(stride, bias, last, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    torch.manual_seed(0)
    plain = torch.nn.Conv3d(3, 5, 1, stride=stride, bias=bias).double()
    ours = PointwiseConv3d(3, 5, stride=stride, bias=bias).double()
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 3, 4, 5, dtype=torch.float64)
    if last:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    x.requires_grad_()
    found, expected = ours(x), plain(x)
    torch.testing.assert_close(found, expected)
    seed = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(found, [x, *ours.parameters()], seed),
        torch.autograd.grad(expected, [x, *plain.parameters()], seed),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    if threads == 1:  # on more, torch must have that many to keep the channels last
        assert found.is_contiguous(memory_format=torch.channels_last_3d)
