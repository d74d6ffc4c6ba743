"""MSCA against the released code, its collapsed formula, and its behaviour over tokens."""

from fnmatch import fnmatch

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionzoo.errors import BadOption, FusionZooError
from fusionzoo.fusions.msca import BSF, MSCA
from fusionzoo.interface import Context
from fusionzoo.spec import FeatureSpec
from tests import golden_rule

VECTORS = {"ct": FeatureSpec.vector(24), "table": FeatureSpec.vector(24)}


def join(fusion: MSCA, *features: Tensor) -> Tensor:
    named = {f"m{i}": x for i, x in enumerate(features)}
    return fusion.join(named, Context({})).features["fused"]


def official() -> tuple[dict[str, dict[str, Tensor]], MSCA]:
    golden = golden_rule.load("msca24")
    fusion = MSCA(VECTORS).eval()
    fusion.load_state_dict(MSCA.rename_official(golden["param"]))
    return golden, fusion


def test_golden_of_the_released_code() -> None:
    golden, fusion = official()
    assert sum(p.numel() for p in fusion.parameters()) == 4848
    actual = join(fusion, golden["in"]["img"], golden["in"]["tab"])
    torch.testing.assert_close(actual, golden["out"]["out"], atol=1e-4, rtol=1e-4)


def test_golden_bsf() -> None:
    golden = golden_rule.load("bsf24")
    merge = BSF(24, 12)
    names = {"fc1x": "fine", "fc1y": "coarse"}
    merge.load_state_dict({names[k[:4]] + k[4:]: value for k, value in golden["param"].items()})
    actual = merge(golden["in"]["x"], golden["in"]["y"])
    torch.testing.assert_close(actual, golden["out"]["out"], atol=1e-4, rtol=1e-4)


def collapsed(param: dict[str, np.ndarray], img: np.ndarray, tab: np.ndarray) -> np.ndarray:
    """The paper's fusion of two vectors, with every softmax over one key replaced by 1."""

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ param[f"{name}.weight"].T + param[f"{name}.bias"]

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        spread = np.sqrt(param[f"{name}.running_var"] + 1e-5)
        centred = (x - param[f"{name}.running_mean"]) / spread
        return centred * param[f"{name}.weight"] + param[f"{name}.bias"]

    def merge(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = linear(f"{name}.fc1x", x), linear(f"{name}.fc1y", y)
        scores = np.exp(x * y)
        return (x + y) * (1 + scores / scores.sum(axis=-1, keepdims=True))

    i = [norm("norm_img", img)]
    t = [norm("norm_tab", tab)]
    for half in ("down1.0", "down2.0"):
        i.append(np.maximum(linear(half, i[0]), 0))
        t.append(np.maximum(linear(half, t[0]), 0))
    means = []
    i_found = t_found = np.empty(0)
    for level in range(3):
        if level:
            i[level] = i[level] + linear(f"sample_img{level}", i_found)
            t[level] = t[level] + linear(f"sample_tab{level}", t_found)
        value = f"cross_attention{level + 1}.v_proj"
        i_found = i[level] + linear(value, t[level])
        t_found = t[level] + linear(value, i[level])
        means.append((i_found + t_found) / 2)
    return merge("SF2", means[0], merge("SF1", means[1], means[2]))


def test_collapsed_formula_in_numpy() -> None:
    golden, fusion = official()
    param = {key: value.double().numpy() for key, value in golden["param"].items()}
    rng = np.random.default_rng(0)
    img, tab = rng.normal(size=(2, 5, 24))
    actual = join(fusion.double(), torch.from_numpy(img), torch.from_numpy(tab))
    np.testing.assert_allclose(actual.detach().numpy(), collapsed(param, img, tab), atol=1e-10)


def test_gradient_over_vectors_misses_only_queries_and_keys() -> None:
    torch.manual_seed(0)
    fusion = MSCA(VECTORS)
    (join(fusion, torch.randn(16, 24), torch.randn(16, 24)) ** 3).sum().backward()
    silent = {n for n, p in fusion.named_parameters() if p.grad.abs().max() == 0}
    declared = {
        n
        for n, _ in fusion.named_parameters()
        if any(fnmatch(n, pattern) for pattern in fusion.no_gradient)
    }
    assert silent == declared
    assert len(declared) == 12


def test_tokens_really_attend() -> None:
    torch.manual_seed(0)
    fusion = MSCA({"ct": FeatureSpec.tokens(6, 24), "table": FeatureSpec.tokens(4, 24)})
    (join(fusion, torch.randn(8, 6, 24), torch.randn(8, 4, 24)) ** 3).sum().backward()
    keys = {n: p.grad.abs().max() for n, p in fusion.named_parameters() if ".key.weight" in n}
    assert len(keys) == 3
    assert all(largest > 1e-6 for largest in keys.values())


@pytest.mark.parametrize(
    ("options", "channels"),
    [
        ({}, 24),
        ({"merge": "concat"}, 48),
        ({"pool": "tokens"}, 48),
        ({"merge": "concat", "pool": "tokens"}, 96),
        ({"pyramid": "consecutive"}, 24),
        ({"channels": 16, "num_heads": (2, 2, 1)}, 16),
    ],
)
def test_options_and_what_they_give(options: dict, channels: int) -> None:
    width = options.get("channels", 24)
    given = {name: FeatureSpec.vector(width) for name in VECTORS}
    fusion = MSCA(given, **options).eval()
    assert fusion.outputs == {"fused": FeatureSpec.vector(channels)}
    assert join(fusion, *torch.randn(2, 3, width)).shape == (3, channels)


def test_concat_merge_sums_to_the_default() -> None:
    torch.manual_seed(0)
    summed = MSCA(VECTORS).eval()
    beside = MSCA(VECTORS, merge="concat").eval()
    beside.load_state_dict(summed.state_dict())
    x = torch.randn(2, 3, 24)
    fine, coarse = join(beside, *x).chunk(2, dim=1)
    torch.testing.assert_close(fine + coarse, join(summed, *x))


def test_consecutive_pyramid_halves_twice() -> None:
    fusion = MSCA(VECTORS, pyramid="consecutive")
    assert [half[0].weight.shape for half in fusion.halves] == [(12, 24), (6, 12)]


def test_three_modalities_are_symmetric() -> None:
    torch.manual_seed(0)
    fusion = MSCA(VECTORS | {"pet": FeatureSpec.vector(24)}).eval()
    for first in (0, 3):
        for other in fusion.passes[first + 1 : first + 3]:
            other.load_state_dict(fusion.passes[first].state_dict())
    a, b, c = torch.randn(3, 4, 24)
    torch.testing.assert_close(join(fusion, a, b, c), join(fusion, c, a, b))


def test_needs() -> None:
    needs = MSCA.needs(VECTORS, channels=16)
    assert all(n.layouts == ("vector", "tokens") and n.channels == 16 for n in needs.values())


def test_errors_say_what_fits() -> None:
    with pytest.raises(
        BadOption, match=r"channels=22 and num_heads=.* Use channels that 4 divides"
    ):
        MSCA(VECTORS, channels=22)
    with pytest.raises(BadOption, match=r"over 12 channels can't be split into 5 heads"):
        MSCA(VECTORS, num_heads=(4, 5, 2))
    with pytest.raises(FusionZooError, match=r"Batch norm in training needs two or more tokens"):
        join(MSCA(VECTORS), torch.zeros(1, 24), torch.zeros(1, 24))
