import numpy as np
import pytest

from fusionzoo.data.ct_series import facts_of
from fusionzoo.data.dicom import open_series
from fusionzoo.data.lesion_boxes import Box, boxes_on, read_annotations, read_boxes
from tests.dicom_generator import write_boxes, write_series

BOX = (8, 9, 15, 14)


def test_a_box_is_read(tmp_path):
    assert read_boxes(write_boxes(tmp_path, "1.2.3", BOX, "g")) == (Box(8.0, 9.0, 15.0, 14.0, "G"),)
    read = read_annotations(tmp_path)
    assert (list(read.boxes), read.problems, read.num_files) == (["1.2.3"], (), 1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("<annotation>", "<annotation"), "it is no XML ("),
        (("<xmin>8<", "<xmin>nine<"), "bndbox/xmin is 'nine', not a number"),
        (("<width>24</width>", ""), "size/width is None, not a number"),
        (("<xmin>8<", "<xmin>15<"), "the box [15.0, 9.0, 15.0, 14.0] is empty or upside down"),
        (("<ymax>14<", "<ymax>25<"), "leaves the image of 24 x 24"),
        (("object>", "subject>"), "it holds no object"),
        (("<annotation>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>"), "it declares entities"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(tmp_path, change, text):
    path = write_boxes(tmp_path / "A0001", "1.2.3", BOX)
    path.write_text(path.read_text().replace(*change))
    read = read_annotations(tmp_path)
    assert dict(read.boxes) == {}
    assert read.problems[0].startswith("A0001/1.2.3.xml: ")
    assert text in read.problems[0]


def test_two_files_that_contradict_each_other_are_told(tmp_path):
    write_boxes(tmp_path / "a", "1.2.3", BOX)
    write_boxes(tmp_path / "b", "1.2.3", (1, 1, 2, 2))
    read = read_annotations(tmp_path)
    assert read.boxes["1.2.3"] == (Box(8.0, 9.0, 15.0, 14.0, "A"),)
    assert read.problems == ("b/1.2.3.xml: another file has other boxes for it",)


@pytest.fixture
def two(tmp_path):
    """A 5 mm series with boxes in mind, and a 2.5 mm one of half the pixel size, moved by 3 mm."""
    thick = write_series(tmp_path / "thick", name="thick", num_slices=6, start_mm=0)
    thin = write_series(
        tmp_path / "thin",
        name="thin",
        num_slices=12,
        spacing_mm=2.5,
        PixelSpacing=[0.375, 0.375],
        change=lambda k: {"ImagePositionPatient": [-97.0, -120.0, 2.5 * k]},
    )
    facts = [facts_of(open_series(written.folder)) for written in (thick, thin)]
    return facts, thick, thin


def test_boxes_reach_another_reconstruction_by_geometry(two):
    facts, thick, _ = two
    boxes = {thick.sop_uids[2].lower(): (Box(8.0, 9.0, 15.0, 14.0, "A"),)}  # at z = 10 mm
    on_thick, on_thin = boxes_on(facts, boxes)
    assert on_thick == {2: (Box(8.0, 9.0, 15.0, 14.0, "A"),)}
    # 10 mm is slice 4 of the thin series; 7.5 and 12.5 mm are within half of 5 mm.
    assert sorted(on_thin) == [3, 4, 5]
    # x: -100 + 0.75 * 8 = -94 mm, and (-94 + 97) / 0.375 = 8; rows: 0.75 * 9 / 0.375 = 18.
    assert on_thin[4] == (Box(8.0, 18.0, 22.0, 28.0, "A"),)


def test_a_box_of_its_own_comes_first(two):
    facts, thick, thin = two
    own = (Box(0.0, 0.0, 5.0, 5.0, "A"),)
    boxes = {
        thick.sop_uids[2].lower(): (Box(8.0, 9.0, 15.0, 14.0, "A"),),
        thin.sop_uids[4].lower(): own,
    }
    on_thick, on_thin = boxes_on(facts, boxes)
    assert on_thin[4] == own
    assert len(on_thin) == 3
    assert on_thick[2] == (Box(8.0, 9.0, 15.0, 14.0, "A"),)


@pytest.mark.parametrize(
    "tags",
    [
        {"FrameOfReferenceUID": "1.2.3"},
        {"PatientID": "Lung_Dx-A0002"},
        {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
    ],
)
def test_boxes_stay_within_a_scan_and_a_direction(tmp_path, tags):
    one = write_series(tmp_path / "one", name="one", num_slices=6)
    if "ImageOrientationPatient" in tags:
        change = {"change": lambda k: {"ImagePositionPatient": [-100, -120 + k, 0]}}
    else:
        change = {}
    two = write_series(tmp_path / "two", name="two", num_slices=6, **tags, **change)
    facts = [facts_of(open_series(written.folder)) for written in (one, two)]
    found = boxes_on(facts, {one.sop_uids[2].lower(): (Box(8.0, 9.0, 15.0, 14.0, "A"),)})
    assert [len(own) for own in found] == [1, 0]
    assert np.isfinite(facts[1].places_mm).all()
