import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionzoo.leaderboard.plots import svg
from fusionzoo.leaderboard.plots.svg import Axis


def test_values_become_pixels():
    assert Axis(0.0, 1.0, 100.0, 0.0)(0.25) == 75
    assert Axis(1.0, 100.0, 0.0, 10.0, log=True)(10.0) == 5
    assert Axis(2.0, 2.0, 0.0, 10.0)(2.0) == 5


@settings(max_examples=30)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_within(low, width):
    high = low + width
    ticks = Axis(low, high, 0.0, 1.0).ticks()
    assert len(ticks) <= 8
    assert all(low - width * 1e-6 <= tick <= high + width * 1e-6 for tick in ticks)


@settings(max_examples=30)
@given(st.floats(1e-9, 1e9), st.floats(1.5, 1e6))
def test_ticks_of_a_logarithmic_scale(low, factor):
    ticks = Axis(low, low * factor, 0.0, 1.0, log=True).ticks()
    assert len(ticks) <= 10
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in ticks)


@pytest.mark.parametrize(
    ("value", "told"), [(0.85, "0.85"), (10.0, "10"), (0.001, "0.001"), (5000.0, "5k"), (0.0, "0")]
)
def test_ticks_are_short(value, told):
    assert svg.short(value) == told


def test_words_are_escaped():
    assert "&lt;b&gt;" in svg.words(0.0, 0.0, "<b>", "name")
    assert 'aria-label="a &quot;b&quot;"' in svg.drawing(1.0, 1.0, [], 'a "b"')
