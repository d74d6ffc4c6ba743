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


@pytest.mark.parametrize("cell", [(3,), (1, 2), (2, 1, 3)])
def test_any_cell_along_any_number_of_axes(cell):
    module = PatchMerging(4, 5, cell=cell)
    x = torch.randn(2, 4, *(2 * part for part in cell))
    found = module(x)
    assert found.shape == (2, 5, *(2 for _ in cell))
    last = tuple(slice(part, None) for part in cell)
    positions = x[(slice(None), slice(None), *last)]
    axes = range(positions.ndim - 1, 1, -1)
    merged = positions.permute(0, *axes, 1).flatten(1)
    expected = module.reduction(module.norm(merged))
    torch.testing.assert_close(found[(slice(None), slice(None), *(1 for _ in cell))], expected)


@pytest.mark.parametrize(
    ("cell", "size", "told"),
    [
        ((2, 2), (4, 5), "cells of 2x2 out of a map of 4x5, which must be multiples"),
        ((2, 2, 2), (3, 4, 4), "cells of 2x2x2 out of a map of 3x4x4"),
    ],
)
def test_maps_that_cells_do_not_fill_are_refused(cell, size, told):
    with pytest.raises(LayoutMismatch, match=told):
        PatchMerging(2, cell=cell)(torch.zeros(1, 2, *size))


def test_onto_a_size_that_cells_overlap() -> None:
    torch.manual_seed(0)
    merge, x = PatchMerging(2, 3, cell=(2, 3)), torch.randn(2, 2, 5, 7)
    padded = torch.nn.functional.pad(x, (0, 2, 0, 1))
    assert torch.equal(merge.onto(x, (3, 3)), merge(padded))
    assert torch.equal(merge.onto(padded, (3, 3)), merge(padded))
