"""MMTM against the released code, its placements and its mean of logits."""

import pytest
import torch

from fusionzoo.errors import BadOption
from fusionzoo.fusions.mmtm import MMTM, TransferModule
from fusionzoo.interface import Context
from fusionzoo.spec import FeatureSpec
from tests import golden_rule

STAGES = {
    "ct": [FeatureSpec.map(n, (3, 3, 3), (2, 2, 2)) for n in (8, 16, 32)],
    "table": [FeatureSpec.vector(4), FeatureSpec.vector(6)],
}
GIVEN = {"ct": FeatureSpec.vector(32), "table": FeatureSpec.vector(6)}


def built(**options) -> MMTM:
    torch.manual_seed(0)
    fusion = MMTM(GIVEN, **options)
    fusion.attach(STAGES, [])
    return fusion


def test_golden_of_the_released_code() -> None:
    golden = golden_rule.load("mmtm_16_24")
    module = TransferModule((16, 24), ratio=4, double_gate=False)
    names = {"fc_squeeze": "squeeze", "fc_visual": "excite.0", "fc_skeleton": "excite.1"}
    renamed = {}
    for key, value in golden["param"].items():
        layer, leaf = key.split(".")
        renamed[f"{names[layer]}.{leaf}"] = value
    module.load_state_dict(renamed)
    visual, table = module([golden["in"]["visual"], golden["in"]["tab"]])
    torch.testing.assert_close(visual, golden["out"]["visual"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(table, golden["out"]["tab"], atol=1e-4, rtol=1e-4)


def test_sizes_of_the_adaptation_to_penet() -> None:
    module = TransferModule((1024, 256), ratio=4, double_gate=False)
    assert module.squeeze.out_features == 640


def test_acts_after_the_stages_that_all_encoders_have() -> None:
    fusion = built()
    assert list(fusion.transfers) == ["0", "1"]
    states = {"ct": torch.randn(2, 16, 3, 3, 3), "table": torch.randn(2, 6)}
    after = fusion.exchange(1, states, Context({}))
    assert {name: x.shape for name, x in after.items()} == {n: x.shape for n, x in states.items()}
    gate = after["ct"] / states["ct"]
    torch.testing.assert_close(gate, gate[:, :, :1, :1, :1].expand_as(gate))
    assert ((gate > 0) & (gate < 1)).all()
    assert fusion.exchange(2, states, Context({})) is states
    assert list(built(placements=(1,)).transfers) == ["1"]


def test_double_gate_doubles() -> None:
    states = {"ct": torch.randn(2, 8, 3, 3, 3), "table": torch.randn(2, 4)}
    single = built().exchange(0, states, Context({}))
    double = built(double_gate=True).exchange(0, states, Context({}))
    torch.testing.assert_close(double["table"], 2 * single["table"])


def test_gradient_reaches_every_parameter() -> None:
    fusion = built(placements=(0,))
    states = {"ct": torch.randn(8, 8, 3, 3, 3), "table": torch.randn(8, 4)}
    sum(x.square().sum() for x in fusion.exchange(0, states, Context({})).values()).backward()
    assert all(p.grad.abs().max() > 0 for p in fusion.parameters())


def test_logits_are_averaged() -> None:
    a, b = torch.randn(2, 5, 3)
    final = built().decide({"ct": {"dx": a}, "table": {"dx": b}}, Context({}))
    torch.testing.assert_close(final["dx"], (a + b) / 2)


def test_outputs_and_placements_that_are_not_there() -> None:
    vectors = {"ct": torch.randn(2, 32), "table": torch.randn(2, 6)}
    assert built().join(vectors, Context({})).features == vectors
    assert built().outputs == GIVEN
    with pytest.raises(BadOption, match=r"placements=\(2,\) are not all stages .* 2 in common"):
        built(placements=(2,))
