import sys

import nibabel
import numpy as np
import pytest

from fusionzoo.data.images import read_header, read_image
from fusionzoo.data.unreadable import UnreadableImage
from fusionzoo.errors import MissingExtra
from tests.data.nifti_files import LPS, VOLUME, nifti


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize("code", ["LPS", "RAS", "SLP", "IAR"])
def test_nifti_is_turned_to_left_back_head(tmp_path, suffix, code):
    source = nibabel.Nifti1Image(VOLUME.transpose(2, 1, 0), LPS)
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt(("L", "P", "S")),
        nibabel.orientations.axcodes2ornt(tuple(code)),
    )
    path = tmp_path / f"a.{suffix}"
    nibabel.save(source.as_reoriented(turn), path)
    picture = read_image(path, "volume")
    np.testing.assert_array_equal(picture.values, VOLUME[np.newaxis])
    np.testing.assert_allclose(picture.spacing_mm, (3, 2, 1), rtol=1e-6)
    header = read_header(path, "volume")
    assert header.size == (4, 5, 6)
    np.testing.assert_allclose(header.spacing_mm, (3, 2, 1), rtol=1e-6)


def test_nifti_scaling_and_units_are_applied(tmp_path):
    image = nibabel.Nifti1Image(VOLUME.transpose(2, 1, 0).astype(np.int16), LPS)
    image.header.set_slope_inter(2.0, -5.0)
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.nii.gz")
    picture = read_image(tmp_path / "a.nii.gz", "volume")
    assert picture.values.min() == -5.0
    np.testing.assert_allclose(picture.spacing_mm, (0.003, 0.002, 0.001), rtol=1e-6)


def test_nifti_without_geometry_is_refused(tmp_path):
    path = nifti(tmp_path / "a.nii", LPS, VOLUME, codes=False)
    with pytest.raises(
        UnreadableImage, match=r"E07 .*no orientation \(qform and sform code are 0\)"
    ):
        read_image(path, "volume")


def test_nifti_that_contradicts_itself_is_refused(tmp_path):
    path = nifti(tmp_path / "a.nii", LPS, VOLUME)
    content = bytearray(path.read_bytes())
    content[88:92] = np.array(5.0, "<f4").tobytes()  # the third voxel size of pixdim
    path.write_bytes(content)
    with pytest.raises(
        UnreadableImage, match=r"is \[1.0, 2.0, 5.0\] in pixdim and \[1.0, 2.0, 3.0\]"
    ):
        read_image(path, "volume")


@pytest.mark.parametrize(
    ("shape", "message"),
    [((6, 5, 4, 3), "shape \\(6, 5, 4, 3\\). Give one grey volume"), ((6, 5, 1), "only 1 slice")],
)
def test_nifti_of_another_shape_is_refused(tmp_path, shape, message):
    nibabel.save(
        nibabel.Nifti1Image(np.random.default_rng(0).normal(size=shape), LPS), tmp_path / "a.nii"
    )
    with pytest.raises(UnreadableImage, match=message):
        read_header(tmp_path / "a.nii", "volume")


def test_what_is_no_nifti_is_refused(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"not a NIfTI file" * 50)
    with pytest.raises(UnreadableImage, match="E05"):
        read_header(tmp_path / "a.nii", "volume")


def test_without_nibabel_the_error_says_what_to_install(tmp_path, monkeypatch):
    path = nifti(tmp_path / "a.nii", LPS, VOLUME)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingExtra, match=r"a.nii needs nibabel.* pip install nibabel, or save"):
        read_header(path, "volume")


def test_a_flipped_bit_inside_a_compressed_file_is_found(tmp_path):
    noise = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    path = nifti(tmp_path / "a.nii.gz", LPS, noise)
    read_image(path, "volume")
    content = bytearray(path.read_bytes())
    content[-9] ^= 1  # the last byte of the values, in front of checksum and length
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=r"E05 .*damaged or cut off"):
        read_image(path, "volume")
    content[-9] ^= 1
    content[-8] ^= 1  # the checksum itself: every value can still be decoded
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match="CRC check failed"):
        read_image(path, "volume")


def test_units_by_a_code_that_there_is_not_are_refused(tmp_path):
    image = nibabel.Nifti1Image(VOLUME.transpose(2, 1, 0).astype(np.int16), LPS)
    image.header["xyzt_units"] = 64
    path = tmp_path / "a.nii"
    nibabel.save(image, path)
    with pytest.raises(UnreadableImage, match=r"units by a code that there isn't \(64\)"):
        read_header(path, "volume")
