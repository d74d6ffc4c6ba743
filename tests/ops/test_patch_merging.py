"""Patch merging against golden outputs of the released code."""

import pytest
import torch

from fusionzoo.errors import LayoutMismatch
from fusionzoo.ops.patch_merging import PatchMerging
from tests import golden_normal


def test_golden():
    """The release takes and gives channels last, tokens for a map."""
    golden = golden_normal.load("patch_merging")
    module = golden_normal.fill_module(PatchMerging(8))
    x = golden["in"]["x"].requires_grad_()
    y = module(x.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(y, golden["out"]["y0"], atol=2e-5, rtol=1e-4)
    (y * golden["in"]["dout_y0"]).sum().backward()
    found = {"in:x": x.grad} | {f"param:{n}": p.grad for n, p in module.named_parameters()}
    assert set(found) == set(golden["grad"])
    for key, theirs in golden["grad"].items():
        torch.testing.assert_close(found[key], theirs, atol=1e-4, rtol=1e-3)


def test_odd_maps_are_refused():
    with pytest.raises(LayoutMismatch, match="out of a map of 4x5, which must be even"):
        PatchMerging(2)(torch.zeros(1, 2, 4, 5))
