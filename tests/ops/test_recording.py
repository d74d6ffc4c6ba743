"""A recorded graph has torch's own operators, for any number of cases."""

import pytest
import torch

from fusionzoo.ops.dense_conv import DenseConv3d
from fusionzoo.ops.depthwise import DepthwiseConv3d
from fusionzoo.ops.halving_conv import HalvingConv2d
from fusionzoo.ops.recording import is_plain_cpu, is_recorded


class Says(torch.nn.Module):
    def forward(self, x):
        return x + 1 if is_recorded() else x


def test_it_is_told_while_a_program_is_exported():
    x = torch.zeros(2)
    assert not is_recorded()
    assert torch.equal(torch.export.export(Says(), (x,)).module()(x), x + 1)
    assert torch.equal(Says()(x), x)


def test_ways_of_its_own_are_for_a_cpu_in_its_own_precision(monkeypatch):
    x = torch.zeros(2)
    assert is_plain_cpu(x)
    assert not is_plain_cpu(x.to("meta"))
    with torch.autocast("cpu"):
        assert not is_plain_cpu(x)
    monkeypatch.setattr("fusionzoo.ops.recording.is_recorded", lambda: True)
    assert not is_plain_cpu(x)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (DenseConv3d(4, 2), (2, 4, 2, 3, 3)),
        (DepthwiseConv3d(4, 3), (2, 4, 2, 3, 3)),
        (HalvingConv2d(4, 64), (2, 4, 4, 4)),
    ],
    ids=["few outputs", "depth-wise", "more channels than positions"],
)
def test_any_number_of_cases(layer, shape):
    x = torch.randn(shape).contiguous()
    dynamic = ({0: torch.export.Dim("batch", min=2)},)
    program = torch.export.export(layer, (x,), dynamic_shapes=dynamic)
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not [name for name in names if "fusionzoo" in name]
    more = torch.randn(7, *shape[1:])
    torch.testing.assert_close(program.module()(more), layer(more))
