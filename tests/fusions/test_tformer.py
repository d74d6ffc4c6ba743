"""TFormer: released blocks, both orders of updating, tables, odd maps, and official names."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fusionzoo.errors import BadOption, LayoutMismatch, WeightsError
from fusionzoo.fusions.tformer import MutualBlock, PostFusion, TFormer
from fusionzoo.interface import Context
from fusionzoo.models.assemble import plan
from fusionzoo.models.weights import load_component
from fusionzoo.spec import DataSpec, FeatureSpec, Level, Modality, TaskSpec
from tests import golden_normal

MAPS = FeatureSpec.pyramid((Level(6, (4, 6), (8, 8)), Level(12, (2, 3), (16, 16))))
TABLE = FeatureSpec.vector(5)
SMALL: dict[str, Any] = {"embed_dim": 16, "depths": (1, 2), "num_heads": (2, 4), "window": 2}
SWIN = FeatureSpec.pyramid(
    tuple(
        Level(channels, (side, side), (224 // side,) * 2)
        for channels, side in ((192, 28), (384, 14), (768, 7), (768, 7))
    )
)


def features_of(given: dict[str, FeatureSpec]) -> dict[str, Any]:
    torch.manual_seed(1)

    def one(spec: FeatureSpec) -> Any:
        if spec.layout == "tokens":
            return torch.randn(3, spec.num_tokens, spec.channels)
        made = [torch.randn(3, level.channels, *level.size) for level in spec.levels]
        return made if spec.layout == "pyramid" else made[0]

    return {name: one(spec) for name, spec in given.items()}


def joined(fusion: TFormer, features: dict[str, Any]) -> Tensor:
    present = {name: torch.ones(3, dtype=torch.bool) for name in features}
    return fusion.join(features, Context(present)).features["fused"]


class Released(nn.Module):
    """A module under the release's calling: positions row by row, or vectors for tokens."""

    def __init__(self, inner: nn.Module, side: int | None = None):
        super().__init__()
        self.inner, self.side = inner, side

    def forward(self, x: Tensor, y: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self.side is None:
            return self.inner(x[:, None], y[:, None])[:, 0]
        square = (self.side, self.side)
        found = self.inner(*(z.mT.unflatten(2, square) for z in (x, y)))
        return tuple(z.flatten(2).mT for z in found)


class BothWays(nn.Module):
    """The release's exchange of tokens: x attends to c, then c to the new x."""

    def __init__(self):
        super().__init__()
        self.first, self.second = PostFusion(16, 32, num_heads=4), PostFusion(32, 16, num_heads=4)

    def forward(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        x = self.first(x, c)
        return x, self.second(c, x)


def named(module: nn.Module, ours: str, theirs: str) -> dict[str, str]:
    """Official names of a `PostFusion`'s parameters, all but the projections under `fn.`."""
    found = {}
    for name, _ in module.named_parameters():
        if name.startswith(ours):
            rest = name.removeprefix(ours)
            found[name] = theirs + ("" if rest.startswith("project") else "fn.") + rest
    return found


def test_golden_mutual_block() -> None:
    module = Released(MutualBlock(24, (14, 14), depth=2, num_heads=6), 14)
    official = {name: name.removeprefix("inner.") for name, _ in module.named_parameters()}
    golden_normal.fill_module(module, official)
    golden_normal.assert_golden(module, "tformer_swin_cross", official)


def test_golden_post_fusion() -> None:
    module = Released(PostFusion(16, 32))
    official = named(module, "inner.", "layers.0.")
    golden_normal.fill_module(module, official)
    golden_normal.assert_golden(module, "tformer_meta_fusion", official)


def test_golden_exchange_of_tokens() -> None:
    module = BothWays()
    official = named(module, "first.", "layers.0.0.") | named(module, "second.", "layers.0.1.")
    golden_normal.fill_module(module, official)
    golden_normal.assert_golden(module, "tformer_cross_transformer", official)


def test_two_images_level_by_level() -> None:
    """The whole way by hand: who is first, what is carried, and the order of the vectors."""
    torch.manual_seed(0)
    given = {"clinic": MAPS, "derm": MAPS}
    fusion, features = TFormer(given, **SMALL).eval(), features_of(given)
    (x0, x1), (y0, y1) = features["clinic"], features["derm"]
    fx, fy = fusion.blocks[0](x0, y0)
    carry = fusion.carries[0]
    fy, fx = fusion.blocks[1](y1 + carry[1](fy), x1 + carry[0](fx))
    vectors = [
        torch.relu(pool(f.mean((2, 3)))) for pool, f in zip(fusion.pools, (fx, fy), strict=True)
    ]
    torch.testing.assert_close(joined(fusion, features), torch.cat(vectors[::-1], 1))


def test_a_table_attends_to_both_images() -> None:
    torch.manual_seed(0)
    given = {"clinic": MAPS, "table": TABLE, "derm": MAPS}
    fusion, features = TFormer(given, **SMALL).eval(), features_of(given)
    alone = TFormer({n: s for n, s in given.items() if n != "table"}, **SMALL).eval()
    alone.load_state_dict({k: v for k, v in fusion.state_dict().items() if k in alone.state_dict()})
    derm, clinic = joined(alone, {n: features[n] for n in ("clinic", "derm")}).chunk(2, 1)
    table = fusion.metadata(features["table"])
    found = fusion.post(table[:, None], torch.cat([clinic, derm], 1)[:, None])[:, 0]
    torch.testing.assert_close(joined(fusion, features), torch.cat([derm, found], 1))


@pytest.mark.parametrize(
    "given",
    [
        {"ct": MAPS, "table": TABLE},
        {"ct": MAPS, "table": TABLE, "labs": FeatureSpec.vector(2)},
        {"a": MAPS, "b": FeatureSpec.map(8, (5,), (1,))},
        {"a": FeatureSpec.map(8, (2, 5, 3), (4, 8, 8)), "b": FeatureSpec.map(4, (3, 4), (8, 8))},
        {"a": FeatureSpec.tokens(5, 8), "b": FeatureSpec.tokens(5, 8), "table": TABLE},
    ],
)
def test_gradient_reaches_everything(given: dict[str, FeatureSpec]) -> None:
    torch.manual_seed(0)
    fusion, features = TFormer(given, **SMALL, post_heads=4), features_of(given)
    leaves = [
        x.requires_grad_() for f in features.values() for x in (f if isinstance(f, list) else [f])
    ]
    joined(fusion, features).square().sum().backward()
    used = leaves if len(fusion.images) == 2 else leaves[1:]  # else the last map alone
    assert all(x.grad.abs().max() > 0 for x in used)
    silent = [
        name
        for name, p in fusion.named_parameters()
        if p.grad is None or not p.grad.abs().max() > 0
    ]
    # A batch norm takes away what a bias before it adds.
    assert all(name in ("metadata.0.bias", "metadata.3.bias") for name in silent)


def test_what_it_asks_for() -> None:
    deep = FeatureSpec.pyramid((Level(4, (8, 8), (4, 4)), *MAPS.levels))
    needs = TFormer.needs({"a": deep, "b": MAPS, "table": TABLE}, depths=(1, 1, 2, 1))
    assert (needs["a"].num_levels, needs["b"].num_levels) == (2, 2)
    assert needs["table"].layouts == ("vector",)
    assert TFormer.needs({"a": deep, "b": MAPS}, depths=(1,))["a"].num_levels == 1


def test_heads_divide_what_they_are_for() -> None:
    given = {"a": MAPS, "b": MAPS}
    fusion = TFormer(given, embed_dim=16, depths=(1, 1), num_heads=(5, 12))
    heads = [block.layers[0][0].attn.num_heads for block in fusion.blocks]
    assert heads == [3, 12]


def test_the_size_of_the_release() -> None:
    """78,238,362 less Swin's unused classifier and one of two logits of two binary tasks."""
    images = tuple(Modality(name, "image", 3, (224, 224)) for name in ("clinic", "derm"))
    classes = {"DIAG": 5, "PN": 3, "BWV": 2, "VS": 3, "PIG": 3, "STR": 3, "DaG": 3, "RS": 2}
    tasks = tuple(TaskSpec(name, tuple("abcde"[:n])) for name, n in classes.items())
    data = DataSpec("skin", (*images, Modality("table", "table", 20)), tasks)
    stages = plan("clinic=derm=swin, table=identity -> tformer -> linear", data).stages
    assert sum(stage.parameters for stage in stages) == 78_238_362 - (768 + 1) * 128 - 2 * 257


def official_name(name: str) -> str:
    """The release's name of one of our tensors."""
    for ours, theirs in (
        ("blocks.", "fusion_block"),
        ("carries.0.0.", "downsample_cli_0."),
        ("carries.0.1.", "downsample_der_0."),
        ("carries.1.0.", "downsample_cli."),
        ("carries.1.1.", "downsample_der."),
        ("pools.0.", "fusion_head_cli.0."),
        ("pools.1.", "fusion_head_der.0."),
        ("metadata.", "meta_subnet.rnn.model."),
        ("post.project", "fusion_meta.layers.0.project"),
        ("post.", "fusion_meta.layers.0.fn."),
    ):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise AssertionError(name)


@pytest.fixture
def released(tmp_path):
    """A fusion with Swin's maps in miniature, and a file with its weights under official names."""
    small = FeatureSpec.pyramid(
        tuple(Level(level.channels // 32, level.size, level.stride) for level in SWIN.levels)
    )
    torch.manual_seed(0)
    fusion = TFormer({"clinic": small, "derm": small, "table": TABLE}, embed_dim=16)
    state = {official_name(name): x for name, x in fusion.state_dict().items()}
    state |= {
        "cli_vit.norm.weight": torch.ones(24),
        "fc_diag.bias": torch.ones(5),
        "fusion_block1.layers.0.0.attn_mask": torch.zeros(4, 49, 49),
        "fusion_block1.layers.0.0.attn.relative_position_index": torch.zeros(49, 49),
    }
    torch.save(state, tmp_path / "tformer.pth")
    return fusion, tmp_path / "tformer.pth"


def test_official_names_load(released) -> None:
    fusion, path = released
    torch.manual_seed(1)
    other = TFormer(fusion.grid.given | {"table": TABLE}, embed_dim=16)
    load_component(other, path, what="tformer")
    assert all(torch.equal(x, other.state_dict()[name]) for name, x in fusion.state_dict().items())
    without = TFormer(fusion.grid.given, embed_dim=16)
    load_component(without, path, what="tformer")


def test_official_weights_that_do_not_fit(released, tmp_path) -> None:
    fusion, path = released
    swapped = TFormer(dict(reversed(fusion.grid.given.items())), embed_dim=16)
    with pytest.raises(WeightsError, match="reads the clinical image first; the spec has 'derm'"):
        load_component(swapped, path, what="tformer")
    torch.save({"conv1.weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="none of its 1 names is a TFormer's; the first is 'con"):
        load_component(fusion, tmp_path / "other.pth", what="tformer")


def test_refusals() -> None:
    with pytest.raises(
        LayoutMismatch, match=r"one and a table; it is given 3 modalities with maps"
    ):
        TFormer.needs(dict.fromkeys("abc", MAPS), depths=(1,))
    with pytest.raises(LayoutMismatch, match="given 0 modalities with maps"):
        TFormer({"a": TABLE, "b": TABLE})
    with pytest.raises(BadOption, match=r"depths=\(1, 1\), num_heads=\(6,\) and window=7 must be"):
        TFormer({"a": MAPS, "b": MAPS}, depths=(1, 1), num_heads=(6,))
    with pytest.raises(BadOption, match="over 20 channels can't be split into 8 heads"):
        TFormer({"a": MAPS, "b": MAPS, "table": TABLE}, embed_dim=10)
