import re
import shutil

import pytest

from fusionzoo.data.dicom_cache import prepare
from fusionzoo.data.doctor import examine
from fusionzoo.data.doctor_page import page
from fusionzoo.errors import DataError
from tests.dicom_generator import (
    clinic_row,
    uid,
    write_boxes,
    write_clinic,
    write_collection,
    write_series,
)

PATIENTS = ("A0001", "A0002", "G0001", "G0002")


@pytest.fixture
def collection(tmp_path):
    return write_collection(tmp_path, PATIENTS)


def look(collection, **options):
    return examine(
        collection.root,
        annotations=collection.annotations,
        clinical=collection.clinical,
        **options,
    )


def texts(report, verdict):
    return [check.text for check in report.checks if check.verdict == verdict]


def test_a_sound_collection(collection):
    report = look(collection)
    assert report.classes() == [
        ("A adenocarcinoma", 2, 3, 56, 2),
        ("G squamous cell", 2, 2, 28, 2),
    ]
    assert dict(report.syntaxes()) == {
        "Explicit VR Little Endian (1.2.840.10008.1.2.1)": 3,
        "Implicit VR Little Endian (1.2.840.10008.1.2)": 2,
    }
    reasons = [(kind, count) for kind, count, _ in report.reasons()]
    assert reasons == [("modality PT", 3), ("secondary capture", 1)]
    assert report.others == {"LICENSE": 1, ".csv": 1}
    assert texts(report, "bad") == texts(report, "look") == []
    assert texts(report, "good") == [
        "No study belongs to two of the 4 patients.",
        "The patient's id names the class. It is the label and in no input.",
        "No two patients have the same pixels in the middle of a series.",
        "12 annotation files: 12 slices have boxes of their own, 7 of other reconstructions by "
        "their place.",
        "4 clinical rows; empty cells: sex 0, age 0, weight_kg 0, t_stage 0, n_stage 0, m_stage 0, "
        "smoking 0.",
    ]


def test_the_cache_tells_the_same(collection, tmp_path):
    prepare(collection.root, tmp_path / "cache")
    cached = examine(
        tmp_path / "cache", annotations=collection.annotations, clinical=collection.clinical
    )
    fresh = look(collection)
    assert cached.checks == fresh.checks
    assert cached.classes() == fresh.classes()
    assert [row[:2] for row in cached.reasons()] == [row[:2] for row in fresh.reasons()]
    path = next((tmp_path / "cache" / "series").glob("*.npy"))
    path.write_bytes(path.read_bytes()[:-2] + b"\7\1")
    damaged = examine(tmp_path / "cache", decode=True)
    assert "the values changed on disk" in damaged.checks[0].text


def test_one_person_under_two_names_is_found(collection, tmp_path):
    write_series(
        collection.root / "again", patient="Lung_Dx-G0009", StudyInstanceUID=uid("Lung_Dx-A0002")
    )
    bad = texts(look(collection), "bad")
    assert any("Patients Lung_Dx-A0002, Lung_Dx-G0009 share a study" in text for text in bad)
    copied = "Patients Lung_Dx-A0001, Lung_Dx-G0009 have a series with the same pixels in the "
    assert any(text.startswith(copied) for text in bad)


def test_a_scanner_that_tells_the_class_is_found(tmp_path):
    for letter, maker in (("A", "SIEMENS"), ("G", "Philips")):
        for k in range(1, 11):
            write_series(
                tmp_path / f"{letter}{k}",
                patient=f"Lung_Dx-{letter}{k:04d}",
                num_slices=3,
                size=4,
                seed=k + 50 * (letter == "G"),
                Manufacturer=maker,
            )
    report = examine(tmp_path)
    (text,) = texts(report, "look")
    assert text.startswith("The manufacturer alone tells A from G with an AUROC of 1.00: a model")
    assert (
        "These don't tell A from G (AUROC up to 0.75): the distance of slices"
        in texts(report, "good")[-1]
    )


def test_annotations_and_cells_that_are_odd(collection):
    write_boxes(collection.annotations / "G0002", "1.2.3", letter="G")
    first = next((collection.annotations / "A0002").glob("*.xml"))
    first.write_text(first.read_text().replace("<name>A<", "<name>G<"))
    (collection.annotations / "broken.xml").write_text("<annotation>")
    rows = [clinic_row("A0001", **{"\uff2d-Stage": 2}), clinic_row("G0001"), clinic_row("G0002")]
    write_clinic(collection.clinical, rows)
    report = look(collection)
    assert texts(report, "bad") == [
        "Boxes of Lung_Dx-A0002 are labelled with another class than the id's."
    ]
    assert [text.split(" (")[0] for text in texts(report, "look")] == [
        "1 annotation files name no slice of a usable series: theirs is set aside, or was not "
        "downloaded.",
        "Annotation Annotation/broken.xml: it is no XML",
        "1 patients have no clinical row: A0002.",
        "Clinical cell of A0001: m_stage '2' is none of 0, 1a, 1b, 1, 1c; it counts as empty.",
    ]


def test_folders_without_dicom_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        examine(tmp_path / "none")
    with pytest.raises(DataError, match="there is no DICOM image in it"):
        examine(tmp_path)


def test_the_page_needs_nothing_else_and_escapes_what_files_say(collection):
    shutil.rmtree(collection.root / "Lung-PET-CT-Dx" / "Lung_Dx-G0002")
    write_series(
        collection.root / "x", patient="Lung_Dx-G0003", SeriesDescription="<script>alert(1)"
    )
    text = page(look(collection))
    assert text.count("<img ") == 5
    assert text.count("data:image/png;base64,") == 5
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not re.search(r"(?:src|href)=['\"](?!data:)", text)
    assert "http" not in text
    assert "color-scheme: light dark" in text
    for words in (
        "modality PT",
        "A adenocarcinoma",
        "No study belongs to two",
        "7 slices with box",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("release_v0/meta/meta.csv", "derm7pt(root='"),
        ("meta/meta.csv", "check=full)"),
        ("dataset.yaml", "fusionzoo data check "),
        ("manifest.csv", "dect_lnm(root='"),
    ],
)
def test_a_folder_that_something_else_reads(tmp_path, file, told):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("a\n", encoding="utf-8")
    with pytest.raises(DataError, match="there is no DICOM image in it") as caught:
        examine(tmp_path)
    assert told in str(caught.value)
