import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from fusionzoo.data.dicom import (
    dicom_header,
    dicom_sha256,
    dicom_values,
    is_dicom,
    open_series,
    read_series,
)
from fusionzoo.data.dicom_header import UnusableDicom
from fusionzoo.data.images import read_header, read_image
from tests.dicom_generator import write_series

DEFLATED = "1.2.840.10008.1.2.1.99"


def upright(folder, orientation, step):
    """A series of 4 slices of 6 x 6 with another orientation."""
    written = write_series(
        folder,
        num_slices=4,
        size=6,
        PixelSpacing=[0.5, 0.75],
        ImageOrientationPatient=list(orientation),
        change=lambda k: {"ImagePositionPatient": [float(s * k) for s in step]},
    )
    return written.hu.astype(np.float32)


@pytest.mark.parametrize(
    ("orientation", "step", "turn", "spacing_mm"),
    [
        # On the back, head first: as it is.
        ((1, 0, 0, 0, 1, 0), (0, 0, 2), lambda hu: hu, (2, 0.5, 0.75)),
        # On the belly: rows run to the right and columns to the front.
        ((-1, 0, 0, 0, -1, 0), (0, 0, 2), lambda hu: hu[:, ::-1, ::-1], (2, 0.5, 0.75)),
        # Coronal: columns run to the feet, slices to the back.
        ((1, 0, 0, 0, 0, -1), (0, 2, 0), lambda hu: hu.transpose(1, 0, 2)[::-1], (0.5, 2, 0.75)),
        # Sagittal: rows run to the back, columns to the feet, slices to the right.
        (
            (0, 1, 0, 0, 0, -1),
            (-2, 0, 0),
            lambda hu: hu.transpose(1, 2, 0)[::-1, :, ::-1],
            (0.5, 0.75, 2),
        ),
        # A little oblique: axes are named after the nearest ones.
        (
            (0.995004165278, 0.099833416647, 0, -0.099833416647, 0.995004165278, 0),
            (0, 0, 2),
            lambda hu: hu,
            (2, 0.5, 0.75),
        ),
    ],
)
def test_volumes_turn_to_head_back_and_left(tmp_path, orientation, step, turn, spacing_mm):
    hu = upright(tmp_path, orientation, step)
    found = open_series(tmp_path)
    # The stack goes along the normal: as written, or the other way round.
    along = hu if np.dot(step, found.normal) > 0 else hu[::-1]
    np.testing.assert_array_equal(read_series(tmp_path).values, along)
    header = dicom_header(tmp_path)
    wanted = turn(hu)
    assert header == (wanted.shape, pytest.approx(spacing_mm))
    np.testing.assert_array_equal(dicom_values(tmp_path), wanted)


def test_a_volume_is_read_as_any_other_image(tmp_path):
    written = write_series(tmp_path / "one", num_slices=5)
    for path in (tmp_path / "one", written.files[2]):
        assert read_header(path, "volume").size == (5, 24, 24)
        picture = read_image(path, "volume")
        assert picture.spacing_mm == (5, 0.75, 0.75)
        np.testing.assert_array_equal(picture.values[0], written.hu)


def test_any_modality_is_a_volume_but_ct_needs_hu(tmp_path):
    written = write_series(tmp_path / "mr", Modality="MR", RescaleSlope=None)
    np.testing.assert_array_equal(dicom_values(tmp_path / "mr"), written.hu + 1024 - 1024)
    write_series(tmp_path / "ct", RescaleSlope=None)
    with pytest.raises(UnusableDicom, match="RescaleSlope or RescaleIntercept is missing"):
        dicom_values(tmp_path / "ct")


def test_the_digest_is_of_values_and_voxel_size(tmp_path):
    write_series(tmp_path / "a", name="a")
    write_series(tmp_path / "b", name="b", syntax="implicit", patient="P2")
    write_series(tmp_path / "c", name="c", seed=1)
    write_series(tmp_path / "d", name="d", spacing_mm=4)
    digests = [dicom_sha256(tmp_path / name) for name in "abcd"]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_what_counts_as_dicom(tmp_path):
    written = write_series(tmp_path / "a")
    plain = tmp_path / "IM0001"
    plain.write_bytes(written.files[0].read_bytes())
    (tmp_path / "text").write_text("text")
    paths = ("a", "IM0001", "none.dcm", "text", "none")
    assert [is_dicom(tmp_path / name) for name in paths] == [True, True, True, False, False]


@pytest.mark.parametrize("syntax", [RLELossless, DEFLATED])
def test_compressed_slices_have_the_same_values(tmp_path, syntax):
    written = write_series(tmp_path, num_slices=4)
    for path in written.files:
        file = pydicom.dcmread(path)
        if syntax == DEFLATED:
            file.file_meta.TransferSyntaxUID = DEFLATED
        else:
            file.compress(syntax, generate_instance_uid=False)
        file.save_as(path, enforce_file_format=True)
    assert open_series(tmp_path).slices[0].transfer_syntax == syntax
    np.testing.assert_array_equal(read_series(tmp_path).values, written.hu)
