"""The MLP encoder against the released code and its equation."""

import pytest
import torch

from fusionzoo.encoders.mlp import MLP
from fusionzoo.spec import FeatureSpec, Modality
from tests import golden_rule

TABLE = Modality("table", "table", 7)


def test_golden_of_the_released_code() -> None:
    golden = golden_rule.load("tab_mlp")
    encoder = MLP(TABLE).eval()
    encoder.load_state_dict(MLP.rename_official(golden["param"]))
    assert sum(p.numel() for p in encoder.parameters()) == 792
    torch.testing.assert_close(encoder(golden["in"]["x"]), golden["out"]["y"], atol=1e-5, rtol=1e-5)


def test_equation() -> None:
    torch.manual_seed(0)
    encoder = MLP(TABLE, hidden=(5,), channels=3, activation="tanh").double().eval()
    x = torch.randn(4, 7, dtype=torch.float64)
    weight = encoder.state_dict()
    hidden = torch.tanh(x @ weight["layers.0.weight"].T + weight["layers.0.bias"])
    expected = hidden @ weight["layers.1.weight"].T + weight["layers.1.bias"]
    torch.testing.assert_close(encoder(x), expected)


@pytest.mark.parametrize("hidden", [(), (8,), (8, 6)])
def test_each_layer_is_a_stage(hidden: tuple[int, ...]) -> None:
    encoder = MLP(TABLE, hidden=hidden, channels=4)
    assert encoder.stages == tuple(FeatureSpec.vector(n) for n in (*hidden, 4))
    x = torch.randn(3, 7)
    for level, given in enumerate(encoder.stages):
        x = encoder.stage(level, x)
        assert x.shape == (3, given.channels)


def test_dropout_follows_hidden_layers_only() -> None:
    torch.manual_seed(0)
    encoder = MLP(TABLE, hidden=(200,), channels=200, dropout=0.5)
    hidden = encoder.stage(0, torch.randn(1, 7))
    assert (hidden == 0).float().mean() > 0.6  # half by dropout, half of the rest by the relu
    assert (encoder.stage(1, hidden) != 0).all()


def test_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    encoder = MLP(TABLE)
    encoder(torch.randn(16, 7)).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in encoder.parameters())
