import shutil
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2KLossless, JPEGLosslessSV1, JPEGLSLossless

from fusionzoo.data import dicom_rules
from fusionzoo.data.dicom import read_series
from fusionzoo.data.dicom_header import UnusableDicom, read_slice_header
from fusionzoo.data.dicom_pixels import hounsfield
from fusionzoo.data.dicom_series import find_series
from fusionzoo.errors import MissingExtra
from tests.dicom_generator import uid, write_capture, write_pet, write_series, write_slice

PYDICOM = Path(pydicom.data.__file__).parent / "test_files"


def reasons(folder, **options):
    """Kind and whole text of everything that is set aside."""
    return {aside.kind: str(aside) for aside in find_series(folder, **options).set_aside}


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
def test_a_series_is_sorted_by_position_and_in_hu(tmp_path, syntax):
    written = write_series(tmp_path, syntax=syntax, spacing_mm=2.5, start_mm=-80)
    volume = read_series(tmp_path)
    assert volume.values.dtype == np.float32
    np.testing.assert_array_equal(volume.values, written.hu)
    assert volume.spacing_mm == (2.5, 0.75, 0.75)
    assert volume.position_mm == (-100.0, -120.0, -80.0)
    assert volume.orientation == (1, 0, 0, 0, 1, 0)
    np.testing.assert_array_equal(read_series(written.files[3]).values, written.hu)


def test_every_slice_has_its_own_slope_and_intercept(tmp_path):
    def change(k):
        return {"RescaleSlope": 1 + 0.1 * k, "RescaleIntercept": -1000 - k}

    written = write_series(tmp_path, change=change)
    for k, values in enumerate(read_series(tmp_path).values):
        stored = pydicom.dcmread(written.files[k]).pixel_array.astype(float)
        slope = float(f"{1 + 0.1 * k:.16g}")
        np.testing.assert_array_equal(values, (stored * slope - 1000 - k).astype(np.float32))


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelRepresentation": 1},
        {"BitsStored": 16, "HighBit": 15},
        {"BitsStored": 10, "HighBit": 9},
        {"BitsStored": 10, "HighBit": 9, "PixelRepresentation": 1},
    ],
)
@pytest.mark.parametrize("syntax", ["explicit", "big"])
def test_values_are_those_of_pydicom_bit_for_bit(tmp_path, tags, syntax):
    written = write_series(tmp_path, syntax=syntax, **tags)
    (found,) = find_series(tmp_path).stacks
    values = hounsfield(found)
    for path, own in zip(written.files, values, strict=True):
        np.testing.assert_array_equal(own, pydicom.dcmread(path).pixel_array - np.float32(1024))


def test_raw_values_are_stored_ones_in_the_order_of_names(tmp_path):
    written = write_series(tmp_path)
    raw = read_series(tmp_path, raw_stored_values=True)
    np.testing.assert_array_equal(raw.values, written.hu[::-1] + 1024)
    assert raw.position_mm[2] == -200 + 13 * 5


def test_series_are_found_by_tags_in_one_folder_and_across_folders(tmp_path):
    one = write_series(tmp_path / "a", name="one")
    two = write_series(tmp_path / "b", name="two", patient="Lung_Dx-G0001")
    mixed = tmp_path / "mixed" / "deep"
    mixed.mkdir(parents=True)
    for written in (one, two):
        for k, path in enumerate(written.files):
            target = mixed / f"{written.series_uid[-4:]}{(5 * k) % 14:02d}"
            shutil.move(path, target if k % 2 else tmp_path / target.name)
    (tmp_path / "LICENSE").write_text("CC BY")
    (tmp_path / "notes.xml").write_text("<a/>")
    found = find_series(tmp_path)
    assert [stack.slices[0].patient_id for stack in found.stacks] == [
        "Lung_Dx-A0001",
        "Lung_Dx-G0001",
    ]
    for stack, written in zip(found.stacks, (one, two), strict=True):
        np.testing.assert_array_equal(hounsfield(stack), written.hu)
    assert found.set_aside == ()
    assert found.others == {"LICENSE": 1, ".xml": 1}


