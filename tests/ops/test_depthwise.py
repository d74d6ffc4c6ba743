"""Depth-wise convolution against torch's own, forward, backward and twice backward."""

import pytest
import torch
import torch.nn.functional as F

from fusionzoo.ops.depthwise import DepthwiseConv3d, depthwise_conv3d


def tensors(size: tuple[int, ...], kernel: int, dtype=torch.float64) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=dtype, requires_grad=True)
    weight = torch.randn(3, 1, kernel, kernel, kernel, dtype=dtype, requires_grad=True)
    return x, weight


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 4, 3), (7, 6, 5)])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last_3d])
def test_equals_torch(size, kernel, dtype, close, memory):
    x, weight = tensors(size, kernel, dtype)
    x = x.detach().contiguous(memory_format=memory).requires_grad_()
    ours = depthwise_conv3d(x, weight)
    theirs = F.conv3d(x, weight, padding=kernel // 2, groups=3)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=close)
    seed = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad(ours, (x, weight), seed),
        torch.autograd.grad(theirs, (x, weight), seed),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=close, atol=10 * close)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last_3d])
def test_gradients_and_their_gradients(memory):
    x, weight = tensors((2, 3, 2), 3)
    inputs = x.detach().contiguous(memory_format=memory).requires_grad_(), weight
    assert torch.autograd.gradcheck(depthwise_conv3d, inputs)
    assert torch.autograd.gradgradcheck(depthwise_conv3d, inputs)


def test_a_frozen_input_or_weight_gets_no_gradient():
    x, weight = tensors((2, 3, 2), 3)
    depthwise_conv3d(x.detach(), weight).sum().backward()
    assert x.grad is None
    assert weight.grad.any()
    depthwise_conv3d(x, weight.detach()).sum().backward()
    assert x.grad.any()


def test_gradients_of_maps_that_are_not_contiguous():
    x, weight = tensors((4, 3, 2), 3)
    turned = x.transpose(2, 4)
    grads = [
        torch.autograd.grad(conv.square().sum(), (x, weight))
        for conv in (
            depthwise_conv3d(turned, weight),
            F.conv3d(turned, weight, padding=1, groups=3),
        )
    ]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_mixed_precision_keeps_torch_gradients():
    x, weight = tensors((2, 3, 2), 3, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = depthwise_conv3d(x, weight)
    y.float().sum().backward()
    assert (y.dtype, weight.grad.dtype) == (torch.bfloat16, torch.float32)


def test_loads_the_weights_of_a_grouped_convolution():
    plain = torch.nn.Conv3d(4, 4, 5, padding=2, groups=4, bias=False)
    ours = DepthwiseConv3d(4, 5)
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(1, 4, 3, 4, 5)
    torch.testing.assert_close(ours(x), plain(x))
