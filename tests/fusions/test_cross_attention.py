"""Single-scale cross-attention against the released code, and over tokens."""

from fnmatch import fnmatch

import pytest
import torch

from fusionzoo.errors import BadOption
from fusionzoo.fusions.cross_attention import CrossAttention
from fusionzoo.interface import Context
from fusionzoo.spec import FeatureSpec
from tests import golden_rule

VECTORS = {"ct": FeatureSpec.vector(24), "table": FeatureSpec.vector(24)}


def join(fusion: CrossAttention, *features: torch.Tensor) -> torch.Tensor:
    named = {f"m{i}": x for i, x in enumerate(features)}
    return fusion.join(named, Context({})).features["fused"]


def test_golden_of_the_released_code() -> None:
    golden = golden_rule.load("simple_cross_attention24")
    fusion = CrossAttention(VECTORS).eval()
    fusion.load_state_dict(CrossAttention.rename_official(golden["param"]))
    assert sum(p.numel() for p in fusion.parameters()) == 1896
    actual = join(fusion, golden["in"]["img"], golden["in"]["tab"])
    torch.testing.assert_close(actual, golden["out"]["out"], atol=1e-4, rtol=1e-4)


def test_over_vectors_it_is_linear_in_the_normalised_inputs() -> None:
    torch.manual_seed(0)
    fusion = CrossAttention(VECTORS).double()
    a, b = torch.randn(6, 24).double() * 2 + 1, torch.randn(6, 24).double()
    norm_a = (a - a.mean(0)) / (a.var(0, correction=0) + 1e-5).sqrt()
    norm_b = (b - b.mean(0)) / (b.var(0, correction=0) + 1e-5).sqrt()
    mean = (norm_a + norm_b) / 2
    value = fusion.attention.value
    expected = mean + mean @ value.weight.T + value.bias
    torch.testing.assert_close(join(fusion, a, b), expected)


def test_gradient_over_vectors_misses_only_the_declared_parameters() -> None:
    torch.manual_seed(0)
    fusion = CrossAttention(VECTORS)
    (join(fusion, torch.randn(8, 24), torch.randn(8, 24)) ** 3).sum().backward()
    silent = {n for n, p in fusion.named_parameters() if p.grad.abs().max() == 0}
    declared = {
        n
        for n, _ in fusion.named_parameters()
        if any(fnmatch(n, pattern) for pattern in fusion.no_gradient)
    }
    assert silent == declared


def test_tokens_of_different_number_attend() -> None:
    torch.manual_seed(0)
    fusion = CrossAttention({"a": FeatureSpec.tokens(3, 24), "b": FeatureSpec.tokens(5, 24)})
    fused = join(fusion, torch.randn(4, 3, 24), torch.randn(4, 5, 24))
    assert fused.shape == (4, 24)
    (fused**3).sum().backward()
    assert fusion.attention.query.weight.grad.abs().max() > 0
    assert fusion.attention.key.weight.grad.abs().max() > 0


def test_takes_three_modalities() -> None:
    fusion = CrossAttention(VECTORS | {"pet": FeatureSpec.vector(24)}, channels=24)
    assert join(fusion, *torch.randn(3, 4, 24)).shape == (4, 24)


def test_needs_and_options() -> None:
    needs = CrossAttention.needs(VECTORS, channels=16, num_heads=4)
    assert all(n.layouts == ("vector", "tokens") and n.channels == 16 for n in needs.values())
    with pytest.raises(BadOption, match="24 channels can't be split into 7 heads"):
        CrossAttention(VECTORS, num_heads=7)
