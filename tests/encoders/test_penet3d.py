"""PENet against golden outputs of the released code, its published sizes, stochastic depth."""

import pytest
import torch
from torch import nn

from fusionzoo.encoders.penet3d import ASPP, Bottleneck, PENet3D, PENetSummary
from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.models.assemble import assemble
from fusionzoo.spec import DataSpec, FeatureSpec, Modality, TaskSpec
from tests import golden_rule

CT = Modality("ct", "volume", 1, (12, 192, 192))
SMALL = Modality("ct", "volume", 1, (9, 30, 26))


def small_encoder(**options) -> PENet3D:
    torch.manual_seed(0)
    return PENet3D(SMALL, **{"width": 0.25, "depth": 14, "cardinality": 8} | options)


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def from_official(
    param: dict[str, torch.Tensor], prefix: str, part: str, cut: str
) -> dict[str, torch.Tensor]:
    """A part of a golden network through the official names of the whole one."""
    renamed = PENet3D.official_parts({prefix + name: tensor for name, tensor in param.items()})[
        part
    ]
    return {name.removeprefix(cut): tensor for name, tensor in renamed.items()}


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("penet_bottleneck_down", Bottleneck(32, 32, groups=8, stride=2)),
        ("penet_bottleneck_id", Bottleneck(64, 32, groups=32)),
    ],
)
def test_bottleneck_golden(name, block):
    golden = golden_rule.load(name)
    block.load_state_dict(
        from_official(golden["param"], "encoders.0.penet_blocks.0.", "encoder", "blocks.0.0.")
    )
    torch.testing.assert_close(
        block.eval()(golden["in"]["x"]), golden["out"]["y"], rtol=1e-4, atol=1e-4
    )


def test_stage_golden():
    golden = golden_rule.load("penet_stage")
    stage = nn.Sequential(Bottleneck(64, 64, groups=32, stride=2), Bottleneck(128, 64, groups=32))
    stage.load_state_dict(from_official(golden["param"], "encoders.0.", "encoder", "blocks.0."))
    torch.testing.assert_close(
        stage.eval()(golden["in"]["x"]), golden["out"]["y"], rtol=1e-4, atol=1e-4
    )


def test_aspp_golden():
    golden = golden_rule.load("penet_aspp")
    aspp = ASPP(32, 64)
    aspp.load_state_dict(from_official(golden["param"], "asp_pool.", "summary", "aspp."))
    torch.testing.assert_close(aspp(golden["in"]["x"]), golden["out"]["y"], rtol=1e-4, atol=1e-4)


def test_gap_linear_golden():
    golden = golden_rule.load("gap_linear")
    summary, head = PENetSummary(FeatureSpec.map(16, (2, 3, 4), (1, 1, 1)), 16), nn.Linear(16, 3)
    summary.aspp = nn.Identity()
    prefixed = {f"classifier.{name}": tensor for name, tensor in golden["param"].items()}
    head.load_state_dict(PENet3D.official_parts(prefixed)["head"])
    logits = head(summary([golden["in"]["x"]]))
    torch.testing.assert_close(logits, golden["out"]["y"], rtol=1e-4, atol=1e-4)


def test_official_weights_give_the_official_scales_and_logit():
    golden, full = golden_rule.load("penet50_encoder"), golden_rule.load("penet50_full")["out"]
    official = {
        f"module.{name}": tensor for name, tensor in golden_rule.ruled_state("penet50_full").items()
    }
    parts = PENet3D.official_parts(official)
    with torch.device("meta"):
        encoder = PENet3D(Modality("ct", "volume", 1, (8, 64, 64)), init="torch")
        summary, head = encoder.summary(), nn.Linear(256, 1)
    for module, part in ((encoder, "encoder"), (summary, "summary"), (head, "head")):
        module.load_state_dict(parts[part], assign=True)
    with torch.no_grad():
        stem = encoder.eval().stem(golden["in"]["x"])
        scales = encoder(golden["in"]["x"])
        pairs = [
            (stem, full["stem_pooled"]),
            *zip(scales, golden["out"].values(), strict=True),
            (summary.aspp(scales[-1]), full["aspp"]),
            (head(summary(scales)), full["logit"]),
        ]
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_published_sizes():
    with torch.device("meta"):
        encoder = PENet3D(CT)
        summary = encoder.summary()
    stem = num_parameters(encoder.stem_conv) + num_parameters(encoder.stem_norm)
    assert stem == 65_984
    assert [num_parameters(stage) for stage in encoder.blocks] == [258_864, 1_477_760, 8_700_288]
    assert num_parameters(encoder) == 10_502_896
    assert num_parameters(summary) == 8_063_232
    assert str(encoder.output) == "pyramid of 3 maps (256x6x48x48, 512x3x24x24, 1024x2x12x12)"


