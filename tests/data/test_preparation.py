import numpy as np
import pytest

from fusionzoo.data.images import Picture
from fusionzoo.data.preparation import crop_or_pad, prepare, resample, resampled_size, resize
from fusionzoo.data.roles import ImageRole


def ramp(size: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    """Position in mm from the centre, summed over the axes: linear, so interpolation is exact."""
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(size, spacing, strict=True)]
    return sum(np.meshgrid(*axes, indexing="ij"))[np.newaxis].astype(np.float32)


@pytest.mark.parametrize(
    ("size", "given", "wanted"),
    [((8, 9, 10), (3.0, 1.0, 1.0), (1.5, 2.0, 1.0)), ((5, 6, 7), (2.0, 2.0, 2.0), (0.7, 2.0, 3.1))],
)
def test_resampling_keeps_positions_in_mm(size, given, wanted):
    found = resample(ramp(size, given), given, wanted)
    assert found.shape[1:] == resampled_size(size, given, wanted)
    expected = ramp(found.shape[1:], wanted)
    limit = [abs((n - 1) / 2) * mm for n, mm in zip(size, given, strict=True)]
    axes = [
        (np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(found.shape[1:], wanted, strict=True)
    ]
    inside = np.ix_(*[np.abs(axis) <= end for axis, end in zip(axes, limit, strict=True)])
    np.testing.assert_allclose(found[0][inside], expected[0][inside], atol=1e-4)
    assert inside[0].size > 2


def test_resampled_size():
    assert resampled_size((10, 100, 3), (5.0, 0.5, 0.1), (2.5, 1.0, 10.0)) == (20, 50, 1)


def test_equal_voxel_sizes_change_nothing():
    values = ramp((3, 4, 5), (1.0, 1.0, 1.0))
    assert resample(values, (2.0, 1.0, 1.0), (2.0, 1.0, 1.0)) is values


def test_crop_or_pad_keeps_the_centre():
    values = np.arange(1, 7, dtype=np.float32).reshape(1, 1, 6)
    np.testing.assert_array_equal(crop_or_pad(values, (1, 4), 0.0)[0, 0], [2, 3, 4, 5])
    np.testing.assert_array_equal(crop_or_pad(values, (1, 3), 0.0)[0, 0], [2, 3, 4])
    padded = crop_or_pad(values, (3, 8), -1.0)
    np.testing.assert_array_equal(padded[0, 1], [-1, 1, 2, 3, 4, 5, 6, -1])
    assert (padded[0, 0] == -1).all()
    assert (padded[0, 2] == -1).all()


@pytest.mark.parametrize("size", [(6, 4, 10), (3, 8, 5)])
def test_resizing_a_volume_stretches_linearly(size):
    values = ramp((6, 4, 5), (1.0, 1.0, 1.0))
    found = resize(values, size)
    assert found.shape == (1, *size)
    step = [have / want for have, want in zip((6, 4, 5), size, strict=True)]
    expected = ramp(size, tuple(step))
    middle = np.ix_([0], *[range(n // 2 - 1, n // 2 + 1) for n in size])
    np.testing.assert_allclose(found[middle], expected[middle], atol=1e-5)


def test_resizing_an_image_averages_what_it_shrinks():
    board = (np.indices((8, 8)).sum(axis=0) % 2).astype(np.float32)[np.newaxis]
    small = resize(np.concatenate([board, 2 * board, 3 * board]), (4, 4))
    assert small.shape == (3, 4, 4)
    np.testing.assert_allclose(small[:, 1:3, 1:3].mean(axis=(1, 2)), [0.5, 1.0, 1.5], atol=1e-6)


def test_a_window_clips_and_pads_with_zero():
    values = np.array([-2000.0, -1000.0, -300.0, 400.0, 900.0], dtype=np.float32).reshape(
        1, 1, 1, 5
    )
    role = ImageRole("ct", "f", "volume", (1, 1, 7), window=(-1000.0, 400.0))
    found = prepare(Picture(values), role, None)
    np.testing.assert_allclose(found.ravel(), [0, 0, 0, 0.5, 1, 1, 0])
    assert found.dtype == np.float32


def test_without_a_window_values_are_kept_and_padding_is_the_lowest():
    values = np.array([-900.0, 40.0], dtype=np.float32).reshape(1, 1, 1, 2)
    found = prepare(Picture(values), ImageRole("ct", "f", "volume", (1, 1, 4)), None)
    np.testing.assert_array_equal(found.ravel(), [-900, -900, 40, -900])


def test_pictures_are_divided_then_standardised():
    values = np.full((3, 2, 2), 255.0, dtype=np.float32)
    values[:, 0] = 0.0
    role = ImageRole(
        "d", "f", "rgb", (2, 2), fit="resize", mean=(0.5, 0.0, 1.0), std=(0.5, 1.0, 2.0)
    )
    found = prepare(Picture(values, None, 255.0), role, None)
    np.testing.assert_allclose(found[:, 1, 0], [1.0, 1.0, 0.0])
    np.testing.assert_allclose(found[:, 0, 0], [-1.0, 0.0, -0.5])


def test_resampling_comes_before_cropping():
    values = ramp((4, 4, 4), (2.0, 2.0, 2.0))
    role = ImageRole("ct", "f", "volume", (4, 4, 4), spacing_mm=(1.0, 1.0, 1.0))
    found = prepare(Picture(values), role, (2.0, 2.0, 2.0))
    np.testing.assert_allclose(found, ramp((4, 4, 4), (1.0, 1.0, 1.0)), atol=1e-5)
