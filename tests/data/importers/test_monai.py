import json

import pytest

from fusionzoo.data.check_report import check_data
from fusionzoo.data.dataset_yaml import parse_roles
from fusionzoo.data.datasets.manifest import Manifest
from fusionzoo.data.importers import monai
from fusionzoo.data.importers.imported import formats, write_imported
from fusionzoo.errors import DataError
from tests import small_manifest


@pytest.fixture
def scans(tmp_path):
    """The folder of a data set's files, and a data list of them."""
    path = small_manifest.write(tmp_path / "data")
    rows = small_manifest.read(path)
    path.unlink()
    (path.parent / "manifest.csv").unlink()
    lists = {"training": [], "validation": [], "test": []}
    names = {"train": "training", "val": "validation", "test": "test"}
    for row in rows:
        item = {"image": f"./{row['ct_path']}", "label": int(row["relapse"])}
        item |= {"patient": row["patient"], "age": float(row["age"] or "nan"), "sex": row["sex"]}
        lists[names[row["split"]]].append(item)
    return path.parent, lists


def read(scans, lists=None, target=None):
    folder, given = scans
    path = folder / "dataset.json"
    path.write_text(json.dumps(given if lists is None else lists))
    return monai.read(path, target)


def test_a_data_list_becomes_a_data_set(scans):
    folder, _ = scans
    found = read(scans)
    assert set(write_imported(found, folder)) == {"manifest.csv", "dataset.yaml"}
    report = check_data(folder / "dataset.yaml")
    assert report.ok, report
    data = Manifest(path=folder / "dataset.yaml")
    assert data.cases[0] == "scans/p00v0"
    assert (data.given_split == "val").sum() == 6
    assert len(set(data.groups)) == 24
    assert data.targets["label"].sum() == 12 + 2 - 2
    assert [m.name for m in data.spec.modalities] == ["image", "table"]
    assert data.columns["table"].numeric == ("age",)


def test_it_may_be_written_elsewhere(scans, tmp_path):
    found = read(scans)
    write_imported(found, tmp_path / "out")
    assert parse_roles((tmp_path / "out" / "dataset.yaml").read_text()).root == "../data"
    assert check_data(tmp_path / "out" / "dataset.yaml", check="headers").ok


def test_a_decathlon_task_with_class_names_and_a_test_part_without_labels(scans):
    folder, lists = scans
    lists = {
        "name": "Task",
        "labels": {"0": "benign", "1": "malignant"},
        "training": lists["training"] + lists["validation"],
        "test": [item["image"] for item in lists["test"]],
    }
    found = read(scans, lists)
    assert {row["label"] for row in found.rows} == {"benign", "malignant"}
    assert "split" not in found.rows[0]
    assert found.unlabelled[0] == {"case_id": "./scans/p19v0", "image": "scans/p19v0.npy"} or (
        found.unlabelled[0]["image"] == "scans/p19v0.npy"
    )
    assert found.notes == (
        "Labelled cases are in train only: no split is given.",
        "5 cases have no 'label' and are in unlabelled.csv.",
    )
    texts = write_imported(found, folder)
    assert "label" not in texts["unlabelled.csv"].splitlines()[0]


def test_folds_one_hot_labels_and_several_images(scans):
    folder, lists = scans
    cases = [
        {"image": [item["image"], item["image"]], "label": [1 - item["label"], item["label"]]}
        | {"fold": k % 3, "case_id": f"c{k}", "note": None}
        for k, item in enumerate(lists["training"])
    ]
    found = read(scans, {"training": cases})
    assert found.rows[1]["label"] == str(lists["training"][1]["label"])
    assert set(found.said.images) == {"image_0", "image_1"}
    assert found.said.split == "fold"
    write_imported(found, folder)
    assert Manifest(path=folder / "dataset.yaml").given_folds is not None


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ([], "it has no list 'training'"),
        ({"training": []}, "there is no case in it"),
        ({"training": [{"label": 1}, 3]}, r"training\[0\] has no 'image'.*\n.*training\[1\]"),
        ({"training": [{"image": "a.nii"}]}, "none of its 1 cases has a 'label'"),
        (
            {"training": [{"image": "a.nii", "label": "m.nii.gz", "grade": 2}]},
            r"its 'label' are files \(m.nii.gz\): masks.*--target; there are: grade",
        ),
    ],
)
def test_what_cannot_be_imported(scans, lists, words):
    with pytest.raises(DataError, match=words):
        read(scans, lists)


def test_files_that_are_no_data_list(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        monai.read(tmp_path / "no.json", None)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match="it is not JSON"):
        monai.read(tmp_path / "a.json", None)


def test_masks_with_a_class_beside_them(scans):
    item = {"image": "scans/p00v0.npy", "label": "m.nii.gz", "grade": 2}
    found = read(scans, {"training": [item, item | {"grade": 1, "image": "b.npy"}]}, "grade")
    assert [row["grade"] for row in found.rows] == ["2", "1"]


def test_the_formats_are_the_files():
    assert formats() == ("imagefolder", "monai")
