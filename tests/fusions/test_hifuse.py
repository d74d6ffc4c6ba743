"""HiFuse between two images: the network's own arithmetic, other pyramids, volumes, refusals."""

import pytest
import torch

from fusionzoo.encoders.hifuse import HiFuse as Encoder
from fusionzoo.errors import LayoutMismatch
from fusionzoo.fusions.hifuse import HiFuse
from fusionzoo.interface import Context
from fusionzoo.models.assemble import assemble, plan
from fusionzoo.spec import DataSpec, FeatureSpec, Level, Modality, TaskSpec

IMAGES = tuple(Modality(name, "image", 3, (32, 32)) for name in ("clinic", "derm"))
DATA = DataSpec("two", IMAGES, (TaskSpec("dx", ("A", "B", "C")),))


def pyramid(*levels: tuple[int, ...]) -> FeatureSpec:
    return FeatureSpec.pyramid(
        tuple(Level(channels, tuple(size), (1,) * len(size)) for channels, *size in levels)
    )


def zeros(spec: FeatureSpec, batch: int = 2):
    maps = [torch.randn(batch, level.channels, *level.size) for level in spec.levels]
    return maps if spec.layout == "pyramid" else maps[0]


def test_on_one_image_it_is_the_encoder():
    torch.manual_seed(0)
    options = {"channels": 8, "depths": (1, 1, 1, 1), "head_channels": 8}
    whole = Encoder(IMAGES[0], **options).eval()
    given = {
        modality.name: Encoder(modality, branch=branch, **options).eval()
        for modality, branch in zip(IMAGES, ("local", "global"), strict=True)
    }
    for encoder in given.values():
        encoder.load_state_dict(
            {n: t for n, t in whole.state_dict().items() if n in encoder.state_dict()}
        )
    fusion = HiFuse({name: encoder.output for name, encoder in given.items()}).eval()
    own = {n.replace("fuse.", "blocks."): t for n, t in whole.state_dict().items() if "fuse." in n}
    summary = whole.summary()
    fusion.load_state_dict(own | summary.state_dict())
    x = torch.randn(2, 3, 32, 32)
    fused = fusion.join({name: encoder(x) for name, encoder in given.items()}, Context({}))
    torch.testing.assert_close(fused.features["fused"], summary(whole(x)))


def test_official_weights_fill_blocks_and_norm():
    fusion = HiFuse({"a": pyramid((8, 4, 4), (16, 2, 2)), "b": pyramid((8, 4, 4), (16, 2, 2))})
    state = fusion.state_dict()
    official = {
        "fu1.W.conv.weight": state["blocks.0.mix.conv.weight"],
        "fu2.Updim.conv.bias": state["blocks.1.enter_before.conv.bias"],
        "fu2.W.conv.weight": torch.zeros(1),
        "stages.0.0.norm.bias": torch.zeros(1),
        "conv_norm.weight": state["norm.weight"],
        "conv_norm.bias": state["norm.bias"],
    }
    assert set(fusion.rename_official(official)) == {
        "blocks.0.mix.conv.weight",
        "blocks.1.enter_before.conv.bias",
        "norm.weight",
        "norm.bias",
    }


@pytest.mark.parametrize(
    ("first", "second", "width"),
    [
        (pyramid((4, 8, 8), (6, 4, 4)), pyramid((5, 7, 9), (7, 4, 5)), 6),
        (pyramid((4, 3, 8, 8), (6, 2, 4, 4)), pyramid((4, 3, 8, 8), (6, 2, 4, 4)), 6),
        (FeatureSpec.map(8, (5, 5), (1, 1)), FeatureSpec.map(3, (5, 5), (1, 1)), 8),
    ],
)
def test_any_maps(first, second, width):
    given = {"a": first, "b": second}
    fusion = HiFuse(given, reduction=1)
    features = {name: zeros(spec, 4) for name, spec in given.items()}
    fused = fusion.join(features, Context({})).features["fused"]
    assert fused.shape == (4, width)
    assert fusion.outputs == {"fused": FeatureSpec.vector(width)}
    fused.pow(3).sum().backward()
    assert [name for name, p in fusion.named_parameters() if not p.grad.any()] == []


def test_needs_the_levels_that_both_have():
    three, two = pyramid((4, 8, 8), (6, 4, 4), (8, 2, 2)), pyramid((4, 8, 8), (6, 4, 4))
    needs = HiFuse.needs({"a": three, "b": two})
    assert {n.num_levels for n in needs.values()} == {2}
    assert {n.spatial_dims for n in needs.values()} == {2}
    one = HiFuse.needs({"a": three, "b": FeatureSpec.map(4, (2, 2), (1, 1))})
    assert {n.layouts for n in one.values()} == {("map",)}


def test_width_is_an_option():
    given = {"a": pyramid((4, 8, 8), (6, 4, 4)), "b": pyramid((4, 8, 8), (6, 4, 4))}
    assert HiFuse(given, fused_channels=10).outputs["fused"].channels == 10


def test_a_table_is_refused():
    with pytest.raises(
        LayoutMismatch, match=r"joins the maps of two images; 'table' goes through a"
    ):
        HiFuse.needs({"a": pyramid((4, 8, 8)), "table": FeatureSpec.vector(3)})


def test_branches_on_two_images_from_a_spec():
    options = "channels=8, depths=[1,1,1,1], head_channels=8"
    text = f"clinic=hifuse(branch=local, {options}), derm=hifuse(branch=global, {options})"
    model = assemble(f"{text} -> hifuse(ir_depthwise=True) -> linear", DATA)
    assert model.fusion.blocks[3].residual.conv.groups == 3 * 64
    text = f"clinic=timm(resnet10t), derm=hifuse({options}) -> hifuse(ir_depthwise=True) -> linear"
    other = plan(text, DATA)
    assert any(stage.part == "coarsest levels" for stage in other.stages)