def test_workers_find_the_same(tmp_path):
    for k in range(3):
        write_series(tmp_path / str(k), name=str(k), num_slices=30, size=8)
    (tmp_path / "broken.dcm").write_bytes(b"no DICOM")
    assert find_series(tmp_path, workers=2) == find_series(tmp_path)


def test_a_copy_of_a_slice_changes_nothing(tmp_path):
    written = write_series(tmp_path / "in")
    shutil.copy(written.files[2], tmp_path / "in" / "copy.dcm")
    np.testing.assert_array_equal(read_series(tmp_path).values, written.hu)


def test_a_localizer_does_not_spoil_its_series(tmp_path):
    written = write_series(tmp_path)
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SOPInstanceUID": uid("scout")}
    write_slice(
        tmp_path / "0.dcm",
        np.zeros((40, 30), np.uint16),
        SeriesInstanceUID=written.series_uid,
        **scout,
    )
    found = find_series(tmp_path)
    np.testing.assert_array_equal(hounsfield(found.stacks[0]), written.hu)
    assert [(a.kind, a.num_files) for a in found.set_aside] == [("localizer", 1)]


def slices(change):
    return lambda folder: write_series(folder, change=change)


def only(k, **tags):
    """Tags of one slice."""
    return lambda j: tags if j == k else {}


DEFECTS = {
    "gap": (
        lambda folder: write_series(folder, skip=(5, 6)),
        "a gap of 15.00 mm between -180.00 and -165.00 mm, where slices are 5.00 mm apart. "
        "Download the missing slices",
    ),
    "irregular spacing": (
        slices(only(4, ImagePositionPatient=[-100, -120, -179.0])),
        "slices are 5.00 mm apart, but 6.00 mm between -185.00 and -179.00 mm. Resample it",
    ),
    "duplicate slices": (
        slices(only(4, ImagePositionPatient=[-100, -120, -185.0])),
        "1 of 14 slices share a place with another, at -185.00 mm. The series holds two",
    ),
    "mixed slices": (
        slices(only(4, PixelSpacing=[0.5, 0.5])),
        "mixes 2 pixel spacings (0.75/0.75 in 13 slices, 0.5/0.5 in 1 slice). Separate them",
    ),
    "few slices": (
        lambda folder: write_series(folder, num_slices=1),
        "the series has 1 slice, and 2 or more are needed",
    ),
    "tilted slices": (
        slices(lambda k: {"ImagePositionPatient": [-100, -120 + k, -200 + 5 * k]}),
        "the slices slide sideways by 13.0 mm: the gantry was tilted",
    ),
    "no geometry": (
        lambda folder: write_series(folder, ImagePositionPatient=None),
        "ImagePositionPatient is missing or unreadable. Export it with its geometry; fusionzoo "
        "never makes geometry up.",
    ),
    "no HU": (
        lambda folder: write_series(folder, RescaleSlope=None),
        "RescaleSlope or RescaleIntercept is missing, so its HU are unknown",
    ),
    "derived image": (
        lambda folder: write_series(folder, ImageType=["DERIVED", "SECONDARY", "REFORMATTED"]),
        "the image type is DERIVED/SECONDARY/REFORMATTED: it was made from other images",
    ),
    "localizer": (
        lambda folder: write_series(folder, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "a localizer (scout) image",
    ),
    "modality PT": (write_pet, "the modality is PT, not CT. Only CT is read here."),
    "secondary capture": (
        lambda folder: write_capture(folder / "a.dcm"),
        "a secondary capture. A screen capture has no HU and no place",
    ),
    "colour": (
        lambda folder: write_slice(
            folder / "a.dcm",
            np.zeros((8, 8, 3), np.uint8),
            SamplesPerPixel=3,
            PhotometricInterpretation="RGB",
            PlanarConfiguration=0,
            BitsAllocated=8,
            BitsStored=8,
            HighBit=7,
        ),
        "the pixels are RGB, 3 samples of 8 bits, not grey values",
    ),
    "multi-frame": (
        lambda folder: write_slice(
            folder / "a.dcm", np.zeros((8, 4), np.uint16), Rows=4, NumberOfFrames=2
        ),
        "2 frames in one file. Save one slice a file",
    ),
    "damaged": (
        lambda folder: write_slice(
            folder / "a.dcm", np.zeros((8, 8), np.uint16), Rows=None, PixelData=None
        ),
        "the file ends before the size of its image",
    ),
    "no identity": (
        lambda folder: write_slice(
            folder / "a.dcm", np.zeros((8, 8), np.uint16), SeriesInstanceUID=None
        ),
        "SeriesInstanceUID or SOPInstanceUID is missing",
    ),
}


@pytest.mark.parametrize("kind", DEFECTS)
def test_each_defect_is_set_aside_with_its_reason(tmp_path, kind):
    write, text = DEFECTS[kind]
    write(tmp_path / "in")
    found = find_series(tmp_path)
    assert found.stacks == ()
    (aside,) = found.set_aside
    assert (aside.kind, text in str(aside)) == (kind, True), str(aside)


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        (only(2, Rows=20, Columns=20), "2 sizes (24 x 24 in 13 slices, 20 x 20 in 1 slice)"),
        (only(2, ImageOrientationPatient=[1, 0, 0, 0, 0.8, 0.6]), "mixes 2 orientations (1/0/0/0/"),
        (only(2, FrameOfReferenceUID="1.2.3"), "mixes 2 frames of reference"),
        (only(2, PatientID="Lung_Dx-G0009"), "mixes 2 patients (Lung_Dx-A0001 in 13 slices"),
    ],
)
def test_every_mixture_is_told_apart(tmp_path, tags, text):
    write_series(tmp_path, change=tags)
    assert text in reasons(tmp_path)["mixed slices"]


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({"PixelSpacing": [0.75, 0]}, "PixelSpacing is 0.75, 0, not two positive numbers"),
        ({"PixelSpacing": None}, "PixelSpacing is missing or unreadable"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient is missing"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "not two perpendicular unit vectors"),
    ],
)
def test_geometry_that_is_no_geometry(tmp_path, tags, text):
    write_series(tmp_path, **tags)
    assert text in reasons(tmp_path)["no geometry"]


