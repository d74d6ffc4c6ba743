"""Small parts that tell what was asked of them, and in which order, for the tests of the model."""

import torch
from torch import nn

from fusionzoo import registry
from fusionzoo.interface import (
    AbstractEncoder,
    AbstractFusion,
    AbstractHead,
    AbstractNeck,
    AbstractSummary,
    FusionOutput,
)
from fusionzoo.spec import DataSpec, FeatureSpec, Level, Modality, Need, TaskSpec

#: What the parts did, in order; a test clears it first.
LOG: list[str] = []

IMAGE = Modality("derm", "image", 3, (8, 8))
DATA = DataSpec(
    name="toy",
    modalities=(
        IMAGE,
        Modality("clinic", "image", 3, (8, 8)),
        Modality("ct", "volume", 1, (4, 8, 8)),
        Modality("table", "table", 5),
        Modality("labs", "table", 5),
    ),
    tasks=(TaskSpec("malignant", ("no", "yes")), TaskSpec("grade", ("a", "b", "c"))),
)


class ToyVector(AbstractEncoder):
    """Two linear layers, each a stage."""

    accepts = frozenset({"table"})

    def __init__(self, modality, *, channels: int = 4, more: int = 0):
        super().__init__()
        self.name = modality.name
        self.layers = nn.ModuleList([nn.Linear(modality.channels, 6), nn.Linear(6, channels)])
        self.stages = (FeatureSpec.vector(6), FeatureSpec.vector(channels + more))

    def stage(self, level, x):
        LOG.append(f"{self.name} stage {level}")
        return self.layers[level](x)


