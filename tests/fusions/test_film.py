"""FiLM after a stage."""

import torch

from fusionzoo.fusions.film import FiLM
from fusionzoo.interface import Context
from fusionzoo.spec import FeatureSpec

STAGES = {
    "ct": [FeatureSpec.map(4, (6, 6), (2, 2)), FeatureSpec.map(8, (3, 3), (4, 4))],
    "table": [FeatureSpec.vector(3)],
}
GIVEN = {"ct": FeatureSpec.vector(8), "table": FeatureSpec.vector(3)}


def built(**options) -> FiLM:
    torch.manual_seed(0)
    fusion = FiLM(GIVEN, **options)
    fusion.attach(STAGES, [])
    return fusion


def test_equation_at_the_stage_before_the_last() -> None:
    fusion = built()
    states = {"ct": torch.randn(2, 4, 6, 6), "table": torch.randn(2, 3)}
    code = fusion.modulation.excite(fusion.modulation.squeeze(states["table"]).clamp(min=0))
    alpha, beta = code[:, :4, None, None], code[:, 4:, None, None]
    after = fusion.exchange(0, states, Context({}))
    torch.testing.assert_close(after["ct"], alpha * states["ct"] + beta)
    assert after["table"] is states["table"]
    assert fusion.exchange(1, states, Context({})) is states


def test_the_output_is_the_images_vector() -> None:
    fusion = built()
    vectors = {"ct": torch.randn(2, 8), "table": torch.randn(2, 3)}
    assert fusion.join(vectors, Context({})).features == {"fused": vectors["ct"]}
    assert fusion.outputs == {"fused": GIVEN["ct"]}
    assert all(need.layouts == ("vector",) for need in FiLM.needs(GIVEN).values())


def test_gradient_reaches_every_parameter_and_the_table() -> None:
    fusion = built(level=-1)
    table = torch.randn(4, 3, requires_grad=True)
    states = {"ct": torch.randn(4, 8, 3, 3), "table": table}
    fusion.exchange(1, states, Context({}))["ct"].square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in fusion.parameters())
    assert table.grad.abs().max() > 0