def test_rescaled_values_that_are_no_hu(tmp_path):
    write_series(tmp_path, RescaleType="OD")
    assert "the rescaled values are 'OD', not HU" in reasons(tmp_path)["no HU"]


def test_two_files_of_one_identity(tmp_path):
    written = write_series(tmp_path)
    write_slice(
        tmp_path / "other.dcm",
        np.ones((24, 24), np.uint16),
        SeriesInstanceUID=written.series_uid,
        SOPInstanceUID=written.sop_uids[0],
    )
    text = reasons(tmp_path)["duplicate slices"]
    assert "1-14.dcm and other.dcm have the same SOPInstanceUID and different content" in text


def test_a_truncated_slice_makes_its_series_incomplete(tmp_path):
    written = write_series(tmp_path)
    path = written.files[5]
    path.write_bytes(path.read_bytes()[:-100])
    told = reasons(tmp_path)
    assert (
        "1052 of 1152 bytes of pixels are there. Download or export it again." in told["truncated"]
    )
    text = "1 of its 14 files can't be used, and no volume has holes"
    assert text in told["incomplete series"]
    path.write_bytes(path.read_bytes()[:700])
    told = reasons(tmp_path)
    assert set(told) == {"damaged", "incomplete series"}
    assert "the file ends before the size of its image" in told["damaged"]
    path.write_bytes(path.read_bytes()[:300])
    told = reasons(tmp_path)
    assert set(told) == {"no pixels", "gap"}
    assert "it holds no image, or is cut off before it" in told["no pixels"]


def test_a_slice_that_shrinks_while_it_is_read(tmp_path):
    written = write_series(tmp_path)
    (found,) = find_series(tmp_path).stacks
    path = written.files[5]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnusableDicom, match=r"E05 .*1052 of 1152 bytes of pixels are there"):
        hounsfield(found)


