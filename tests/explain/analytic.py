"""Models whose explanations are known by hand, put together without training."""

from collections.abc import Mapping

import torch
from torch import nn

from fusionzoo.encoders.identity import Identity
from fusionzoo.fusions.concat import Concat
from fusionzoo.interface import AbstractEncoder, AbstractFusion, AbstractHead, Batch, FusionOutput
from fusionzoo.models.adapt import GlobalAveragePool
from fusionzoo.models.assemble import assemble
from fusionzoo.models.model import Feature, FusionModel, Trunk
from fusionzoo.spec import DataSpec, FeatureSpec, Modality, TaskSpec

BINARY = TaskSpec("dx", ("no", "yes"))
GRADED = TaskSpec("grade", ("low", "middle", "high"))
TABLES = DataSpec(
    "tables", tuple(Modality(name, "table", n) for name, n in (("a", 3), ("b", 2))), (BINARY,)
)


class TwoSides(AbstractEncoder):
    """Two maps of a single channel: relu(x) and relu(-x), at the input's own size."""

    def __init__(self, modality: Modality):
        super().__init__()
        one = FeatureSpec.map(2, modality.size, (1,) * len(modality.size))
        self.stages = (one,)

    def stage(self, level, x):
        return torch.relu(torch.cat([x, -x], dim=1))


class Weights(AbstractHead):
    """A binary logit that is a weighted sum."""

    def __init__(self, *weights: float):
        super().__init__(FeatureSpec.vector(len(weights)), [BINARY])
        self.linear = nn.Linear(len(weights), 1, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([weights]))

    def forward(self, x):
        return {"dx": self.linear(x)}


class Product(AbstractFusion):
    """The product of all modalities' single numbers."""

    def __init__(self, given: Mapping[str, FeatureSpec]):
        super().__init__()
        self.outputs = {"fused": FeatureSpec.vector(1)}

    def join(self, features, context):
        found = torch.stack(list(features.values())).prod(dim=0)
        return FusionOutput({"fused": found})


def linear_model(weights: list[float], bias: float) -> FusionModel:
    """`a=identity, b=identity -> concat -> linear` with these weights."""
    model = assemble("a=identity, b=identity -> concat -> linear", TABLES).eval()
    with torch.no_grad():
        layer = model.heads["fused"].layers[0]
        layer.weight.copy_(torch.tensor([weights]))
        layer.bias.fill_(bias)
    return model


def two_sided_model(
    modality: Modality, weights: tuple[float, float], others: tuple[str, ...] = ()
) -> FusionModel:
    """A logit of the mean of relu(x) and of relu(-x), the same for all images that share it."""
    names = (modality.name, *others)
    key = "=".join(names)
    features = tuple(Feature(name, (name,), key, key) for name in names)
    trunk = Trunk(TwoSides(modality), nn.ModuleList(), nn.Sequential(GlobalAveragePool()))
    if not others:
        heads = {modality.name: Weights(*weights)}
        return FusionModel(features, {key: trunk}, {key: nn.Sequential()}, (), heads).eval()
    fusion = Concat({name: FeatureSpec.vector(2) for name in names})
    heads = {"fused": Weights(*weights * len(names))}
    return FusionModel(features, {key: trunk}, {key: nn.Sequential()}, (fusion,), heads).eval()


def product_model(count: int) -> FusionModel:
    """The product of `count` tables of one number."""
    names = [f"t{i}" for i in range(count)]
    trunks = {
        name: Trunk(Identity(Modality(name, "table", 1)), nn.ModuleList(), nn.Sequential())
        for name in names
    }
    features = tuple(Feature(name, (name,), name, name) for name in names)
    fusion = Product({name: FeatureSpec.vector(1) for name in names})
    adapters = {name: nn.Sequential() for name in names}
    return FusionModel(features, trunks, adapters, (fusion,), {"fused": Weights(1.0)}).eval()


def batch_of(inputs: Mapping[str, torch.Tensor], tasks=(BINARY,), codes: int = 1) -> Batch:
    """Cases with these inputs, none of which lacks a modality."""
    count = len(next(iter(inputs.values())))
    return Batch(
        dict(inputs),
        {name: torch.ones(count, dtype=torch.bool) for name in inputs},
        {task.name: torch.full((count,), codes) for task in tasks},
        torch.arange(count),
    )
