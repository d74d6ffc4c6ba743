"""E3D-MSCA against golden outputs of the released code, the paper's merging equation, its sizes."""

import pytest
import torch
from torch import nn

from fusionzoo.encoders.penet3d import PENet3D
from fusionzoo.errors import BadOption, LayoutMismatch, WeightsError
from fusionzoo.necks.e3d_msca import (
    E3DMSCA,
    ChannelGate,
    ConcatMerge,
    GatedMerge,
    Mixer,
    SpatialGate,
    Upsample,
)
from fusionzoo.spec import FeatureSpec, Level, Modality
from tests import golden_rule

CT = Modality("ct", "volume", 1, (12, 192, 192))
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def pyramid(*levels: tuple[int, tuple[int, int, int]]) -> FeatureSpec:
    strides = [(2 << i, 4 << i, 4 << i) for i in range(len(levels))]
    pairs = zip(levels, strides, strict=True)
    return FeatureSpec.pyramid(tuple(Level(c, size, stride) for (c, size), stride in pairs))


SMALL = pyramid((8, (5, 6, 5)), (16, (3, 3, 3)), (32, (2, 2, 2)))


def maps_of(given: FeatureSpec, **options) -> list[torch.Tensor]:
    return [torch.randn(3, level.channels, *level.size, **options) for level in given.levels]


def fill_from_official(module: nn.Module, param: dict[str, torch.Tensor], prefix: str, ours: str):
    """Load a part's golden weights through the official names of the whole model."""
    renamed = E3DMSCA.rename_official({prefix + name: tensor for name, tensor in param.items()})
    module.load_state_dict({name.removeprefix(ours): tensor for name, tensor in renamed.items()})
    return module.eval()


@pytest.mark.parametrize(
    ("name", "gate", "prefix", "ours"),
    [
        ("cab3d", ChannelGate(32), "cab1.", "channel_gates.0."),
        ("sab3d", SpatialGate(), "sab.", "spatial_gates.0."),
    ],
)
def test_gates_golden(name, gate, prefix, ours):
    golden = golden_rule.load(name)
    fill_from_official(gate, golden["param"], prefix, ours)
    torch.testing.assert_close(gate.gate(golden["in"]["x"]), golden["out"]["gate"], **CLOSE)
    torch.testing.assert_close(gate(golden["in"]["x"]), golden["out"]["y"], **CLOSE)


@pytest.mark.parametrize(
    ("name", "block", "prefix", "ours"),
    [
        ("dcfb32", Mixer(32), "dcfb1.", "mixers.0."),
        ("ucb32", Upsample(32, 16), "ucb1.", "ups.0."),
    ],
)
def test_blocks_golden(name, block, prefix, ours):
    golden = golden_rule.load(name)
    fill_from_official(block, golden["param"], prefix, ours)
    torch.testing.assert_close(block(golden["in"]["x"]), golden["out"]["y"], **CLOSE)


def test_merge_golden():
    golden = golden_rule.load("bfpu3d16")
    merge = fill_from_official(GatedMerge(16, 8), golden["param"], "bfpu1.", "merges.0.")
    merged = merge(golden["in"]["x"], golden["in"]["y"])
    torch.testing.assert_close(merged, golden["out"]["out"], **CLOSE)


def test_level_golden():
    golden = golden_rule.load("e3d_msca32")
    neck = E3DMSCA(pyramid((32, (3, 6, 5)), (8, (2, 3, 3)))).eval()
    numbered = {
        name.replace("cab.", "cab1.").replace("dcfb.", "dcfb1."): tensor
        for name, tensor in golden["param"].items()
    }
    loaded = neck.load_state_dict(E3DMSCA.rename_official(numbered), strict=False)
    assert loaded.unexpected_keys == []
    nn.init.zeros_(neck.ups[0].point.weight)
    coarse = torch.zeros(2, 8, 2, 3, 3)
    finest = neck([golden["in"]["x"], coarse])[0]
    torch.testing.assert_close(finest, golden["out"]["y"], **CLOSE)


