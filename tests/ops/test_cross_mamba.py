"""Cross-modal Mamba against golden outputs of the released code, and against its equations."""

import numpy as np
import pytest
import torch

from fusionzoo.errors import BadOption
from fusionzoo.ops.cross_mamba import CrossMamba, CrossMambaPair
from tests import golden_normal


@pytest.mark.parametrize("backend", ["reference", "torch", "auto"])
@pytest.mark.parametrize("layout", ["tokens", "channels"])
def test_golden(layout, backend):
    golden = golden_normal.load(f"cmm_{layout}_first")
    pair = CrossMambaPair(24, num_states=4, backend=backend)
    pair.load_state_dict(pair.rename_official(golden_normal.official_state(f"cmm_{layout}_first")))
    x, y = (golden["in"][name].requires_grad_() for name in "xy")
    given = [t.mT if layout == "tokens" else t for t in (x, y)]
    found = dict(zip("xy", pair(*given), strict=True))
    for name, ours in found.items():
        torch.testing.assert_close(ours, golden["out"][name], atol=2e-5, rtol=1e-4)
    sum((ours * golden["in"][f"dout_{n}"]).sum() for n, ours in found.items()).backward()
    golden_normal.assert_gradients(pair, pair.rename_official, golden, {"x": x, "y": y})


def by_the_equations(scan: CrossMamba, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The recurrence of one case, step by step in NumPy; `channels length` in, tokens out."""
    p = {name: tensor.detach().numpy() for name, tensor in scan.state_dict().items()}
    A, h, out = -np.exp(p["A_log"]), np.zeros(p["A_log"].shape), []
    for x, y in zip(own.T, other.T, strict=True):
        rows = p["write.weight"] @ x
        step = np.log1p(np.exp(p["step.weight"] @ rows[: scan.rank] + p["step.bias"]))[:, None]
        h = np.exp(step * A) * h + step * rows[scan.rank :] * x[:, None]
        z = h @ (p["read.weight"] @ y) + p["D"] * x
        z = (z - z.mean()) / np.sqrt(z.var() + 1e-5)
        out.append(z * p["norm.weight"] + p["norm.bias"])
    return np.stack(out)


@pytest.mark.parametrize("exchange", [True, False])
def test_equations(exchange):
    torch.manual_seed(0)
    scan = CrossMamba(20, num_states=3, exchange=exchange).double()
    own, other = torch.randn(2, 2, 20, 11, dtype=torch.float64)
    found = scan(own, other).detach().numpy()
    for case in range(2):
        read = other if exchange else own
        expected = by_the_equations(scan, own[case].numpy(), read[case].numpy())
        np.testing.assert_allclose(found[case], expected, rtol=1e-9, atol=1e-9)


def test_only_what_is_read_comes_from_the_other():
    torch.manual_seed(0)
    x, y, z = torch.randn(3, 2, 16, 9)
    scan = CrossMamba(16, num_states=4)
    assert not torch.allclose(scan(x, y), scan(x, z))
    alone = CrossMamba(16, num_states=4, exchange=False)
    assert torch.equal(alone(x, y), alone(x, z))


def test_one_scan_of_a_released_pair():
    """What fusions that read one result build: the other's weights are left out."""
    golden, state = golden_normal.load("cmm_channels_first"), golden_normal.official_state
    scan = CrossMamba(24, num_states=4)
    scan.load_state_dict(scan.rename_official(state("cmm_channels_first"), 2))
    found = scan(golden["in"]["y"], golden["in"]["x"])
    torch.testing.assert_close(found, golden["out"]["y"], atol=2e-5, rtol=1e-4)


def test_starts_as_mamba_does():
    torch.manual_seed(0)
    scan = CrossMamba(64, num_states=4)
    rates = torch.arange(1.0, 5).expand(64, 4)
    torch.testing.assert_close(scan.A_log.exp(), rates)
    steps = torch.nn.functional.softplus(scan.step.bias)
    assert ((steps > 0.99e-3) & (steps < 0.101)).all()
    assert scan.step.weight.abs().max() <= 0.5 < 2 * scan.step.weight.abs().max()


def test_gradient_reaches_every_parameter():
    pair = CrossMambaPair(16, num_states=4)
    x, y = torch.randn(2, 2, 16, 9)
    sum(z.square().sum() for z in pair(x, y * 2)).backward()
    silent = [name for name, p in pair.named_parameters() if not p.grad.any()]
    assert silent == []


def test_a_backend_that_there_is_not():
    with pytest.raises(BadOption, match="no selective-scan backend 'cdua'"):
        CrossMambaPair(8, backend="cdua")