@pytest.mark.parametrize(
    ("syntax", "package"),
    [
        (JPEGLosslessSV1, "python-gdcm"),
        (JPEGLSLossless, "python-gdcm"),
        (HTJ2KLossless, "pylibjpeg-openjpeg"),
    ],
)
def test_a_compressed_slice_names_the_package_that_reads_it(tmp_path, monkeypatch, syntax, package):
    class Absent:
        is_available = False

    dicom_rules.missing_decoder.cache_clear()
    monkeypatch.setattr("pydicom.pixels.decoders.base.get_decoder", lambda uid: Absent)
    write_slice(
        tmp_path / "a.dcm",
        np.zeros((8, 8), np.uint16),
        syntax=syntax,
        PixelData=encapsulate([b"\xff\xd8"]),
    )
    text = reasons(tmp_path)["transfer syntax"]
    dicom_rules.missing_decoder.cache_clear()
    assert f"no decoder is installed for {syntax.name} ({syntax})" in text
    assert f"Install {package}: pip install 'fusionzoo[dicom]'." in text
    assert "libjpeg:" not in text


def test_a_damaged_uid_is_an_unknown_syntax_without_remarks():
    uid = "1.2.840.10008.1.2,1"
    assert dicom_rules.missing_decoder(uid).startswith("Convert it to an uncompressed syntax")


def test_video_can_never_be_read(tmp_path):
    syntax = pydicom.uid.MPEG2MPML
    pixels = encapsulate([b"\0\0"])
    write_slice(tmp_path / "a.dcm", np.zeros((8, 8), np.uint16), syntax=syntax, PixelData=pixels)
    assert (
        "Convert it to an uncompressed syntax: gdcmconv --raw."
        in reasons(tmp_path)["transfer syntax"]
    )


def test_compressed_pixels_that_are_damaged(tmp_path):
    syntax = pydicom.uid.RLELossless
    pixels = encapsulate([bytes(64)])
    for k in range(2):
        write_slice(
            tmp_path / f"{k}.dcm",
            np.zeros((8, 8), np.uint16),
            syntax=syntax,
            PixelData=pixels,
            ImagePositionPatient=[0, 0, k],
        )
    with pytest.raises(UnusableDicom, match=r"E05 .*can't be decoded \(RLE Lossless .*If the file"):
        read_series(tmp_path)


def test_without_pydicom_the_error_says_what_to_install(tmp_path, monkeypatch):
    path = write_series(tmp_path).files[0]
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(
        MissingExtra, match=r"needs pydicom.* pip install pydicom, or 'fusionzoo\[di"
    ):
        read_slice_header(path)


def test_the_clean_series_that_pydicom_has():
    volume = read_series(PYDICOM / "dicomdirtests" / "98892001" / "CT5N")
    assert volume.values.shape == (5, 16, 16)
    assert volume.spacing_mm == pytest.approx((2.5, 0.488281, 0.488281))
    assert (volume.values.min(), volume.values.max()) == (-888, 85)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("dicomdirtests/77654033/CT2", "a gap of 202.50 mm between -99.48 and 103.02 mm"),
        ("dicomdirtests/98892003/MR700", "the modality is MR, not CT"),
        ("dicomdirtests/98892003", "the folder holds 7 series"),
        ("README.txt", "it has no DICOM preamble"),
        ("no_meta.dcm", "it has no DICOM preamble"),
        ("rtstruct.dcm", "it has no DICOM preamble"),
        ("zipMR.gz", "it has no DICOM preamble"),
        ("rtplan.dcm", "RTPLAN holds no image"),
        ("reportsi.dcm", "SR holds no image"),
        ("meta_missing_tsyntax.dcm", "it holds no image"),
        ("dicomdirtests/DICOMDIR", "an index of files, not an image"),
        ("SC_rgb_rle.dcm", "a secondary capture"),
        ("examples_ybr_color.dcm", "30 frames in one file"),
        ("rtdose.dcm", "15 frames in one file"),
        ("examples_palette.dcm", "the pixels are PALETTE COLOR"),
    ],
)
def test_the_unsuitable_files_that_pydicom_has(path, text):
    with pytest.raises(UnusableDicom) as error:
        read_series(PYDICOM / path)
    assert text in str(error.value)


def test_slices_around_an_axis_are_no_volume():
    with pytest.raises(UnusableDicom, match="mixes 7 orientations"):
        read_series(PYDICOM / "dicomdirtests" / "98892003" / "MR700", modality=None)


def test_a_truncated_file_that_pydicom_has():
    with pytest.raises(UnusableDicom, match=r"E05 .*8130 of 8192 bytes of pixels are there"):
        read_series(PYDICOM / "MR_truncated.dcm", modality=None)