@pytest.mark.parametrize("size", [(9, 30, 26), (12, 50, 46), (1, 1, 1)])
def test_stages_declare_the_shapes_they_give(size):
    encoder = PENet3D(Modality("ct", "volume", 1, size), width=0.25, depth=14).eval()
    with torch.no_grad():
        scales = encoder(torch.randn(2, 1, *size))
    assert [tuple(scale.shape[1:]) for scale in scales] == [
        (level.channels, *level.size) for level in encoder.output.levels
    ]


def test_one_channel_is_three_equal_ones():
    encoder = small_encoder().double().eval()
    x = torch.randn(2, 1, *SMALL.size, dtype=torch.float64)
    torch.testing.assert_close(encoder.stem(x), encoder.stem(x.expand(-1, 3, -1, -1, -1)))


def test_width_keeps_the_channels_of_a_group():
    encoder = PENet3D(SMALL, width=0.5, depth=14)
    assert [stage[0].grouped.conv.weight.shape[1] for stage in encoder.blocks] == [4, 8, 16]


def test_gradient_reaches_every_parameter():
    encoder = small_encoder(stochastic_depth=0.0)
    summary = encoder.summary()
    for norm in (module for module in encoder.modules() if isinstance(module, nn.GroupNorm)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    scales = encoder(torch.randn(2, 1, *SMALL.size))
    (summary(scales).square().sum() + sum(scale.square().sum() for scale in scales)).backward()
    dead = [
        name
        for name, p in [*encoder.named_parameters(), *summary.named_parameters()]
        if not p.grad.any()
    ]
    assert dead == []


def test_stochastic_depth_drops_whole_blocks_at_the_paper_rate():
    block = Bottleneck(32, 16, groups=2, drop=0.25)
    x = torch.randn(3, 32, 2, 2, 2)
    torch.manual_seed(0)
    kept = [not torch.equal(block(x), x) for _ in range(400)]
    assert 0.69 < sum(kept) / 400 < 0.81
    assert not torch.equal(block.eval()(x), x)
    drops = [block.drop for stage in small_encoder(depth=50).blocks for block in stage]
    assert drops == [0.5 * index / 13 for index in range(13)]


def test_one_seed_fixes_stochastic_depth():
    encoder, x = small_encoder(stochastic_depth=1.0, init="torch"), torch.randn(1, 1, *SMALL.size)

    def run(seed):
        torch.manual_seed(seed)
        return encoder(x)[-1]

    assert torch.equal(run(3), run(3))
    assert len({run(seed).sum().item() for seed in range(8)}) > 1


def test_kaiming_init_starts_blocks_at_their_skip():
    encoder = small_encoder()
    assert all(not block.expand.norm.weight.any() for stage in encoder.blocks for block in stage)
    weight = PENet3D(SMALL, depth=14).blocks[2][0].reduce.conv.weight
    assert weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert small_encoder(init="torch").blocks[0][0].expand.norm.weight.all()


def test_the_pooled_vector_is_the_mean_of_the_last_scale_where_asked_for():
    data = DataSpec("toy", (SMALL,), (TaskSpec("dx", ("no", "yes")),))
    model = assemble("ct=penet3d(depth=14, pool=mean, width=0.25) -> linear", data)
    encoder = model.trunks["ct"].encoder
    assert encoder.summary() is None
    model.eval()
    x = torch.randn(2, 1, 9, 30, 26)
    torch.testing.assert_close(model.trunks["ct"](x), encoder(x)[-1].mean(dim=(2, 3, 4)))


def test_summary_takes_a_quarter_as_many_channels_as_the_last_map():
    assert small_encoder().summary().output == FeatureSpec.vector(64)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"width": 0.3}, "width=0.3: its stem would have 19.2 channels.*Use a multiple of 0.25"),
        ({"depth": 34}, "no depth 34. It is built with depth 14, 26, 50"),
        (
            {"width": 0.25, "cardinality": 6},
            "cardinality=6 at width=0.25: that makes 1.5 groups of 32 channels",
        ),
        ({"stochastic_depth": 1.5}, "stochastic_depth=1.5: it is a probability"),
        ({"init": "xavier"}, "knows no init 'xavier'. It takes 'kaiming' or 'torch'"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(BadOption, match=text):
        PENet3D(SMALL, **options)


def test_foreign_weights_are_refused():
    with pytest.raises(
        WeightsError, match=r"no PENet's: 1 of 2 names are unknown, 'layer1\.weight' first"
    ):
        PENet3D.official_parts(
            {"module.out_conv.bias": torch.zeros(1), "layer1.weight": torch.zeros(1)}
        )
