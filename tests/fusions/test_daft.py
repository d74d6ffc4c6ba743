"""DAFT after a stage and inside of one: the released block at its five locations."""

import pytest
import torch

from fusionzoo.encoders.resnet3d import ResidualBlock
from fusionzoo.errors import BadOption, LayoutMismatch
from fusionzoo.fusions.daft import DAFT
from fusionzoo.interface import Batch, Context
from fusionzoo.models.assemble import assemble
from fusionzoo.spec import DataSpec, FeatureSpec, Modality, TaskSpec
from tests import golden_rule

STAGES = {
    "table": [FeatureSpec.vector(3), FeatureSpec.vector(5)],
    "ct": [FeatureSpec.map(4, (2, 6, 6), (2, 2, 2)), FeatureSpec.map(8, (1, 3, 3), (4, 4, 4))],
}
GIVEN = {"table": FeatureSpec.vector(5), "ct": FeatureSpec.vector(8)}


def test_equation_with_the_tables_own_stage() -> None:
    torch.manual_seed(0)
    fusion = DAFT(GIVEN, level=1, bottleneck=6)
    fusion.attach(STAGES, [])
    states = {"table": torch.randn(2, 5), "ct": torch.randn(2, 8, 1, 3, 3)}
    code = torch.cat([states["ct"].mean(dim=(2, 3, 4)), states["table"]], dim=1)
    pair = fusion.modulation.excite(fusion.modulation.squeeze(code).clamp(min=0))
    alpha, beta = pair[..., None, None, None].chunk(2, dim=1)
    after = fusion.exchange(1, states, Context({}))
    torch.testing.assert_close(after["ct"], alpha * states["ct"] + beta)
    assert sum(p.numel() for p in fusion.parameters()) == 13 * 6 + 6 * 16


def test_output_and_gradient() -> None:
    torch.manual_seed(0)
    fusion = DAFT(GIVEN)
    fusion.attach(STAGES, [])
    assert fusion.outputs == {"fused": GIVEN["ct"]}
    states = {"table": torch.randn(4, 3), "ct": torch.randn(4, 4, 2, 6, 6)}
    fusion.exchange(0, states, Context({}))["ct"].square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in fusion.parameters())


DATA = DataSpec(
    "x",
    (Modality("ct", "volume", 1, (8, 16, 16)), Modality("table", "table", 3)),
    (TaskSpec("dx", ("no", "yes")),),
)


@pytest.mark.parametrize("location", [0, 1, 3, 4])
def test_golden_block(location: int) -> None:
    golden = golden_rule.load(f"daft_block_loc{location}")
    param, x, table = golden["param"], golden["in"]["x"], golden["in"]["tab"]
    param = {"bn1.weight": torch.ones(16), "bn1.bias": torch.zeros(16)} | param
    block = ResidualBlock(8, 16, stride=2).eval()
    block.load_state_dict({k: v for k, v in param.items() if not k.startswith("aux.")})
    levels = [FeatureSpec.map(8, (4, 6, 6), (8, 8, 8)), FeatureSpec.map(16, (2, 3, 3), (16,) * 3)]
    fusion = DAFT({"ct": FeatureSpec.vector(16), "table": FeatureSpec.vector(7)}, location=location)
    fusion.attach({"ct": levels, "table": [FeatureSpec.vector(7)]}, [])
    names = {"squeeze.weight": "aux.aux_base.weight", "excite.weight": "aux.aux_out.weight"}
    fusion.modulation.load_state_dict({ours: param[theirs] for ours, theirs in names.items()})
    states, context = {"ct": x, "table": table}, Context({})
    changes = fusion.inside(1, states, context).get("ct", {})
    assert bool(changes) is (location > 0)
    found = block(fusion.exchange(0, states, context)["ct"], changes)
    torch.testing.assert_close(found, golden["out"]["y"], atol=1e-4, rtol=1e-4)


def built_at(location: int, like: DAFT) -> DAFT:
    """The same fusion at another location."""
    other = DAFT(GIVEN, level=like.level, location=location)
    other.attach(STAGES, [])
    other.load_state_dict(like.state_dict())
    return other


def test_location_2_is_the_main_path_alone() -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(4, 8, stride=2).eval(), torch.randn(2, 4, 2, 6, 6)
    fusion = DAFT(GIVEN, level=0, location=2)
    fusion.attach(STAGES, [])
    states = {"ct": x, "table": torch.randn(2, 3)}
    changed = built_at(0, fusion).exchange(0, states, Context({}))["ct"]
    main = block.bn2(block.conv2(block.bn1(block.conv1(changed)).relu()))
    found = block(x, fusion.inside(1, states, Context({}))["ct"])
    torch.testing.assert_close(found, (main + block.downsample(x)).relu())


@pytest.mark.parametrize("location", [1, 2, 3, 4])
def test_a_model_changes_maps_inside_of_a_stage(location: int) -> None:
    spec = f"ct=resnet3d(width=2), table=identity -> daft(location={location}) -> linear"
    model = assemble(spec, DATA).eval()
    inputs = {"ct": torch.randn(3, 1, 8, 16, 16), "table": torch.randn(3, 3, requires_grad=True)}
    present = {name: torch.ones(3, dtype=torch.bool) for name in inputs}
    batch = Batch(inputs, present, {"dx": torch.zeros(3, dtype=torch.long)}, torch.arange(3))
    model(batch).logits["dx"].sum().backward()
    assert inputs["table"].grad.abs().max() > 0
    assert all(p.grad.abs().max() > 0 for p in model.fusion.parameters())


def test_points_that_an_encoder_does_not_offer() -> None:
    told = (
        r"'daft\(location=3\)' changes maps inside of a stage, at norm; the encoder of 'ct' offers"
    )
    spec = "ct=penet3d(depth=14, width=0.25), table=identity -> daft(location=3) -> linear"
    with pytest.raises(LayoutMismatch, match=told):
        assemble(spec, DATA)


def test_locations_that_there_are_not() -> None:
    with pytest.raises(BadOption, match="location=5 is none of the five: 0: input, 1: skip, 2: ma"):
        DAFT(GIVEN, location=5)
    with pytest.raises(
        BadOption, match="inside of the stage after level=1, which is the last of 2"
    ):
        DAFT(GIVEN, level=-1, location=1).attach(STAGES, [])
