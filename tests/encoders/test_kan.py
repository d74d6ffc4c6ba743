"""KAN against its equation, the released code and pykan."""

import importlib.util
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fusionzoo.encoders.kan import KAN
from fusionzoo.errors import BadOption, MissingExtra, WeightsError
from fusionzoo.ops.splines import cox_de_boor, uniform_knots
from fusionzoo.spec import FeatureSpec, Modality
from tests import golden_rule

TABLE = Modality("table", "table", 7)

needs_pykan = pytest.mark.skipif(importlib.util.find_spec("kan") is None, reason="pykan is absent")


def test_golden_layer_of_the_released_code() -> None:
    golden = golden_rule.load("kan_layer_7x24")
    encoder = KAN(TABLE)
    encoder.load_state_dict(KAN.rename_official(golden["param"]))
    torch.testing.assert_close(encoder(golden["in"]["x"]), golden["out"]["y"], atol=1e-5, rtol=1e-5)


def test_golden_classifier_of_the_released_code() -> None:
    golden = golden_rule.load("tab_kan_classifier")
    param = golden["param"]
    encoder = KAN(TABLE)
    layer = {key: value for key, value in param.items() if key.startswith("kan.")}
    encoder.load_state_dict(KAN.rename_official(layer))
    features = encoder(golden["in"]["x"])
    logit = F.linear(features, param["tab_cls.weight"], param["tab_cls.bias"])
    torch.testing.assert_close(logit, golden["out"]["logit"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("grid_size", "order"), [(5, 3), (8, 2), (3, 4)])
def test_equation_of_one_layer(grid_size: int, order: int) -> None:
    torch.manual_seed(0)
    encoder = KAN(TABLE, channels=4, grid_size=grid_size, order=order).double()
    layer = encoder.layers[0]
    x = torch.randn(6, 7, dtype=torch.float64)
    basis = cox_de_boor(x, uniform_knots(grid_size, order), order)
    curves = torch.einsum("big,igo->bio", basis, layer.coef)
    edges = layer.scale_base * F.silu(x)[:, :, None] + layer.scale_spline * curves
    torch.testing.assert_close(encoder(x), edges.sum(dim=1), atol=1e-10, rtol=0)


def test_initial_curves_go_through_the_noise_at_the_grid() -> None:
    torch.manual_seed(0)
    layer = KAN(TABLE).layers[0]
    points = torch.linspace(-1, 1, 6, dtype=torch.float64)
    basis = cox_de_boor(points, uniform_knots(5, 3), 3)
    curves = torch.einsum("pg,igo->pio", basis, layer.coef.double()).abs()
    assert 0.045 < curves.max() <= 0.0500001  # uniform noise of half width 0.5 x 0.5 / 5
    assert layer.scale_base.abs().max() <= 1 / np.sqrt(7)
    assert (layer.scale_spline == 1).all()


def test_size_and_stages() -> None:
    encoder = KAN(TABLE)
    assert sum(p.numel() for p in encoder.parameters()) == 1680
    assert encoder.output == FeatureSpec.vector(24)
    deep = KAN(TABLE, hidden=(16, 8), channels=4)
    assert [stage.channels for stage in deep.stages] == [16, 8, 4]
    assert deep(torch.zeros(3, 7)).shape == (3, 4)


def test_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    encoder = KAN(TABLE, hidden=(5,), channels=3)
    encoder(torch.rand(16, 7) * 2 - 1).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in encoder.parameters())


def test_far_outside_the_grid_only_the_silu_is_left() -> None:
    encoder = KAN(TABLE)
    x = torch.full((2, 7), 3.0)
    torch.testing.assert_close(encoder(x), F.silu(x) @ encoder.layers[0].scale_base)


def test_builds_without_memory() -> None:
    with torch.device("meta"):
        assert KAN(TABLE)(torch.empty(2, 7)).shape == (2, 24)


def test_official_names_of_several_layers_and_the_mask() -> None:
    golden = golden_rule.load("kan_layer_7x24")["param"]
    masked = golden | {"mask": torch.zeros(7, 24)}
    state = {f"act_fun.1.{key}": value for key, value in masked.items()}
    renamed = KAN.rename_official(state)
    assert renamed["layers.1.coef"].shape == (7, 8, 24)
    assert (renamed["layers.1.scale_base"] == 0).all()
    assert (renamed["layers.1.scale_spline"] == 0).all()


def test_official_weights_that_do_not_fit() -> None:
    golden = golden_rule.load("kan_layer_7x24")["param"]
    with pytest.raises(WeightsError, match=r"can't place the official weight 'node_bias' of shape"):
        KAN.rename_official({"node_bias": torch.zeros(24)})
    with pytest.raises(
        WeightsError, match=r"layer 0 has knots up to 0.5 away from the uniform grid"
    ):
        KAN.rename_official(golden | {"grid": golden["grid"] + 0.5})


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(BadOption, match=r"grid_size=0, order=3. Both must be 1 or more"):
        KAN(TABLE, grid_size=0)


def test_pykan_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kan.KANLayer", None)
    monkeypatch.setitem(sys.modules, "kan", None)
    with pytest.raises(
        MissingExtra, match=r"pip install 'fusionzoo\[kan\]', or use backend='native'"
    ):
        KAN(TABLE, backend="pykan")


def draws_after_building(seed: int) -> tuple[float, float, float]:
    """What the three generators give, when seeded before an encoder was built."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    KAN(TABLE, backend="pykan")
    return random.random(), np.random.random(), torch.rand(()).item()


@needs_pykan
@pytest.mark.filterwarnings("ignore")
def test_pykan_reseeds_nothing_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = draws_after_building(1), draws_after_building(2)
    assert all(a != b for a, b in zip(first, second, strict=True))
    assert list(tmp_path.iterdir()) == []


@needs_pykan
@pytest.mark.filterwarnings("ignore")
def test_pykan_gives_the_same_numbers() -> None:
    ours = KAN(TABLE, backend="pykan")
    native = KAN(TABLE)
    native.load_state_dict(KAN.rename_official(ours.layers[0].layer.state_dict()))
    x = torch.rand(9, 7) * 5 - 2.5
    torch.testing.assert_close(native(x), ours(x), atol=1e-5, rtol=1e-5)