def test_concat_merge_is_equation_2():
    torch.manual_seed(0)
    merge = ConcatMerge(4, 4).double()
    for conv in (merge.affinity.coarse, merge.affinity.fine):
        nn.init.dirac_(conv.weight)
        nn.init.constant_(conv.bias, 0.5)
    x, y = torch.randn(2, 2, 4, 3, 2, 5, dtype=torch.float64)
    a = 1 / (1 + torch.exp(-(x + 0.5) * (y + 0.5)))
    expected = torch.cat([x * (1 + a), y * (1 + a)], dim=1)
    torch.testing.assert_close(merge(x, y), expected)


def test_concat_merge_widens_what_follows():
    neck = E3DMSCA(SMALL, merge="concat")
    assert [level.channels for level in neck.output.levels] == [8, 32, 64]
    assert neck.summary().linear.in_features == 64
    assert isinstance(neck.merges[1].adapt, nn.Identity)


@pytest.mark.parametrize(
    "options", [{}, {"dropout": 0.3, "sab": "per_scale"}, {"merge": "concat", "activation": "relu"}]
)
def test_gives_the_declared_pyramid_and_reaches_every_parameter(options):
    torch.manual_seed(0)
    neck = E3DMSCA(SMALL, **options)
    summary = neck.summary()
    for part in neck.modules():
        if isinstance(part, nn.BatchNorm3d):
            nn.init.uniform_(part.bias, 0.1, 0.5)
        if isinstance(part, ChannelGate):
            nn.init.uniform_(part.squeeze.weight, 0.1, 0.5)
    maps = neck(maps_of(SMALL))
    assert [tuple(x.shape[1:]) for x in maps] == [
        (level.channels, *level.size) for level in neck.output.levels
    ]
    vector = summary(maps)
    assert vector.shape == (3, 24)
    (vector.sum() + sum(x.square().sum() for x in maps)).backward()
    named = [*neck.named_parameters(), *summary.named_parameters()]
    assert [name for name, parameter in named if not parameter.grad.any()] == []


def test_any_number_of_levels_and_any_channels():
    given = pyramid((6, (4, 5, 7)), (10, (2, 3, 4)), (12, (1, 2, 2)), (12, (1, 1, 1)))
    maps = E3DMSCA(given, sab="per_scale").eval()(maps_of(given))
    assert [x.shape[1] for x in maps] == [6, 10, 12, 12]


def test_odd_volumes_and_float64():
    encoder = PENet3D(Modality("ct", "volume", 1, (12, 50, 46)), width=0.25, depth=14).double()
    neck = E3DMSCA(encoder.output, dropout=0.3).double()
    maps = neck(encoder(torch.randn(2, 1, 12, 50, 46, dtype=torch.float64)))
    assert [x.dtype for x in maps] == [torch.float64] * 3
    assert str(neck.output) == str(encoder.output)


def test_composition_of_the_three_paper_scales():
    neck, maps = E3DMSCA(SMALL, dropout=0.3).eval(), maps_of(SMALL)
    n1, n2, n3 = (stem(x) for stem, x in zip(neck.stems, maps, strict=True))

    def attend(level, x):
        channel = neck.channel_gates[level](x)
        return neck.mixers[level](neck.spatial_gates[0].gate(channel) * channel)

    def up(level, x, size):
        doubled = neck.ups[level](x)
        return nn.functional.interpolate(doubled, size, mode="trilinear", align_corners=True)

    d3 = attend(2, n3)
    d2 = attend(1, n2 + up(1, d3, (3, 3, 3)))
    d1 = attend(0, n1 + up(0, d2, (5, 6, 5)))
    b1 = neck.merges[0](d2, d1)
    b2 = neck.merges[1](d3, b1)
    for ours, expected in zip(neck(maps), (d1, b1, b2), strict=True):
        torch.testing.assert_close(ours, expected)


