"""Dense 3x3x3 convolution against torch's own, forward, backward and twice backward."""

import pytest
import torch
import torch.nn.functional as F

from fusionzoo.ops import dense_conv
from fusionzoo.ops.dense_conv import DenseConv3d, dense_conv3d

#: Inputs, outputs, size: few outputs; more channels than positions; neither.
CASES = [
    (6, 2, (3, 4, 5)),
    (6, 2, (1, 1, 1)),
    (60, 5, (2, 3, 4)),
    (60, 5, (1, 1, 2)),
    (4, 5, (3, 3, 2)),
]


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch):
    monkeypatch.setattr(dense_conv, "MANY_CHANNELS", 50)


def tensors(inputs, outputs, size, dtype=torch.float64):
    torch.manual_seed(0)
    shapes = ((2, inputs, *size), (outputs, inputs, 3, 3, 3), (outputs,))
    return tuple(torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes)


def plain(x, weight, bias=None):
    return F.conv3d(x, weight, bias, padding=1)


def gradients(convolve, given, seed):
    return torch.autograd.grad(convolve(*given), given, seed)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last_3d])
def test_equals_torch(case, dtype, close, memory):
    x, weight, bias = tensors(*case, dtype)
    x = x.detach().contiguous(memory_format=memory).requires_grad_()
    theirs = plain(x, weight, bias)
    seed = torch.randn_like(theirs)
    pairs = [(dense_conv3d(x, weight, bias), theirs)]
    pairs += zip(
        gradients(dense_conv3d, (x, weight, bias), seed),
        gradients(plain, (x, weight, bias), seed),
        strict=True,
    )
    for ours, other in pairs:
        assert ours.shape == other.shape
        assert (ours - other).norm() <= close * other.norm()


@pytest.mark.parametrize("case", CASES[:4], ids=str)
def test_its_own_gradients_are_used_where_they_pay(case, monkeypatch):
    def refused(*args, **options):
        raise AssertionError("torch's gradient of the weight")

    monkeypatch.setattr(dense_conv, "_few_gradients", refused)
    monkeypatch.setattr(dense_conv, "_many_gradients", refused)
    x, weight, _ = tensors(*case)
    with pytest.raises(AssertionError, match="gradient of the weight"):
        dense_conv3d(x, weight).sum().backward()
    x, weight, _ = tensors(*CASES[-1])
    dense_conv3d(x, weight).sum().backward()
    assert weight.grad.any()


@pytest.mark.parametrize("case", [(3, 2, (2, 2, 1)), (51, 5, (1, 1, 1))], ids=str)
def test_gradients_and_their_gradients(case):
    x, weight, _ = tensors(*case)
    assert torch.autograd.gradcheck(dense_conv3d, (x, weight), fast_mode=True)
    assert torch.autograd.gradgradcheck(dense_conv3d, (x, weight), fast_mode=True)


@pytest.mark.parametrize("case", [CASES[0], CASES[2]], ids=str)
def test_what_is_frozen_gets_no_gradient(case):
    x, weight, _ = tensors(*case)
    dense_conv3d(x.detach(), weight).sum().backward()
    assert x.grad is None
    assert weight.grad.any()
    weight.grad = None
    dense_conv3d(x, weight.detach()).sum().backward()
    assert weight.grad is None
    assert x.grad.any()


def test_the_layer_is_a_convolution_with_its_weights():
    torch.manual_seed(0)
    ours, theirs = DenseConv3d(3, 2), torch.nn.Conv3d(3, 2, 3, padding=1)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 2, 3, 4)
    torch.testing.assert_close(ours(x), theirs(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours(x).dtype == theirs(x).dtype == torch.bfloat16
