"""HiFuse's fusion block against golden outputs of the released code, and beyond what that takes."""

import pytest
import torch

from fusionzoo.ops.hff import HFF, InvertedResidual, official_blocks
from tests import golden_normal, golden_rule


def official_names(block: int) -> dict[str, str]:
    """Names of the release by our names, for one block."""
    names = [name for name in golden_rule.shapes("hifuse_tiny") if name.startswith(f"fu{block}.")]
    ours = {name: official_blocks({name: torch.zeros(1)}) for name in names}
    return {
        next(iter(found)).partition(".")[2]: name.partition(".")[2]
        for name, found in ours.items()
        if found
    }


@pytest.mark.parametrize(
    ("name", "block", "before"), [("hifuse_hff_first", 1, None), ("hifuse_hff_with_prev", 2, 8)]
)
def test_golden(name, block, before):
    module = HFF(16, 16, 16, before, reduction=4)
    official = official_names(block)
    golden_normal.assert_golden(golden_normal.fill_module(module, official), name, official)


def test_official_names_of_blocks():
    shapes = golden_rule.shapes("hifuse_tiny")
    found = official_blocks({name: torch.empty(shape) for name, shape in shapes.items()})
    for level, width in enumerate((96, 192, 384, 768)):
        module = HFF(width, width, width, width // 2 if level else None)
        theirs = {
            name.removeprefix(f"{level}."): tensor.shape
            for name, tensor in found.items()
            if name.startswith(f"{level}.")
        }
        assert theirs == {name: tensor.shape for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)])
def test_channels_and_sizes_may_differ(size):
    dims = len(size)
    module = HFF(6, 10, 8, 5, dims=dims)
    finer = tuple(2 * n + 1 for n in size)
    inputs = [
        torch.randn(3, 6, *size, requires_grad=True),
        torch.randn(3, 10, *finer, requires_grad=True),
        torch.randn(3, 5, *finer, requires_grad=True),
    ]
    fused = module(*inputs)
    assert fused.shape == (3, 8, *size)
    fused.square().sum().backward()
    assert all(x.grad.any() for x in inputs)
    assert [name for name, p in module.named_parameters() if not p.grad.any()] == []


def test_a_depthwise_convolution_has_a_kernel_per_channel():
    full, depthwise = InvertedResidual(12, 4), InvertedResidual(12, 4, depthwise=True)
    assert full.conv.weight.shape == (12, 12, 3, 3)
    assert depthwise.conv.weight.shape == (12, 1, 3, 3)
    x = torch.randn(2, 12, 4, 4)
    with torch.no_grad():
        full.conv.weight.zero_()
        full.conv.weight[range(12), range(12)] = depthwise.conv.weight[:, 0]
    rest = {n: p for n, p in depthwise.state_dict().items() if n != "conv.weight"}
    full.load_state_dict(rest, strict=False)
    torch.testing.assert_close(full.eval()(x), depthwise.eval()(x))