def test_shared_gate_and_dropout_variants():
    plain, dropped = E3DMSCA(SMALL), E3DMSCA(SMALL, dropout=0.3, sab="per_scale")
    assert [len(neck.spatial_gates) for neck in (plain, dropped)] == [1, 3]
    assert [len(list(neck.stems.parameters())) for neck in (plain, dropped)] == [0, 6]
    assert isinstance(plain.summary().tail, nn.Identity)
    relu, drop = dropped.summary().tail
    assert (isinstance(relu, nn.ReLU), drop.p) == (True, 0.5)


def test_released_start():
    neck = E3DMSCA(pyramid((64, (2, 2, 2)), (128, (1, 1, 1))))
    assert neck.mixers[1].expand.conv.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not neck.ups[0].point.bias.any()
    assert neck.merges[0].affinity.coarse.bias.any()


def test_published_sizes_and_names():
    shapes = golden_rule.shapes("img_new_full")
    assert sum(count_unless_buffer(name, shape) for name, shape in shapes.items()) == 106_877_208
    with torch.device("meta"):
        encoder = PENet3D(CT)
        neck = E3DMSCA(encoder.output, dropout=0.3)
        parts = {
            "encoder": encoder,
            "neck": neck,
            "summary": neck.summary(),
            "head": nn.Linear(24, 1),
        }
        official = {name: torch.empty(shape) for name, shape in shapes.items()}
    renamed = E3DMSCA.official_parts(official)
    renamed["encoder"] = PENet3D.rename_official(renamed["encoder"])
    for part, module in parts.items():
        expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
        assert {name: tensor.shape for name, tensor in renamed[part].items()} == expected
    counts = [sum(p.numel() for p in module.parameters()) for module in parts.values()]
    assert counts == [10_502_896, 78_733_238, 24_600, 25]
    assert sum(counts) == 89_260_759
    assert [sum(p.numel() for p in up.parameters()) for up in neck.ups] == [146_176, 554_496]
    assert [sum(p.numel() for p in m.parameters()) for m in neck.merges] == [14_398_980, 57_371_652]


def count_unless_buffer(name: str, shape: list[int]) -> int:
    return 0 if "running" in name or "tracked" in name else torch.Size(shape).numel()


def test_encoder_and_summary_read_the_image_model():
    shapes = golden_rule.shapes("img_new_full")
    with torch.device("meta"):
        official = {f"module.{name}": torch.empty(shape) for name, shape in shapes.items()}
        summary = E3DMSCA(PENet3D(CT).output, dropout=0.3).summary()
        assert set(PENet3D.rename_official(official)) == set(PENet3D(CT).state_dict())
    assert set(summary.rename_official(official)) == set(summary.state_dict())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"merge": "sum"}, "knows no merge='sum'. It takes 'gated' or 'concat'"),
        ({"sab": "each"}, "knows no sab='each'. It takes 'shared' or 'per_scale'"),
        ({"activation": "gelu"}, "knows no activation='gelu'. It takes 'relu6' or 'relu'"),
        ({"dropout": 1.0}, "can't drop with probability 1.0"),
        ({"channels": 0}, "can't give a vector of 0 channels"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(BadOption, match=text):
        E3DMSCA(SMALL, **options)


@pytest.mark.parametrize("given", [pyramid((8, (2, 2, 2))), FeatureSpec.vector(8)])
def test_too_few_levels(given):
    with pytest.raises(LayoutMismatch, match=r"2 or more volumes; it was given a (pyramid|vector)"):
        E3DMSCA(given)


def test_need_is_a_pyramid_of_volumes():
    assert str(E3DMSCA.need()) == "a pyramid with 3 spatial axes"


def test_foreign_weights_are_refused():
    with pytest.raises(
        WeightsError, match=r"not MMCAF-Net's image model: 1 of 1 names .*'layer1\.x'"
    ):
        E3DMSCA.rename_official({"layer1.x": torch.zeros(1)})
