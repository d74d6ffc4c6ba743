"""DAFT after a stage: the code holds the map's own mean."""

import torch

from fusionzoo.fusions.daft import DAFT
from fusionzoo.interface import Context
from fusionzoo.spec import FeatureSpec

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
