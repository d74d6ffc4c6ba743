"""Every conversion between parts: which one is picked, and that it gives what it declares."""

import pytest
import torch

from fusionzoo.models.adapt import projection, reachable, reduction
from fusionzoo.spec import FeatureSpec, Level, Need
from tests.models.toy_parts import ToySummary

VECTOR = FeatureSpec.vector(6)
TOKENS = FeatureSpec.tokens(5, 6)
MAP = FeatureSpec.map(6, (4, 3), (2, 2))
VOLUME = FeatureSpec.map(6, (2, 4, 3), (2, 2, 2))
PYRAMID = FeatureSpec.pyramid(
    (Level(4, (8, 6), (2, 2)), Level(6, (4, 3), (4, 4)), Level(8, (2, 2), (8, 8)))
)


def example(spec):
    torch.manual_seed(0)
    if spec.layout == "tokens":
        return torch.randn(2, spec.num_tokens, spec.channels)
    levels = [torch.randn(2, level.channels, *level.size) for level in spec.levels]
    return levels if spec.layout == "pyramid" else levels[0]


def shape_of(spec):
    if spec.layout == "tokens":
        return (2, spec.num_tokens, spec.channels)
    shapes = [(2, level.channels, *level.size) for level in spec.levels]
    return shapes if spec.layout == "pyramid" else shapes[0]


def found_shape(x):
    return [tuple(level.shape) for level in x] if isinstance(x, list) else tuple(x.shape)


def run(given, need, summary=lambda: None):
    """What comes out, and what each step declared on the way."""
    steps = reduction(given, need, summary)
    steps += projection(steps[-1].output if steps else given, need)
    x = example(given)
    for step in steps:
        x = step.module(x)
        assert found_shape(x) == shape_of(step.output), step.name
    return x, [step.name for step in steps]


@pytest.mark.parametrize(
    ("given", "need", "names", "shape"),
    [
        (PYRAMID, Need(("map",)), ["last level"], (2, 8, 2, 2)),
        (
            PYRAMID,
            Need(("pyramid",), num_levels=2),
            ["coarsest levels"],
            [(2, 6, 4, 3), (2, 8, 2, 2)],
        ),
        (PYRAMID, Need(("pyramid",)), [], [(2, 4, 8, 6), (2, 6, 4, 3), (2, 8, 2, 2)]),
        (PYRAMID, Need(("tokens",)), ["last level", "flatten"], (2, 4, 8)),
        (MAP, Need(("tokens",)), ["flatten"], (2, 12, 6)),
        (VOLUME, Need(("tokens",)), ["flatten"], (2, 24, 6)),
        (PYRAMID, Need(("vector",)), ["last level", "pool"], (2, 8)),
        (MAP, Need(("vector",)), ["pool"], (2, 6)),
        (VOLUME, Need(("vector",)), ["pool"], (2, 6)),
        (TOKENS, Need(("vector",)), ["mean over tokens"], (2, 6)),
        (VECTOR, Need(("tokens",)), ["one token"], (2, 1, 6)),
        (VECTOR, Need(("vector",)), [], (2, 6)),
        (VECTOR, Need(("vector",), channels=6), [], (2, 6)),
        (VECTOR, Need(("vector",), channels=24), ["project to 24"], (2, 24)),
        (TOKENS, Need(("tokens",), channels=24), ["project to 24"], (2, 5, 24)),
        (MAP, Need(("map",), channels=24), ["project to 24"], (2, 24, 4, 3)),
        (
            PYRAMID,
            Need(("pyramid",), channels=24),
            ["project to 24"],
            [(2, 24, 8, 6), (2, 24, 4, 3), (2, 24, 2, 2)],
        ),
        (
            PYRAMID,
            Need(("vector",), channels=24),
            ["last level", "pool", "project to 24"],
            (2, 24),
        ),
        (PYRAMID, Need(("map", "pyramid")), [], [(2, 4, 8, 6), (2, 6, 4, 3), (2, 8, 2, 2)]),
        (PYRAMID, Need(("vector", "tokens")), ["last level", "pool"], (2, 8)),
        (PYRAMID, Need(("tokens", "vector")), ["last level", "flatten"], (2, 4, 8)),
        (PYRAMID, Need(("pyramid", "map"), num_levels=5), ["last level"], (2, 8, 2, 2)),
    ],
)
def test_conversions_give_what_they_declare(given, need, names, shape):
    assert reachable(given, need)
    x, found = run(given, need)
    assert found == names
    assert found_shape(x) == shape


@pytest.mark.parametrize(
    ("given", "need"),
    [
        (VECTOR, Need(("map",))),
        (VECTOR, Need(("pyramid",))),
        (TOKENS, Need(("map", "pyramid"))),
        (MAP, Need(("pyramid",))),
        (MAP, Need(("map",), spatial_dims=3)),
        (PYRAMID, Need(("pyramid", "map"), spatial_dims=3)),
        (PYRAMID, Need(("pyramid",), num_levels=4)),
    ],
)
def test_everything_else_is_refused(given, need):
    assert not reachable(given, need)
    with pytest.raises(ValueError, match="can't become"):
        reduction(given, need, lambda: None)


@pytest.mark.parametrize("given", [MAP, VOLUME, PYRAMID])
def test_a_summary_of_its_own_comes_before_pooling(given):
    x, names = run(given, Need(("vector",), channels=5), lambda: ToySummary(given))
    assert names == ["summary", "project to 5"]
    assert found_shape(x) == (2, 5)


def test_a_summary_is_not_asked_for_where_no_vector_is_wanted():
    assert reduction(PYRAMID, Need(("tokens",)), lambda: pytest.fail("asked")) != []
    assert reduction(VECTOR, Need(("vector",)), lambda: pytest.fail("asked")) == []


def test_the_numbers_of_each_conversion():
    x = example(MAP)
    pooled, _ = run(MAP, Need(("vector",)))
    torch.testing.assert_close(pooled, x.mean(dim=(2, 3)))
    tokens, _ = run(MAP, Need(("tokens",)))
    torch.testing.assert_close(tokens[:, 4], x[:, :, 1, 1])  # the last axis is the fastest
    mean, _ = run(TOKENS, Need(("vector",)))
    torch.testing.assert_close(mean, example(TOKENS).mean(dim=1))
    last, _ = run(PYRAMID, Need(("map",)))
    torch.testing.assert_close(last, example(PYRAMID)[-1])


def test_projection_is_one_linear_map_over_channels_per_level():
    (step,) = projection(PYRAMID, Need(("pyramid",), channels=3))
    x = example(PYRAMID)
    for level, (given, found) in enumerate(zip(x, step.module(x), strict=True)):
        linear = step.module.linears[level]
        expected = torch.einsum("bchw,kc->bkhw", given, linear.weight)
        torch.testing.assert_close(found, expected + linear.bias[:, None, None])


def test_gradients_go_through():
    x = [level.requires_grad_() for level in example(PYRAMID)]
    out = x
    for step in reduction(PYRAMID, Need(("vector",)), lambda: None):
        out = step.module(out)
    out.sum().backward()
    torch.testing.assert_close(x[-1].grad, torch.full_like(x[-1], 1 / 4))
