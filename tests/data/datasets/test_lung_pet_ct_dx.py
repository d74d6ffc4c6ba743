import shutil

import numpy as np
import pytest

from fusionzoo.conformance import check as conforms
from fusionzoo.data.datasets.lung_pet_ct_dx import LungPETCTDx
from fusionzoo.data.dicom_cache import prepare
from fusionzoo.data.loader import CaseLoader
from fusionzoo.data.lung_patients import patient_of
from fusionzoo.data.open import open_dataset
from fusionzoo.data.splits import make_split
from fusionzoo.data.tabular import fit_encoders
from fusionzoo.errors import BadOption, DataError
from tests.dicom_generator import (
    body,
    clinic_row,
    series_folder,
    write_clinic,
    write_collection,
    write_series,
)

PATIENTS = tuple(f"{letter}{k:04d}" for letter in "AG" for k in range(1, 5))


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("lung"), PATIENTS)


@pytest.fixture(scope="module")
def cache(collection, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    prepare(collection.root, folder)
    return str(folder)


@pytest.fixture
def options(collection, cache):
    return {"cache": cache, "clinical": str(collection.clinical), "size": 24}


def test_windows_are_cases_and_patients_are_groups(options):
    data = LungPETCTDx(**options)
    # A0001 has a series of 28 slices, the others one of 14.
    assert len(data.cases) == 3 + 7 * 2
    assert len(set(data.cases)) == len(data.cases)
    assert sorted(set(data.groups)) == sorted(PATIENTS)
    letters = [group[0] for group in data.groups]
    np.testing.assert_array_equal(data.targets["histology"], [l == "G" for l in letters])  # noqa: E741
    assert data.spec.tasks[0].classes == ("adenocarcinoma", "squamous_cell")
    assert data.spec.modality("ct").size == (12, 24, 24)
    assert data.warnings == ()


def test_a_window_is_in_scaled_hu_from_the_feet_up(options):
    data = LungPETCTDx(**options)
    hu = body(14, 24, seed=1)  # A0002
    for index, start in ((3, 0), (4, 2)):
        wanted = np.clip((hu[start : start + 12] + 100) / 1000, 0, 1) - 0.15897
        window = data.image("ct", index)
        assert data.cases[index].startswith("A0002/")
        assert (window.shape, window.dtype) == ((1, 12, 24, 24), np.float32)
        np.testing.assert_allclose(window[0], wanted, atol=1e-6)


def test_raw_stored_values_are_upside_down_and_saturate(options):
    data = LungPETCTDx(**options, raw_stored_values=True)
    stored = body(14, 24, seed=1)[::-1] + 1024
    wanted = np.clip((stored[:12] + 100) / 1000, 0, 1) - 0.15897
    np.testing.assert_allclose(data.image("ct", 3)[0], wanted, atol=1e-6)
    assert (data.image("ct", 3) == np.float32(1) - np.float32(0.15897)).mean() > 0.01


def test_files_and_cache_are_the_same_data(collection, options):
    in_files = LungPETCTDx(**{**options, "cache": None, "root": str(collection.root)})
    in_cache = LungPETCTDx(**options)
    assert in_files.digest == in_cache.digest
    assert in_files.cases == in_cache.cases
    np.testing.assert_array_equal(in_files.image("ct", 5), in_cache.image("ct", 5))


def test_digests_follow_content_and_options(collection, options, tmp_path):
    digest = LungPETCTDx(**options).digest
    assert LungPETCTDx(**{**options, "mean": 0.0}).digest != digest
    assert LungPETCTDx(**{**options, "clinical": None}).digest != digest
    shutil.copytree(collection.root, tmp_path / "moved")
    moved = {**options, "cache": None, "root": str(tmp_path / "moved")}
    assert LungPETCTDx(**moved).digest == digest
    write_series(series_folder(tmp_path / "moved", "G0004"), patient="Lung_Dx-G0004", seed=50)
    assert LungPETCTDx(**moved).digest != digest


def test_the_table_has_a_row_per_window_and_no_id(options):
    data = LungPETCTDx(**options)
    table = data.table("table")
    assert list(table.columns) == [
        *("sex", "age", "weight_kg", "t_stage", "n_stage", "m_stage", "smoking"),
    ]
    assert len(table) == len(data.cases)
    assert table["age"].tolist()[:4] == [51, 51, 51, 52]
    assert data.spec.modality("table").channels == 7
    assert data.present("table").all()


def test_categories_are_one_hot(options):
    data = LungPETCTDx(**options, stages="categories")
    assert data.spec.modality("table").channels == 2 + 23
    assert data.table("table")["t_stage"].tolist()[0] == "1a"


def test_a_patient_without_a_row_has_no_table(options, tmp_path):
    rows = [clinic_row(patient, **{"\uff2d-Stage": 3}) for patient in PATIENTS[1:]]
    sheet = write_clinic(tmp_path / "short.xlsx", rows)
    data = LungPETCTDx(**{**options, "clinical": str(sheet)})
    np.testing.assert_array_equal(data.present("table"), data.groups != "A0001")
    assert data.present("ct").all()
    assert "1 patients have no clinical row: A0001" in data.warnings
    assert any("m_stage '3' is none of" in text for text in data.warnings)


def test_everything_goes_through_split_and_loader(options):
    data = LungPETCTDx(**options)
    split = make_split(data, fold=0, num_folds=2)
    assert not set(data.groups[split.train]) & set(data.groups[split.test])
    encoders = fit_encoders(data, split.train)
    loader = CaseLoader(data, split.train, encoders, batch_size=4, train=True, balance="oversample")
    batch = next(iter(loader))
    assert batch.inputs["ct"].shape == (4, 1, 12, 24, 24)
    assert batch.inputs["table"].shape == (4, 7)
    assert batch.inputs["table"].abs().max() <= 1


def test_lesion_windows_use_annotations_and_say_so(collection, options):
    boxes = {"annotations": str(collection.annotations), "lesion_windows": "oracle"}
    data = LungPETCTDx(**options, **boxes)
    assert "placed with the lesion annotations" in data.warnings[-1]
    assert data.options["lesion_windows"] == "oracle"
    starts = [start for _, start in data._places]
    assert starts == [start for _, start in LungPETCTDx(**options, **boxes)._places]
    assert starts != [start for _, start in LungPETCTDx(**options, **boxes, seed=1)._places]
    assert all(0 <= start <= one.facts.shape[0] - 12 for one, start in data._places)
    assert LungPETCTDx(**options).digest != data.digest


@pytest.mark.parametrize(("which", "first"), [("longest", 3), ("all", 5), ("annotated", 3)])
def test_which_series_of_a_patient(collection, options, which, first):
    data = LungPETCTDx(**options, series=which, annotations=str(collection.annotations))
    assert (data.groups == "A0001").sum() == first


def test_a_patient_without_boxes_is_left_out_where_boxes_matter(collection, options, tmp_path):
    shutil.copytree(collection.annotations, tmp_path / "boxes")
    shutil.rmtree(tmp_path / "boxes" / "G0002")
    boxes = {"annotations": str(tmp_path / "boxes"), "series": "annotated"}
    data = LungPETCTDx(**options, **boxes)
    assert "G0002" not in data.groups
    text = "patient G0002 is left out: no usable series of theirs has a box"
    assert text in data.warnings
    assert "G0002" in LungPETCTDx(**options).groups


def test_short_coronal_and_foreign_series_are_left_out(tmp_path):
    root = tmp_path / "in"
    for patient in ("A0001", "G0001"):
        write_series(root / patient, patient=f"Lung_Dx-{patient}", num_slices=13, size=8)
    write_series(root / "short", patient="Lung_Dx-A0002", num_slices=11, size=8)
    write_series(root / "other", patient="P7", num_slices=13, size=8)
    write_series(
        root / "coronal",
        patient="Lung_Dx-G0003",
        num_slices=13,
        size=8,
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
        change=lambda k: {"ImagePositionPatient": [0, 2 * k, 0]},
    )
    data = LungPETCTDx(root=str(root), size=8)
    assert set(data.groups) == {"A0001", "G0001"}
    assert data.warnings == (
        "1 series are left out: the patient's id names no class",
        "2 series are left out: fewer than 12 slices, or not axial",
    )


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"cache": None}, BadOption, "takes either root=, the folder of the DICOM files, or cache"),
        ({"root": "x"}, BadOption, "takes either root="),
        (
            {"classes": ("A", "C")},
            BadOption,
            r"can't tell classes=\('A', 'C'\) apart. It has: A ad",
        ),
        ({"classes": ("A",)}, BadOption, "apart. It has"),
        ({"series": "best"}, BadOption, "can't use series='best'. It takes: longest, annotated"),
        ({"stages": "tnm"}, BadOption, "can't use stages='tnm'. It takes: ordinal, categories"),
        ({"lesion_windows": "oracle"}, BadOption, "needs annotations=, .* for lesion_windows='or"),
        ({"series": "annotated"}, BadOption, "needs annotations=, .* for series='annotated'"),
        ({"num_slices": 1}, BadOption, "can't make windows of num_slices=1"),
        ({"window_hu": (5.0, 5.0)}, BadOption, r"window_hu=\(5.0, 5.0\). Sizes are 2 or more"),
        (
            {"classes": ("A", "B")},
            DataError,
            r"no usable series is of class B \(small_cell\). 'fus",
        ),
        ({"cache": None, "root": "/none/x"}, DataError, "there is no folder /none/x. Check root="),
        (
            {"series": "annotated", "annotations": "/none/x"},
            DataError,
            "there is no folder /none/x. Check annotations=",
        ),
    ],
)
def test_what_cannot_be_asked_for(options, change, error, text):
    with pytest.raises(error, match=text):
        LungPETCTDx(**{**options, **change})


def test_it_opens_by_name(options):
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    assert open_dataset(f"lung_pet_ct_dx({given})").digest == LungPETCTDx(**options).digest


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("Lung_Dx-A0001", "A0001"),
        ("g0061", "G0061"),
        ("Lung_Dx-C0001", None),
        ("A01", None),
        ("", None),
    ],
)
def test_ids(given, wanted):
    assert patient_of(given) == wanted


def test_about_says_where_from_and_what_not():
    for words in ("CC BY 4.0", "10.7937/TCIA.2020.NNC2-0461", "patient's id names"):
        assert words in LungPETCTDx.about


def test_it_keeps_what_data_sets_promise(options):
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    conforms(f"lung_pet_ct_dx({given})").require(at_least=10)
