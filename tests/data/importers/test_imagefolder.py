import json

import numpy as np
import pytest
from PIL import Image

from fusionzoo.data.check_report import check_data
from fusionzoo.data.datasets.manifest import Manifest
from fusionzoo.data.importers import imagefolder
from fusionzoo.data.importers.imported import write_imported
from fusionzoo.errors import DataError


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def opened(folder, target=None):
    write_imported(imagefolder.read(folder, target), folder)
    report = check_data(folder / "dataset.yaml")
    assert report.ok, report
    return Manifest(path=folder / "dataset.yaml")


def test_folders_of_splits_and_classes(tmp_path):
    for k in range(24):
        part = ("train", "train", "validation", "test")[k // 2 % 4]
        picture(tmp_path / part / ("cat", "dog")[k % 2] / f"{k:02d}.png", k)
    data = opened(tmp_path)
    assert len(data.cases) == 24
    assert sorted(set(data.given_split)) == ["test", "train", "val"]
    assert data.spec.tasks[0].classes == ("cat", "dog")
    assert data.cases[0] == "train/cat/00"
    assert data.spec.modalities[0].shape == (3, 20, 20)


def test_classes_without_splits_and_a_picture_without_a_class(tmp_path):
    for k in range(24):
        picture(tmp_path / "abc"[k % 3] / f"{k}.jpg", k)
    picture(tmp_path / "new.jpg", 99)
    found = imagefolder.read(tmp_path, None)
    assert found.notes == ("1 pictures have no 'label' and are in unlabelled.csv.",)
    assert found.unlabelled == [{"case_id": "new", "file_name": "new.jpg"}]
    data = opened(tmp_path)
    assert data.given_split is None
    assert data.spec.tasks[0].classes == ("a", "b", "c")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_metadata_file_in_each_split(tmp_path, kind):
    for part in ("train", "test"):
        rows = []
        for k in range(12):
            picture(tmp_path / part / f"{k}.png", k + 100 * (part == "test"))
            rows.append({"file_name": f"{k}.png", "age": 40 + 3 * k % 17, "malignant": k % 2})
        lines = [json.dumps(row) for row in rows]
        if kind == "csv":
            lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        (tmp_path / part / f"metadata.{kind}").write_text("\n".join(lines))
    data = opened(tmp_path)
    assert data.spec.tasks[0].name == "malignant"
    assert data.columns["table"].numeric == ("age",)
    assert data.cases[12] == "test/0"


def test_a_metadata_file_at_the_top(tmp_path):
    lines = ["file_name,dx,other"]
    for k in range(12):
        part = "train" if k < 8 else "test"
        picture(tmp_path / part / f"{k}.png", k)
        lines.append(f"{part}/{k}.png,{'NM'[k % 2]},{k % 2}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    data = opened(tmp_path, "dx")
    assert set(data.given_split) == {"train", "test"}
    assert data.spec.tasks[0].classes == ("N", "M")


def test_what_cannot_be_imported(tmp_path):
    with pytest.raises(DataError, match="there is no such folder"):
        imagefolder.read(tmp_path / "no", None)
    with pytest.raises(DataError, match=r"there is no picture in it \(known: .png"):
        imagefolder.read(tmp_path, None)
    picture(tmp_path / "a.png", 0)
    with pytest.raises(DataError, match="no picture has a 'label'"):
        imagefolder.read(tmp_path, None)
    (tmp_path / "metadata.csv").write_text("filename,dx\na.png,1\n")
    with pytest.raises(DataError, match=r"E02 column 'file_name'.*Closest: filename"):
        imagefolder.read(tmp_path, None)
