"""Cross-attention against its equation and the released code; what a single key does."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionzoo.errors import BadOption, FusionZooError
from fusionzoo.ops.attention import (
    CrossAttention,
    MergedCrossAttention,
    TokenBatchNorm,
    as_tokens,
    attend_to_others,
)
from tests import golden_normal, golden_rule


def official(param: dict[str, Tensor]) -> dict[str, Tensor]:
    names = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}
    return {
        f"{names[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in param.items()
    }


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("cross_attention_1tok", CrossAttention(24, 24, num_heads=4)),
        ("cross_attention_multi", CrossAttention(24, 12, num_heads=4)),
    ],
)
def test_golden(name: str, module: CrossAttention) -> None:
    golden = golden_rule.load(name)
    module.load_state_dict(official(golden["param"]))
    actual = module(golden["in"]["query"], golden["in"]["keyval"])
    torch.testing.assert_close(actual, golden["out"]["y"], atol=1e-4, rtol=1e-4)


def test_equation_in_numpy() -> None:
    torch.manual_seed(0)
    module = CrossAttention(4, 3, num_heads=2).double()
    query, context = torch.randn(1, 2, 4).double(), torch.randn(1, 3, 3).double()
    weight = {key: value.numpy() for key, value in module.state_dict().items()}
    a, b = query[0].numpy(), context[0].numpy()
    q = a @ weight["query.weight"].T + weight["query.bias"]
    k = b @ weight["key.weight"].T + weight["key.bias"]
    v = b @ weight["value.weight"].T + weight["value.bias"]
    expected = a.copy()
    for head in (slice(0, 2), slice(2, 4)):
        scores = np.exp(q[:, head] @ k[:, head].T / np.sqrt(2))
        expected[:, head] += scores / scores.sum(axis=1, keepdims=True) @ v[:, head]
    np.testing.assert_allclose(module(query, context)[0].detach().numpy(), expected, atol=1e-12)


def test_over_one_key_only_the_value_learns() -> None:
    torch.manual_seed(0)
    module = CrossAttention(8, 8, num_heads=2)
    query, context = torch.randn(5, 1, 8), torch.randn(5, 1, 8)
    out = module(query, context)
    torch.testing.assert_close(out, query + module.value(context))
    out.square().sum().backward()
    for part in (module.query, module.key):
        assert part.weight.grad.abs().max() == 0
        assert part.bias.grad.abs().max() == 0
    assert module.value.weight.grad.abs().max() > 0


def test_over_several_keys_all_learn() -> None:
    torch.manual_seed(0)
    module = CrossAttention(8, 8, num_heads=2)
    module(torch.randn(5, 2, 8), torch.randn(5, 3, 8)).square().sum().backward()
    # A constant added to all scores of a softmax changes nothing, so the keys' bias can't learn.
    learning = {name for name, p in module.named_parameters() if p.grad.abs().max() > 1e-5}
    assert learning == {name for name, _ in module.named_parameters()} - {"key.bias"}


def test_three_modalities_get_the_mean_over_the_others() -> None:
    torch.manual_seed(0)
    module = CrossAttention(4, 4, num_heads=1)
    a, b, c = torch.randn(2, 1, 4), torch.randn(2, 2, 4), torch.randn(2, 3, 4)
    first, second, third = attend_to_others(module, [a, b, c])
    torch.testing.assert_close(first, (module(a, b) + module(a, c)) / 2)
    assert (second.shape, third.shape) == (b.shape, c.shape)


def test_heads_have_to_divide_the_channels() -> None:
    with pytest.raises(BadOption, match=r"over 24 channels can't be split into 5 heads"):
        CrossAttention(24, 24, num_heads=5)


def test_a_vector_is_one_token() -> None:
    assert as_tokens(torch.zeros(2, 5)).shape == (2, 1, 5)
    assert as_tokens(torch.zeros(2, 3, 5)).shape == (2, 3, 5)


def test_batch_norm_is_over_all_tokens() -> None:
    x = torch.randn(3, 4, 5) * 3 + 1
    y = TokenBatchNorm(5)(x)
    torch.testing.assert_close(y.mean(dim=(0, 1)), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(dim=(0, 1), correction=0), torch.ones(5), atol=1e-3, rtol=0)


def test_one_token_can_be_normalised_only_in_evaluation() -> None:
    norm = TokenBatchNorm(5)
    with pytest.raises(FusionZooError, match=r"1 case of 1 token.*batch size of 2 or more"):
        norm(torch.zeros(1, 1, 5))
    assert norm.eval()(torch.zeros(1, 1, 5)).shape == (1, 1, 5)


def test_golden_attention_with_the_query_among_the_keys() -> None:
    module = golden_normal.fill_module(MergedCrossAttention(24, num_heads=4))
    golden_normal.assert_golden(module, "tformer_mhca")
    with pytest.raises(BadOption, match=r"over 24 channels can't be split into 5 heads"):
        MergedCrossAttention(24, num_heads=5)
