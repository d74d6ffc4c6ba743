"""Features of any layout as maps with one number of axes, and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fusionzoo.ops.common_grid import CommonGrid, any_features, cells, largest, resampled
from fusionzoo.spec import FeatureSpec, Level, Need

PICTURE = FeatureSpec.pyramid((Level(3, (6, 4), (2, 2)), Level(5, (3, 2), (4, 4))))
VOLUME = FeatureSpec.pyramid((Level(2, (2, 4, 4), (2,) * 3), Level(4, (1, 2, 2), (4,) * 3)))
TABLE, WORDS = FeatureSpec.vector(7), FeatureSpec.tokens(9, 6)
SPOT = FeatureSpec.map(8, (5, 5), (4, 4))


def random_features(spec):
    if spec.layout == "tokens":
        return torch.randn(2, spec.num_tokens, spec.channels)
    maps = [torch.randn(2, level.channels, *level.size) for level in spec.levels]
    return maps if spec.layout == "pyramid" else maps[0]


@pytest.mark.parametrize(
    ("specs", "sizes", "channels"),
    [
        ((PICTURE, TABLE), [[(6, 4), (1, 1)], [(3, 2), (1, 1)]], [[3, 7], [5, 7]]),
        ((VOLUME, PICTURE), [[(2, 4, 4), (1, 6, 4)], [(1, 2, 2), (1, 3, 2)]], [[2, 3], [4, 5]]),
        ((SPOT, WORDS), [[(5, 5), (1, 9)]], [[8, 6]]),
        ((TABLE, TABLE), [[(1,), (1,)]], [[7, 7]]),
    ],
)
def test_sizes_and_channels(specs, sizes, channels):
    grid = CommonGrid(dict(zip("ab", specs, strict=True)))
    assert (grid.sizes, grid.channels) == (sizes, channels)
    maps = grid.maps({name: random_features(spec) for name, spec in zip("ab", specs, strict=True)})
    assert [[tuple(x.shape[2:]) for x in level] for level in maps] == sizes
    assert [[x.shape[1] for x in level] for level in maps] == channels


@pytest.mark.parametrize("other", [PICTURE, VOLUME, TABLE, WORDS, SPOT])
def test_features_come_back_in_their_own_layout(other):
    specs = {"a": PICTURE, "b": other}
    grid = CommonGrid(specs)
    given = {name: random_features(spec) for name, spec in specs.items()}
    back = grid.features(grid.maps(given))
    for name in specs:
        found, expected = back[name], given[name]
        assert type(found) is type(expected)
        for x, y in zip(found, expected, strict=True):
            assert torch.equal(x, y)


def test_what_is_no_pyramid_gives_its_last_level():
    grid = CommonGrid({"image": PICTURE, "table": TABLE})
    maps = grid.maps({"image": random_features(PICTURE), "table": torch.zeros(2, 7)})
    maps[1][1] = maps[1][1] + 1
    assert torch.equal(grid.features(maps)["table"], torch.ones(2, 7))


def test_needs_are_what_is_given_with_as_many_levels():
    deep = FeatureSpec.pyramid((*PICTURE.levels, Level(9, (2, 1), (8, 8))))
    needs = any_features({"a": deep, "b": PICTURE, "c": TABLE})
    assert needs == {
        "a": Need(("pyramid",), num_levels=2),
        "b": Need(("pyramid",), num_levels=2),
        "c": Need(("vector",)),
    }
    assert any_features({"a": deep}, 1) == {"a": Need(("pyramid",), num_levels=1)}


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=3)


@given(sizes, st.data())
def test_resampling_gives_the_size_and_keeps_constants(own, data):
    wanted = data.draw(st.lists(st.integers(1, 9), min_size=len(own), max_size=len(own)))
    found = resampled(torch.full((1, 2, *own), 3.0), wanted)
    assert found.shape == (1, 2, *wanted)
    torch.testing.assert_close(found, torch.full_like(found, 3.0))


def test_resampling_averages_and_spreads():
    x = torch.arange(8.0).reshape(1, 1, 2, 4)
    assert torch.equal(resampled(x, (1, 2)), torch.tensor([[[[2.5, 4.5]]]]))
    assert torch.equal(resampled(x, (1, 1)), x.mean().reshape(1, 1, 1, 1))
    vector = torch.tensor([1.5, -2.0]).reshape(1, 2, 1, 1)
    assert torch.equal(resampled(vector, (3, 5)), vector.expand(1, 2, 3, 5))
    assert torch.equal(resampled(x, (2, 4)), x)


def test_largest_and_cells():
    assert largest([(2, 2), (1, 5), (5, 1)]) == (1, 5)
    assert cells([(12, 7), (6, 4), (6, 1)]) == [(2, 2), (1, 4)]
