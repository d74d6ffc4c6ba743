"""Integrated Gradients and Grad-CAM on models whose answers are known."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fusionzoo.errors import BadOption, MissingExtra
from fusionzoo.explain.gradients import grad_cam, integrated_gradients
from fusionzoo.explain.score import Score
from fusionzoo.interface import AbstractEncoder
from fusionzoo.models.assemble import assemble
from fusionzoo.models.model import Feature, FusionModel, Trunk
from fusionzoo.spec import DataSpec, FeatureSpec, Modality
from tests.explain.analytic import (
    BINARY,
    GRADED,
    TABLES,
    Weights,
    batch_of,
    linear_model,
    two_sided_model,
)

YES = Score(BINARY, 1)
IMAGE = Modality("derm", "image", 1, (5, 6))
VOLUME = Modality("ct", "volume", 1, (3, 4, 5))


@settings(max_examples=10)
@given(
    weights=st.lists(st.floats(-3, 3, width=32), min_size=5, max_size=5),
    x=st.lists(st.floats(-3, 3, width=32), min_size=5, max_size=5),
    start=st.lists(st.floats(-3, 3, width=32), min_size=5, max_size=5),
    code=st.sampled_from([0, 1]),
)
def test_of_a_linear_model_they_are_exact(weights, x, start, code):
    model = linear_model(weights, bias=0.7)
    case = batch_of({"a": torch.tensor([x[:3]]), "b": torch.tensor([x[3:]])})
    baseline = {"a": torch.tensor(start[:3]), "b": torch.tensor(start[3:])}
    found = integrated_gradients(model, case, Score(BINARY, code), baseline=baseline, steps=4)
    sign = 1 if code else -1
    expected = sign * torch.tensor(weights) * (torch.tensor(x) - torch.tensor(start))
    ours = torch.cat([found.values["a"], found.values["b"]])
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    assert found.gap == pytest.approx(0, abs=1e-4)
    assert sum(found.by_modality.values()) == pytest.approx(found.score - found.baseline, abs=1e-4)


@pytest.mark.parametrize(
    ("spec", "task"),
    [
        ("ct=resnet3d, table=kan -> msca -> linear", "dx"),
        ("ct=resnet3d, table=identity -> daft -> linear", "grade"),
        ("clinic+derm=rest -> linear", "dx"),
        ("ct=resnet3d -> linear", "grade"),
    ],
)
def test_they_add_up_to_the_difference(spec, task):
    data = DataSpec(
        "d",
        (
            Modality("ct", "volume", 1, (4, 16, 16)),
            Modality("derm", "image", 3, (32, 32)),
            Modality("clinic", "image", 3, (32, 32)),
            Modality("table", "table", 5),
        ),
        (BINARY, GRADED),
        {"rest": {"channels": 8, "depths": (1, 1, 1, 1)}},
    )
    model = assemble(spec, data).eval()
    torch.manual_seed(0)
    inputs = {m.name: torch.randn(1, *m.shape) for m in data.modalities}
    chosen = Score({t.name: t for t in data.tasks}[task], 1)
    found = integrated_gradients(model, batch_of(inputs, data.tasks), chosen, steps=128)
    total = found.score - found.baseline
    assert abs(found.gap) < 0.03 * max(abs(total), 0.05)
    assert {name: x.shape for name, x in found.values.items()} == {
        name: inputs[name].shape[1:] for name in found.values
    }
    assert set(found.values) == {m for f in model.features for m in f.modalities}


def test_a_modality_that_a_case_lacks_adds_nothing():
    model = linear_model([1.0, 1.0, 1.0, 1.0, 1.0], bias=0.0)
    case = batch_of({"a": torch.ones(1, 3), "b": torch.zeros(1, 2)})
    case.present["b"][:] = False
    found = integrated_gradients(model, case, YES, baseline={"b": torch.full((2,), 9.0)}, steps=2)
    assert found.by_modality == {"a": pytest.approx(3.0), "b": 0.0}


def test_without_captum(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    case = batch_of({"a": torch.ones(1, 3), "b": torch.ones(1, 2)})
    with pytest.raises(MissingExtra) as raised:
        integrated_gradients(linear_model([1.0] * 5, 0.0), case, YES)
    assert "pip install 'fusionzoo[explain]'" in str(raised.value)
    assert "--method gradcam" in str(raised.value)


def test_steps_below_one():
    case = batch_of({"a": torch.ones(1, 3), "b": torch.ones(1, 2)})
    with pytest.raises(BadOption, match="one step or more, not steps=0"):
        integrated_gradients(linear_model([1.0] * 5, 0.0), case, YES, steps=0)


@pytest.mark.parametrize("modality", [IMAGE, VOLUME], ids=["image", "volume"])
@pytest.mark.parametrize("code", [0, 1])
def test_grad_cam_by_hand(modality, code):
    torch.manual_seed(0)
    model = two_sided_model(modality, (2.0, -1.0))
    x = torch.randn(1, *modality.shape)
    cam = grad_cam(model, batch_of({modality.name: x}), Score(BINARY, code))[modality.name]
    sign, count = (1 if code else -1), x.numel()
    expected = torch.relu(sign * (2 * torch.relu(x) - torch.relu(-x)) / count)[0, 0]
    torch.testing.assert_close(cam.heat, expected)
    assert (cam.size, cam.level) == (modality.size, 0)


@pytest.mark.parametrize("modality", [IMAGE, VOLUME], ids=["image", "volume"])
def test_grad_cam_finds_a_bright_spot(modality):
    model = two_sided_model(modality, (1.0, 0.0))
    x = torch.zeros(1, *modality.shape)
    spot = tuple(n // 2 for n in modality.size)
    x[(0, 0, *spot)] = 5.0
    cam = grad_cam(model, batch_of({modality.name: x}), YES)[modality.name]
    assert torch.unravel_index(cam.heat.argmax(), cam.heat.shape) == tuple(map(torch.tensor, spot))
    assert (cam.heat > 0).sum() == 1


def test_images_that_share_an_encoder_have_maps_of_their_own():
    model = two_sided_model(IMAGE, (1.0, 0.0), others=("clinic",))
    x = {"derm": torch.zeros(1, *IMAGE.shape), "clinic": torch.zeros(1, *IMAGE.shape)}
    x["derm"][0, 0, 1, 1], x["clinic"][0, 0, 3, 4] = 1.0, 1.0
    cams = grad_cam(model, batch_of(x), YES)
    assert cams["derm"].heat.nonzero().tolist() == [[1, 1]]
    assert cams["clinic"].heat.nonzero().tolist() == [[3, 4]]


def test_the_model_is_as_it_was_afterwards():
    model = two_sided_model(IMAGE, (1.0, 0.0))
    encoder = model.trunk(model.features[0]).encoder
    grad_cam(model, batch_of({"derm": torch.ones(1, *IMAGE.shape)}), YES)
    assert "emit" not in vars(encoder)
    assert all(not module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())


WIDE = DataSpec(
    "wide",
    (
        Modality("ct", "volume", 1, (6, 32, 32)),
        Modality("derm", "image", 3, (64, 32)),
        Modality("clinic", "image", 3, (64, 32)),
        Modality("table", "table", 5),
    ),
    (BINARY,),
)
SMALL = "channels=8, depths=[1, 1, 1, 1]"


@pytest.mark.parametrize(
    ("spec", "name", "size", "level"),
    [
        ("ct=resnet3d -> linear", "ct", (1, 2, 2), 3),
        ("ct=timm(resnet10t, features=vector) -> linear", "ct", (6, 1, 1), None),
        ("ct=timm(resnet10t, out_indices=[2, 3]) -> linear", "ct", (6, 2, 2), 1),
        ("ct=timm(test_vit, features=last) -> linear", "ct", (6, 2, 2), 0),
        ("derm=timm(test_vit, features=last) -> linear", "derm", (4, 2), 0),
        ("derm=timm(test_efficientnet, features=vector) -> linear", "derm", (2, 1), None),
        ("derm=timm(test_efficientnet) -> linear", "derm", (4, 2), 3),
        (f"clinic+derm=rest({SMALL}) -> linear", "clinic", (4, 2), 2),
        ("ct=penet3d(depth=14, width=0.25), table=mlp -> mmtm -> linear", "ct", (1, 2, 2), 2),
        (f"clinic=hifuse({SMALL}, head_channels=8) -> linear", "clinic", (4, 2), 2),
    ],
)
def test_which_maps_are_looked_at(spec, name, size, level):
    model = assemble(spec, WIDE).eval()
    torch.manual_seed(0)
    inputs = {m.name: torch.randn(1, *m.shape) for m in WIDE.modalities}
    found = [grad_cam(model, batch_of(inputs), Score(BINARY, code)).get(name) for code in (0, 1)]
    assert {(cam.size, cam.level) for cam in found} == {(size, level)}
    assert all(cam.heat.shape == inputs[name].shape[2:] for cam in found)
    assert any(cam.heat.any() for cam in found)


def test_a_level_of_ones_own():
    model = assemble("ct=resnet3d -> linear", WIDE).eval()
    case = batch_of({m.name: torch.randn(1, *m.shape) for m in WIDE.modalities})
    assert grad_cam(model, case, YES, level=0)["ct"].size == (3, 16, 16)
    assert grad_cam(model, case, YES, level=-2)["ct"].size == (1, 4, 4)
    with pytest.raises(BadOption, match=r"of 'ct' has 4 levels; level=4 is none .* Use -4 to 3\."):
        grad_cam(model, case, YES, level=4)


class Numbers(AbstractEncoder):
    """Means of channels: an image as a vector."""

    accepts = frozenset({"image"})

    def __init__(self, modality: Modality):
        super().__init__()
        self.stages = (FeatureSpec.vector(modality.channels),)

    def stage(self, level, x):
        return x.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("table=mlp -> linear", "needs an image or a volume, and the model reads none"),
        (
            "derm=timm(xcit_nano_12_p16_224, features=vector) -> linear",
            "No gradient of the score reaches the maps of derm.*such as a class token",
        ),
    ],
)
def test_where_there_is_no_map(spec, told):
    model = assemble(spec, WIDE).eval()
    case = batch_of({m.name: torch.randn(1, *m.shape) for m in WIDE.modalities})
    with pytest.raises(BadOption, match=told):
        grad_cam(model, case, YES)


def test_an_encoder_without_maps():
    trunk = Trunk(Numbers(IMAGE), nn.ModuleList(), nn.Sequential())
    features = (Feature("derm", ("derm",), "derm", "derm"),)
    heads = {"derm": Weights(1.0)}
    model = FusionModel(features, {"derm": trunk}, {"derm": nn.Sequential()}, (), heads).eval()
    with pytest.raises(BadOption, match=r"encoder of 'derm' gives none\. Use --method ig"):
        grad_cam(model, batch_of({"derm": torch.ones(1, *IMAGE.shape)}), YES)


def test_logits_without_a_gradient():
    model = linear_model([1.0] * 5, 0.0)
    model.fusion.decide = lambda logits, context: {
        task: x.detach() for task, x in logits["fused"].items()
    }
    case = batch_of({"a": torch.ones(1, 3), "b": torch.ones(1, 2)})
    with pytest.raises(BadOption, match=r"through output 'final'.*Explain one of fused with --out"):
        integrated_gradients(model, case, YES)
    assert integrated_gradients(model, case, Score(BINARY, 1, "fused"), steps=2).score == 5.0
    assert TABLES.tasks == (BINARY,)