class ToyMaps(AbstractEncoder):
    """A convolution of stride 2 per stage, and a norm of its own on what it emits."""

    accepts = frozenset({"image", "volume"})

    def __init__(
        self,
        modality,
        *,
        widths: tuple[int, ...] = (4, 8),
        lie: int = 0,
        own_summary: bool = False,
        numpy: bool = False,
    ):
        super().__init__()
        self.name, self.own_summary, self.numpy = modality.name, own_summary, numpy
        conv = nn.Conv3d if modality.kind == "volume" else nn.Conv2d
        ins = (modality.channels, *widths)
        self.convs = nn.ModuleList(
            conv(before, after, 3, stride=2, padding=1)
            for before, after in zip(ins, widths, strict=False)
        )
        self.stages = tuple(
            FeatureSpec.map(
                width + lie,
                tuple(-(-n // 2 ** (i + 1)) for n in modality.size),
                (2 ** (i + 1),) * len(modality.size),
            )
            for i, width in enumerate(widths)
        )

    def stem(self, x):
        LOG.append(f"{self.name} stem")
        return x

    def stage(self, level, x):
        LOG.append(f"{self.name} stage {level}")
        if self.numpy:
            x.numpy()  # as a kernel would that needs real memory
        return self.convs[level](x)

    def emit(self, level, x):
        LOG.append(f"{self.name} emit {level}")
        return torch.relu(x)

    def summary(self):
        return ToySummary(self.output) if self.own_summary else None


class ToySummary(AbstractSummary):
    """Maximum over space, then a linear layer."""

    def __init__(self, given):
        super().__init__()
        self.linear = nn.Linear(given.channels, 3)
        self.output = FeatureSpec.vector(3)

    def forward(self, features):
        last = features[-1] if isinstance(features, list) else features
        return self.linear(last.flatten(2).amax(-1))


class ToyWhole(AbstractEncoder):
    """A map in one go: nothing can happen between its stages."""

    accepts = frozenset({"image"})
    staged = False

    def __init__(self, modality):
        super().__init__()
        self.conv = nn.Conv2d(modality.channels, 4, 1)
        self.stages = (FeatureSpec.map(4, modality.size, (1, 1)),)

    def stage(self, level, x):
        return self.conv(x)


class ToyNeck(AbstractNeck):
    """Twice the channels of every level."""

    def __init__(self, given, *, factor: int = 2, lie: int = 0):
        super().__init__()
        self.factor = factor
        self.output = FeatureSpec.pyramid(
            tuple(
                Level(level.channels * factor + lie, level.size, level.stride)
                for level in given.levels
            )
        )

    @classmethod
    def need(cls, **options):
        return Need(("pyramid",), num_levels=2, spatial_dims=2)

    def forward(self, features):
        LOG.append("neck")
        return [torch.cat([level] * self.factor, dim=1) for level in features]


class ToyExchange(AbstractFusion):
    """Adds one to every state between stages, and joins vectors by their sum of means."""

    places = frozenset({"exchange", "join"})

    def __init__(self, given, *, lie: int = 0):
        super().__init__()
        self.lie = lie
        self.outputs = {"fused": FeatureSpec.vector(1)}

    @classmethod
    def needs(cls, given, **options):
        return {name: Need(("vector",)) for name in given}

    def attach(self, stages, tasks):
        self.attached = ({name: len(specs) for name, specs in stages.items()}, len(tasks))

    def exchange(self, level, states, context):
        LOG.append(f"exchange {level}")
        return {name: x + 1 if not self.lie else x[:, : -self.lie] for name, x in states.items()}

    def join(self, features, context):
        LOG.append("join")
        means = torch.stack([x.mean(dim=1) for x in features.values()])
        return FusionOutput({"fused": means.sum(dim=0)[:, None]}, {"toy": means.sum()})


class ToyRefine(AbstractFusion):
    """Doubles every vector, for the next fusion."""

    places = frozenset({"refine"})

    def __init__(self, given, *, lie: int = 0):
        super().__init__()
        self.refined = {n: FeatureSpec.vector(s.channels + lie) for n, s in given.items()}

    @classmethod
    def needs(cls, given, **options):
        return {name: Need(("vector",)) for name in given}

    def refine(self, features, context):
        LOG.append("refine")
        return {name: 2 * x for name, x in features.items()}


class ToyJoin(AbstractFusion):
    """Keeps each modality as an output of its own, and decides by the mean of their logits."""

    places = frozenset({"join", "decide"})
    missing = "zero"

    def __init__(
        self, given, *, policy: str = "zero", layout: str = "vector", width: int | None = None,
        lie: int = 0, rename: str = "",
    ):  # fmt: skip
        super().__init__()
        self.missing = policy
        self.rename = rename
        self.outputs = {n: FeatureSpec.vector(s.channels + lie) for n, s in given.items()}
        self.seen: list = []

    @classmethod
    def needs(cls, given, **options):
        return {name: Need((options["layout"],), channels=options["width"]) for name in given}

    @property
    def supervised(self):
        return dict.fromkeys(self.outputs, 0.5)

    def join(self, features, context):
        LOG.append("join")
        self.seen.append((features, context))
        vectors = {n: x.mean(dim=1) if x.ndim == 3 else x for n, x in features.items()}
        return FusionOutput({f"{n}{self.rename}": x for n, x in vectors.items()})

    def decide(self, logits, context):
        LOG.append("decide")
        tasks = next(iter(logits.values()))
        return {t: torch.stack([each[t] for each in logits.values()]).mean(0) for t in tasks}


class ToyHead(AbstractHead):
    """One linear layer per task; `lie` adds logits."""

    def __init__(self, given, tasks, *, lie: int = 0):
        super().__init__(given, tasks)
        self.layers = nn.ModuleList(nn.Linear(given.channels, t.num_logits + lie) for t in tasks)

    def forward(self, x):
        LOG.append("head")
        return {t.name: layer(x) for t, layer in zip(self.tasks, self.layers, strict=True)}


class ToyRandom(AbstractEncoder):
    """Draws its weights from every generator there is."""

    accepts = frozenset({"table"})

    def __init__(self, modality):
        super().__init__()
        import random

        import numpy as np

        weights = [random.random(), float(np.random.rand()), float(torch.rand((), device="cpu"))]
        self.weight = nn.Parameter(torch.tensor(weights))
        self.stages = (modality.feature,)

    def stage(self, level, x):
        return x * self.weight.sum()


PARTS = {
    "encoder": {
        "toy_vector": ToyVector,
        "toy_maps": ToyMaps,
        "toy_whole": ToyWhole,
        "toy_random": ToyRandom,
    },
    "neck": {"toy_neck": ToyNeck},
    "fusion": {"toy_exchange": ToyExchange, "toy_refine": ToyRefine, "toy_join": ToyJoin},
    "head": {"toy_head": ToyHead},
}


def register() -> None:
    """Make the parts known to the registry, as a notebook would."""
    for kind, parts in PARTS.items():
        for name, cls in parts.items():
            registry.register(kind, name)(cls)
