"""MedFuse against the released code, and over incomplete cases."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionzoo.fusions.medfuse import MedFuse
from fusionzoo.interface import Context
from fusionzoo.losses.divergence import cosine_distance
from fusionzoo.spec import FeatureSpec
from tests import golden_rule

GIVEN = {"ct": FeatureSpec.vector(32), "table": FeatureSpec.vector(20)}
STAGES = {
    "ct": [FeatureSpec.map(32, (2, 2, 2), (8, 8, 8))],
    "table": [FeatureSpec.vector(20)],
}


def built(**options) -> MedFuse:
    torch.manual_seed(0)
    fusion = MedFuse(GIVEN, **options)
    fusion.attach(STAGES, [])
    return fusion


def vectors(batch: int) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {name: torch.randn(batch, spec.channels) for name, spec in GIVEN.items()}


def context(
    batch: int, *, ct: list[bool] | None = None, table: list[bool] | None = None
) -> Context:
    everyone = [True] * batch
    return Context({"ct": torch.tensor(ct or everyone), "table": torch.tensor(table or everyone)})


def test_golden_of_the_released_code() -> None:
    golden = golden_rule.load("medfuse_core_paired")
    param = golden["param"]
    fusion = built()
    fusion.load_state_dict(MedFuse.rename_official(param))
    features = {"ct": golden["in"]["img_feats"], "table": golden["in"]["ehr_feats"]}
    fused = fusion.join(features, context(3)).features["fused"]
    logit = F.linear(fused, param["lstm_fused_cls.0.weight"], param["lstm_fused_cls.0.bias"])
    torch.testing.assert_close(logit.sigmoid(), golden["out"]["prob"], atol=1e-4, rtol=1e-4)
    projected = fusion.projections[0](features["ct"])
    torch.testing.assert_close(projected, golden["out"]["img_projected"], atol=1e-4, rtol=1e-4)


def test_missing_modalities_are_skipped() -> None:
    fusion, x = built(), vectors(4)
    partly = context(4, ct=[True, False, True, False], table=[True, True, False, False])
    fused = fusion.join(x, partly).features["fused"]
    table, image = x["table"], fusion.projections[0](x["ct"])
    both = fusion.lstm(torch.stack([table[0], image[0]])[None])[0][0, -1]
    torch.testing.assert_close(fused[0], both)
    torch.testing.assert_close(fused[1], fusion.lstm(table[1][None, None])[0][0, -1])
    torch.testing.assert_close(fused[2], fusion.lstm(image[2][None, None])[0][0, -1])
    torch.testing.assert_close(fused[3], fusion.lstm(torch.zeros(1, 1, 20))[0][0, -1])


def test_alignment_is_over_complete_cases() -> None:
    fusion, x = built(align=2.0), vectors(4)
    losses = fusion.join(x, context(4, ct=[True, False, True, True])).losses
    kept = [0, 2, 3]
    expected = 2 * cosine_distance(x["table"][kept], fusion.projections[0](x["ct"][kept]))
    torch.testing.assert_close(losses["align"], expected)
    assert fusion.join(x, context(4, ct=[False] * 4)).losses["align"] == 0
    assert built().join(x, context(4)).losses == {}


def test_order_and_widths() -> None:
    fusion = built(hidden_dim=12)
    assert fusion.order == ("table", "ct")
    assert fusion.outputs == {"fused": FeatureSpec.vector(12)}
    assert built().outputs == {"fused": FeatureSpec.vector(32)}


def test_gradient_reaches_every_parameter() -> None:
    fusion = built()
    fusion.join(vectors(8), context(8)).features["fused"].square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in fusion.parameters())
