"""CRD-Net: the released cross-attention, the gate's equations, and the paper's size."""

import pytest
import torch
from torch import Tensor, nn

from fusionzoo.errors import BadOption
from fusionzoo.fusions.crd_net import CRDNet, CrossAttention, TalkingHeadsAttention
from fusionzoo.interface import Context
from fusionzoo.models.assemble import plan
from fusionzoo.spec import DataSpec, FeatureSpec, Modality, TaskSpec
from tests import golden_normal

GIVEN = {
    "clinic": FeatureSpec.map(8, (3, 4), (8, 8)),
    "derm": FeatureSpec.map(6, (2, 2), (8, 8)),
    "table": FeatureSpec.vector(5),
}
PRESENT = {name: torch.ones(2, dtype=torch.bool) for name in GIVEN}


def some_features() -> dict[str, Tensor]:
    torch.manual_seed(0)
    sizes = {name: (spec.channels, *spec.size) for name, spec in GIVEN.items()}
    return {name: torch.randn(2, *size, requires_grad=True) for name, size in sizes.items()}


class Pair(nn.Module):
    """A module over a list of two, called with two."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.inner([x, y]))


def test_golden_cross_attention() -> None:
    module = Pair(CrossAttention([12, 10], [2, 2], embed_dim=16, num_heads=4))
    parts = {"qkv.0": "x_qkv", "qkv.1": "y_qkv", "project.0": "proj_x", "project.1": "proj_y"}
    official = {
        f"inner.{ours}.{leaf}": f"{theirs}.{leaf}"
        for ours, theirs in parts.items()
        for leaf in ("weight", "bias")
    }
    golden_normal.fill_module(module, official)
    golden_normal.assert_golden(module, "crdnet_cross_att", official)


def test_several_others_are_attended_to_at_once() -> None:
    """With the third modality's keys far off, two of three are as if alone."""
    torch.manual_seed(0)
    three = CrossAttention([4, 4, 4], [2, 2, 2], embed_dim=4, num_heads=1)
    x, y, far = (torch.randn(2, 4, 2, 2) for _ in range(3))
    key = three.qkv[2](far).chunk(3, dim=1)[1]
    query = three.qkv[0](x).chunk(3, dim=1)[0]
    own_key, value = three.qkv[1](y).chunk(3, dim=1)[1:]
    other_value = three.qkv[2](far).chunk(3, dim=1)[2]
    keys, values = torch.cat([own_key, key], 2).flatten(2), torch.cat([value, other_value], 2)
    weights = (query.flatten(2).mT @ keys / 2).softmax(-1)
    expected = x + three.project[0]((weights @ values.flatten(2).mT).mT.reshape(2, 4, 2, 2))
    torch.testing.assert_close(three([x, y, far])[0], expected)


def test_talking_heads() -> None:
    torch.manual_seed(0)
    attention = TalkingHeadsAttention(6, head_dim=3, num_heads=2, dims=2).double().eval()
    x = torch.randn(2, 6, 2, 3, dtype=torch.float64)
    q, k = (p(x).reshape(2, 2, 3, 6) for p in (attention.query, attention.key))
    v = attention.value(x).reshape(2, 2, 12, 6)
    scores = torch.einsum("bhdi,bhdj->bhij", q, k) / 3**0.5
    mix = attention.before
    scores = torch.einsum("gh,bhij->bgij", mix.weight[..., 0, 0], scores) + mix.bias[:, None, None]
    mix = attention.after
    weights = torch.einsum("gh,bhij->bgij", mix.weight[..., 0, 0], scores.softmax(-1))
    weights = weights + mix.bias[:, None, None]
    found = torch.einsum("bhij,bhdj->bhdi", weights, v).reshape(2, 24, 2, 3)
    torch.testing.assert_close(attention(x), attention.project(found.relu()))


def test_outputs_and_who_is_supervised() -> None:
    fusion = CRDNet(GIVEN, embed_dim=8)
    assert fusion.supervised == {"final": 1.0, "clinic": 1.0, "derm": 1.0, "table": 1.0}
    joined = fusion.join(some_features(), Context(PRESENT)).features
    own = [joined[name] for name in GIVEN]
    torch.testing.assert_close(joined["fused"], torch.cat(own, dim=1))
    logits = {name: {"dx": torch.randn(2, 1)} for name in joined}
    assert fusion.decide(logits, Context(PRESENT)) == logits["fused"]


def test_gradient_reaches_every_parameter() -> None:
    fusion, features = CRDNet(GIVEN, embed_dim=8), some_features()
    joined = fusion.join(features, Context(PRESENT)).features["fused"]
    joined.square().sum().backward()
    silent = [name for name, p in fusion.named_parameters() if not p.grad.abs().max() > 0]
    # One position of the table has nothing to choose among.
    assert all(name.startswith("gate.attend.2.") for name in silent)
    assert all(x.grad.abs().max() > 0 for x in features.values())


def test_two_resnets_and_four_classes_are_as_large_as_released() -> None:
    modalities = tuple(Modality(name, "image", 3, (64, 64)) for name in ("a", "b"))
    data = DataSpec("two", modalities, (TaskSpec("dx", tuple("ABCD")),))
    stages = plan("a=timm(resnet18), b=timm(resnet18) -> crd_net -> linear", data).stages
    assert sum(stage.parameters for stage in stages) == 82_713_820


def test_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(BadOption, match=r"embed_dim=10 can't be split into num_heads=4\. Use a"):
        CRDNet(GIVEN, embed_dim=10)
