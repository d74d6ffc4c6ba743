import hashlib

import numpy as np
import pytest

from fusionzoo.data.image_files import ImageFiles
from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import ImageRole
from fusionzoo.errors import DataError

ROLE = ImageRole("ct", "ct_path", "volume", (4, 4, 4))


def volume(seed: int, size: tuple[int, ...] = (4, 4, 4)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def files(tmp_path, role=ROLE, spacings=None, **arrays) -> ImageFiles:
    paths = []
    for name, array in arrays.items():
        paths.append(
            tmp_path / f"{name}.npz" if isinstance(array, dict) else tmp_path / f"{name}.npy"
        )
        np.savez(paths[-1], **array) if isinstance(array, dict) else np.save(paths[-1], array)
    return ImageFiles(role, list(arrays), range(2, 2 + len(arrays)), paths, spacings)


def check(found: ImageFiles, full: bool = True) -> tuple[str, str]:
    problems, warnings = Problems(), Problems()
    found.check(problems, warnings, full=full)
    return "\n".join(problems.lines()), "\n".join(warnings.lines())


def test_images_and_what_they_need(tmp_path):
    found = files(tmp_path, a=volume(0), b=volume(1))
    found.paths = (found.paths[0], None)
    assert check(found) == ("", "")
    np.testing.assert_array_equal(found.image(0), volume(0)[np.newaxis])
    np.testing.assert_array_equal(found.image(1), np.zeros((1, 4, 4, 4)))
    assert found.decoded_bytes == 4 * 64
    assert found.file_bytes == found.paths[0].stat().st_size
    assert found.hashes == (hashlib.sha256(found.paths[0].read_bytes()).hexdigest(), None)


@pytest.mark.parametrize("keep", [True, False])
def test_images_are_kept_only_where_told(tmp_path, keep):
    found = files(tmp_path, a=volume(0))
    found.keep = keep
    found.image(0)[:] = 7.0
    np.save(found.paths[0], volume(1))
    np.testing.assert_array_equal(found.image(0)[0], volume(0 if keep else 1))


def test_every_bad_file_is_noted_with_its_row(tmp_path):
    found = files(tmp_path, a=volume(0), b=volume(1)[0], c=volume(2), d=volume(3) * np.nan)
    found.paths[2].write_bytes(found.paths[2].read_bytes()[:-50])
    problems, _ = check(found)
    assert "E05 row 4, column 'ct_path', value 'c.npy': the file can't be decoded" in problems
    assert "E07 row 3, column 'ct_path', value 'b.npy': the array's shape is (4, 4)" in problems
    assert "E07 row 5, column 'ct_path', value 'd.npy': 64 values are NaN" in problems
    assert len(problems.splitlines()) == 3
    headers_only, _ = check(found, full=False)
    assert "row 3" in headers_only
    assert "row 4" in headers_only
    assert "row 5" not in headers_only


def test_a_file_that_breaks_later_names_its_case(tmp_path):
    found = files(tmp_path, a=volume(0), b=volume(1))
    assert check(found, full=False) == ("", "")
    found.paths[1].write_bytes(b"")
    with pytest.raises(
        DataError, match=r"E05 case 'b' \(row 3, image 'ct'\): the file can't be decoded"
    ):
        found.image(1)


def test_a_window_beside_the_values_is_refused(tmp_path):
    role = ImageRole("ct", "ct_path", "volume", (4, 4, 4), window=(-1000.0, -100.0))
    problems, _ = check(files(tmp_path, role, a=volume(0)))
    assert (
        "after preparation every value is the same. Check the window and size under images.ct."
        in problems
    )


def test_spacing_comes_from_the_file_or_the_row(tmp_path):
    role = ImageRole("ct", "ct_path", "volume", (4, 4, 4), spacing_mm=(1.0, 1.0, 1.0))
    in_file = {"image": volume(0), "spacing": [2.0, 2.0, 2.0]}
    from_file = files(tmp_path, role, a=in_file).image(0)
    from_row = files(tmp_path, role, [(2.0, 2.0, 2.0)], b=volume(0)).image(0)
    both = files(tmp_path, role, [(2.0, 2.0, 2.001)], c=in_file).image(0)
    np.testing.assert_array_equal(from_file, from_row)
    np.testing.assert_array_equal(from_file, both)
    assert not np.allclose(from_file, volume(0))


def test_a_volume_without_voxel_size_is_not_resampled(tmp_path):
    role = ImageRole("ct", "ct_path", "volume", (4, 4, 4), spacing_mm=(2.5, 1.0, 1.0))
    problems, _ = check(files(tmp_path, role, a=volume(0)), full=False)
    assert problems == (
        "E07 row 2, column 'ct_path', value 'a.npy': the file has no voxel size, so it can't be "
        "resampled to 2.5 x 1 x 1 mm. Give a spacing_column under images.ct, store 'spacing' in an "
        "npz, use NIfTI, "
        "or remove spacing."
    )


def test_voxel_sizes_that_disagree_are_refused(tmp_path):
    in_file = {"image": volume(0), "spacing": [2.0, 1.0, 1.0]}
    problems, _ = check(files(tmp_path, ROLE, [(2.5, 1.0, 1.0)], a=in_file))
    assert "E07 row 2" in problems
    assert (
        "the voxel size is 2 x 1 x 1 mm in the file and 2.5 x 1 x 1 mm in the manifest" in problems
    )


def test_w09_w12_and_w13(tmp_path):
    ones = {"image": volume(0, (4, 4, 4)), "spacing": [1.0, 1.0, 1.0]}
    thick = {"image": volume(1, (4, 4, 4)), "spacing": [5.0, 1.0, 1.0]}
    assert check(files(tmp_path, a=ones))[1] == (
        "W09 column 'ct_path': every volume of 'ct' says 1 x 1 x 1 mm. "
        "Were they resampled, or was the voxel size lost?"
    )
    assert check(files(tmp_path, a=ones, b=thick))[1] == (
        "W12 column 'ct_path': voxel sizes of 'ct' differ, as 1 x 1 x 1 mm and 5 x 1 x 1 mm. "
        "Resample: write spacing: under images.ct."
    )
    role = ImageRole("ct", "ct_path", "volume", (4, 4, 4), spacing_mm=(5.0, 3.0, 1.0))
    assert check(files(tmp_path, role, a=ones, b=thick))[1] == (
        "W13 column 'ct_path': 2 volumes of 'ct' fill less than half of an axis of (4, 4, 4). "
        "The rest is padding: check spacing and size, or say fit: resize."
    )
