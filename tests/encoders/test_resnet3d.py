"""DAFT's backbone: its published size, its block around the released one's numbers, its shapes."""

import pytest
import torch

from fusionzoo.encoders.resnet3d import ResidualBlock, ResNet3D
from fusionzoo.errors import BadOption
from fusionzoo.models.assemble import assemble_meta
from fusionzoo.ops.modulation import Modulation
from fusionzoo.spec import DataSpec, Modality, TaskSpec
from tests import golden_rule

CT = Modality("ct", "volume", 1, (12, 192, 192))


def test_golden_block_with_its_modulated_input() -> None:
    golden = golden_rule.load("daft_block_loc0")
    param, table, x = golden["param"], golden["in"]["tab"], golden["in"]["x"]
    block = ResidualBlock(8, 16, stride=2).eval()
    block.load_state_dict({k: v for k, v in param.items() if not k.startswith("aux.")})
    daft = Modulation(15, 8, bottleneck=7, scale=True, shift=True, activation="linear")
    names = {"squeeze.weight": "aux.aux_base.weight", "excite.weight": "aux.aux_out.weight"}
    daft.load_state_dict({ours: param[theirs] for ours, theirs in names.items()})
    code = torch.cat([x.mean(dim=(2, 3, 4)), table], dim=1)
    torch.testing.assert_close(block(daft(x, code)), golden["out"]["y"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("width", "parameters"), [(4, 56_854), (32, 3_588_690)])
def test_with_daft_it_has_the_published_size(width: int, parameters: int) -> None:
    data = DataSpec("x", (CT, Modality("table", "table", 7)), (TaskSpec("dx", ("A", "G")),))
    model = assemble_meta(f"ct=resnet3d(width={width}), table=identity -> daft -> linear", data)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert str(model.trunks["ct"].encoder.output) == (
        f"pyramid of 4 maps ({width}x6x96x96, {2 * width}x3x48x48, {4 * width}x2x24x24, "
        f"{8 * width}x1x12x12)"
    )


@pytest.mark.parametrize("size", [(12, 24, 20), (2, 7, 9), (5, 5, 5)])
def test_declared_shapes_are_true(size: tuple[int, ...]) -> None:
    encoder = ResNet3D(Modality("ct", "volume", 2, size)).eval()
    maps = encoder(torch.randn(2, 2, *size))
    declared = [(level.channels, *level.size) for level in encoder.output.levels]
    assert [tuple(x.shape[1:]) for x in maps] == declared


def test_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    encoder = ResNet3D(Modality("ct", "volume", 1, (8, 8, 8)))
    encoder(torch.randn(4, 1, 8, 8, 8))[-1].square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in encoder.parameters())


def test_bad_options() -> None:
    with pytest.raises(BadOption, match=r"can't have width=0\. Use 4 as MMCAF-Net's copy"):
        ResNet3D(CT, width=0)
    with pytest.raises(BadOption, match="halves every axis at once, and 'ct' is 1x8x8"):
        ResNet3D(Modality("ct", "volume", 1, (1, 8, 8)))
