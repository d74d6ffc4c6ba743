import numpy as np
import pytest

from fusionzoo.data.ct_windows import lesion_starts, scale_window, sequential_starts, shrink


@pytest.mark.parametrize(
    ("num_slices", "starts"),
    [(12, [0]), (13, [0, 1]), (24, [0, 12]), (30, [0, 12, 18]), (188, [*range(0, 180, 12), 176])],
)
def test_sequential_windows_cover_every_slice(num_slices, starts):
    assert sequential_starts(num_slices, 12) == starts
    covered = {k for start in starts for k in range(start, start + 12)}
    assert covered == set(range(num_slices))


def test_lesion_windows_are_drawn_around_the_lesion_and_clamped():
    lesion = range(40, 50)
    starts = [
        start for seed in range(200) for start in lesion_starts(60, 12, lesion, seed=seed, key="a")
    ]
    assert len(starts) == 200 * 5
    assert min(starts) == 28  # first - length
    assert max(starts) == 48  # clamped: 60 - length, below last + 1
    assert 0.45 < np.mean(np.array(starts) == 38) < 0.6  # centred: (40 + 49) // 2 - 6
    assert min(lesion_starts(60, 12, [0], seed=k, key="a")[0] for k in range(50)) == 0


def test_draws_depend_on_seed_and_series_only():
    drawn = lesion_starts(120, 12, [60], seed=3, key="a")
    assert drawn == lesion_starts(120, 12, {60}, seed=3, key="a")
    assert drawn != lesion_starts(120, 12, [60], seed=4, key="a")
    assert drawn != lesion_starts(120, 12, [60], seed=3, key="b")


def test_resizing_is_the_mean_over_the_area():
    x = np.random.default_rng(0).normal(size=(2, 8, 12)).astype(np.float32)
    np.testing.assert_allclose(
        shrink(x, (4, 3)), x.reshape(2, 4, 2, 3, 4).mean(axis=(2, 4)), rtol=1e-5
    )
    # Eight pixels to three: the first covers two whole ones and two thirds of the third.
    line = np.arange(8, dtype=np.float32)[None, None]
    first = (0 + 1 + 2 * 2 / 3) / (8 / 3)
    np.testing.assert_allclose(shrink(line, (1, 3))[0, 0, 0], first, rtol=1e-6)
    assert shrink(x, (8, 12)) is x
    np.testing.assert_allclose(shrink(np.full((1, 512, 512), 7, np.float32), (192, 192)), 7)


def test_the_hu_window_is_section_nine_of_the_paper():
    values = np.array([-2000, -1000, -100, 400, 900, 3000], dtype=np.float32)
    wanted = np.array([0, 0, 0, 0.5, 1, 1]) - 0.15897
    np.testing.assert_allclose(scale_window(values, (-100.0, 900.0), 0.15897), wanted, atol=1e-6)
