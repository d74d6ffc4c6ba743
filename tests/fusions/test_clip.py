"""CLIP fusion: the released loss, embeddings of length 1, missing modalities and copies."""

import pytest
import torch
from torch import Tensor

from fusionzoo.fusions.clip import CLIP
from fusionzoo.interface import Context
from fusionzoo.losses.contrastive import symmetric_info_nce
from fusionzoo.spec import FeatureSpec
from tests import golden_rule

GIVEN = {"ct": FeatureSpec.vector(10), "table": FeatureSpec.vector(7)}


def context(batch: int, **fields) -> Context:
    return Context({name: torch.ones(batch, dtype=torch.bool) for name in GIVEN}, **fields)


def vectors(batch: int) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {name: torch.randn(batch, spec.channels) for name, spec in GIVEN.items()}


def test_golden_of_the_released_code() -> None:
    golden = golden_rule.load("pecon_clip_loss")
    fusion = CLIP(GIVEN, embed_dim=8)
    assert fusion.logit_scale.item() == pytest.approx(golden["param"]["logit_scale"].item())
    names = {"visual.l.": "projections.0.", "text.l.": "projections.1.", "logit_": "logit_"}
    state = {
        key.replace(official, ours): value
        for official, ours in names.items()
        for key, value in golden["param"].items()
        if key.startswith(official)
    }
    fusion.load_state_dict(state)
    joined = fusion.join({"ct": golden["in"]["image"], "table": golden["in"]["text"]}, context(5))
    expected = torch.cat([golden["out"]["img_feat"], golden["out"]["txt_feat"]], dim=1)
    torch.testing.assert_close(joined.features["fused"], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(joined.losses["clip"], golden["out"]["loss"], atol=1e-4, rtol=1e-4)


def test_cases_without_both_modalities_are_left_out() -> None:
    torch.manual_seed(0)
    fusion = CLIP(GIVEN)
    x, partly = vectors(6), context(6)
    partly.present["table"][[1, 4]] = False
    kept = {name: value[[0, 2, 3, 5]] for name, value in x.items()}
    expected = fusion.join(kept, context(4)).losses["clip"]
    torch.testing.assert_close(fusion.join(x, partly).losses["clip"], expected)


def test_no_complete_case_gives_zero() -> None:
    partly = context(3)
    partly.present["ct"][:] = False
    loss = CLIP(GIVEN).join(vectors(3), partly).losses["clip"]
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize(
    ("options", "used"),
    [({}, "index"), ({"mask_duplicates": False}, ""), ({"supervised": True}, "both")],
)
def test_copies_and_classes(options: dict, used: str) -> None:
    torch.manual_seed(0)
    fusion = CLIP(GIVEN, weight=0.5, **options)
    index, classes = torch.tensor([0, 1, 0, 2]), torch.tensor([1, 0, 1, 1])
    joined = fusion.join(vectors(4), context(4, index=index, targets={"dx": classes}))
    a, b = joined.features["fused"].chunk(2, dim=1)
    expected = symmetric_info_nce(
        a,
        b,
        fusion.logit_scale.exp(),
        index=index if used else None,
        targets=classes if used == "both" else None,
    )
    torch.testing.assert_close(joined.losses["clip"], 0.5 * expected)


def test_scale_is_capped() -> None:
    torch.manual_seed(0)
    fusion, x = CLIP(GIVEN), vectors(4)
    with torch.no_grad():
        fusion.logit_scale.fill_(50.0)
    joined = fusion.join(x, context(4))
    a, b = joined.features["fused"].chunk(2, dim=1)
    torch.testing.assert_close(joined.losses["clip"], symmetric_info_nce(a, b, 100.0))


def test_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    fusion = CLIP(GIVEN)
    assert fusion.outputs == {"fused": FeatureSpec.vector(256)}
    fusion.join(vectors(8), context(8)).losses["clip"].backward()
    assert all(p.grad.abs().max() > 0 for p in fusion.parameters())
