import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionzoo import registry
from fusionzoo.conformance import check as conforms
from fusionzoo.data import checked
from fusionzoo.data.dataset import TableColumns
from fusionzoo.data.datasets.manifest import Manifest
from fusionzoo.data.splits import make_split
from fusionzoo.data.tabular import TableEncoder
from fusionzoo.errors import DataError
from fusionzoo.spec import Modality, TaskSpec
from tests import small_manifest
from tests.dicom_generator import write_series
from tests.small_manifest import change, replace


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        Manifest(path=path)
    return str(caught.value)


def test_the_small_data_set(small_yaml):
    data = Manifest(path=small_yaml)
    assert data.spec.name == "small"
    assert data.spec.modalities == (
        Modality("ct", "volume", 1, (16,) * 3),
        Modality("table", "table", 10),
    )
    assert data.spec.tasks == (TaskSpec("relapse", ("0", "1")),)
    assert (len(data.cases), len(set(data.groups))) == (28, 24)
    assert data.warnings == ()
    assert data.columns["table"] == TableColumns(
        ("age", "weight"), {"sex": ("F", "M"), "stage": ("1a", "1b", "2", "is")}, "median+flag"
    )
    table = data.table("table")
    assert table.shape == (28, 4)
    assert 0 < table.isna().to_numpy().mean() < 0.3
    image = data.image("ct", 5)
    assert (image.shape, image.dtype) == ((1, 16, 16, 16), np.float32)
    raw = np.load(small_yaml.parent / "scans" / f"{data.cases[5]}.npy")
    np.testing.assert_allclose(image[0], np.clip((raw + 1000) / 1400, 0, 1), atol=1e-6)
    assert data.present("ct").all()
    assert data.present("table").all()
    split = make_split(data)
    assert len(split.train) + len(split.val) + len(split.test) == 28
    encoder = TableEncoder.fit(table.iloc[split.train], data.columns["table"])
    assert np.isfinite(encoder.transform(table)).all()


def test_it_is_the_registered_data_set():
    options = registry.bind("dataset", "manifest", {"path": "my/dataset.yaml"})
    assert options["check"] == "auto"
    assert registry.load("dataset", "manifest") is Manifest


def test_folds_and_schemes(tmp_path):
    data = Manifest(path=small_manifest.write(tmp_path, split="fold"))
    assert set(data.given_folds) == {0, 1, 2}
    assert (data.given_split, data.num_folds, data.fold_seed) == (None, 5, 0)
    replace(tmp_path / "dataset.yaml", "{column: fold}", "{scheme: group_kfold, k: 4}")
    data = Manifest(path=tmp_path / "dataset.yaml")
    assert data.given_folds is None
    assert data.num_folds == 4


def test_e00_the_yaml(small_yaml):
    replace(small_yaml, "window:", "windw:")
    replace(small_yaml, "positive: 1", "positive: maybe")
    text = refused(small_yaml)
    assert re.match(r"2 problems in .*/dataset\.yaml:", text)
    assert "line 8, images.ct.windw: no such key. Closest: window" in text


def test_e01_the_manifest(small_yaml):
    (small_yaml.parent / "manifest.csv").write_text("")
    assert "E01: manifest.csv has no rows" in refused(small_yaml)


def test_e02_a_column(small_yaml):
    replace(small_yaml, "[age, weight]", "[age, wieght]")
    assert "E02 column 'wieght'" in refused(small_yaml)
    assert "Closest: weight" in refused(small_yaml)


def test_e03_a_case_twice(small_yaml):
    change(small_yaml, case_id={9: "p00v0"})
    assert "E03 row 9, column 'case_id', value 'p00v0': row 2 has this case id too." in refused(
        small_yaml
    )


def test_e04_a_file(small_yaml):
    change(small_yaml, ct_path={2: "scans/p00v9.npy", 3: "../p.npy", 4: "scans/P01v0.npy", 5: ""})
    text = refused(small_yaml)
    assert "E04 row 2, column 'ct_path', value 'scans/p00v9.npy': there is no such file" in text
    assert "E04 row 3, column 'ct_path', value '../p.npy': the path leaves" in text
    assert "E04 row 4, column 'ct_path', value 'scans/P01v0.npy': the name differs in case" in text
    assert (
        "E04 row 5, column 'ct_path': the path is empty. Fill it in, remove the row, or say" in text
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_e05_a_cut_off_npz_is_found_before_training(small_yaml, compressed):
    values = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    path = small_yaml.parent / "scans" / "broken.npz"
    (np.savez_compressed if compressed else np.savez)(path, values)
    change(small_yaml, ct_path={7: "scans/broken.npz"})
    Manifest(path=small_yaml)
    path.write_bytes(path.read_bytes()[:9000])
    text = refused(small_yaml)
    assert "E05 row 7, column 'ct_path', value 'broken.npz': the file can't be decoded" in text
    assert "Copy or export it again." in text


def test_e06_dicom(small_yaml):
    (small_yaml.parent / "scans" / "p.dcm").write_bytes(b"DICM")
    write_series(small_yaml.parent / "gap", skip=(5,))
    change(small_yaml, ct_path={2: "scans/p.dcm", 3: "scans", 4: "gap"})
    text = refused(small_yaml)
    assert "E06 row 2, column 'ct_path', value 'p.dcm': it has no DICOM preamble." in text
    assert "E06 row 3, column 'ct_path', value 'scans': the folder holds no DICOM image." in text
    assert "E06 row 4, column 'ct_path', value 'gap': a gap of 10.00 mm between" in text


def test_dicom_series_are_volumes(small_yaml):
    one = write_series(small_yaml.parent / "dicom" / "one", num_slices=16, size=16)
    two = write_series(small_yaml.parent / "dicom" / "two", num_slices=16, size=16, seed=1)
    change(small_yaml, ct_path={2: "dicom/one", 3: f"dicom/two/{two.files[3].name}"})
    data = Manifest(path=small_yaml)
    for index, written in enumerate((one, two)):
        wanted = np.clip((written.hu + 1000) / 1400, 0, 1)
        np.testing.assert_allclose(data.image("ct", index)[0], wanted, atol=1e-6)
    before = data.digest
    for path in one.files:
        path.rename(path.with_name(f"other{path.name}"))
    assert Manifest(path=small_yaml).digest == before
    two.files[0].write_bytes(two.files[0].read_bytes()[:-2] + b"\7\1")
    assert Manifest(path=small_yaml).digest != before


def test_e07_an_array(small_yaml):
    np.save(small_yaml.parent / "scans" / "p01v0.npy", np.zeros((16, 16, 16)))
    assert "E07 row 4, column 'ct_path', value 'p01v0.npy': every value is 0." in refused(
        small_yaml
    )


def test_e08_a_number(small_yaml):
    change(small_yaml, age={5: "4O"})
    assert "E08 row 5, column 'age', value '4O': not a number. Write a plain number" in refused(
        small_yaml
    )


def test_e09_a_category(small_yaml):
    change(small_yaml, stage={6: "1A"})
    text = refused(small_yaml)
    assert "E09 row 6, column 'stage', value '1A': not one of the declared values." in text
    assert "Declared: 1a, 1b, 2, is." in text


def test_e10_a_target(small_yaml):
    change(small_yaml, relapse={4: "", 8: "yes"})
    text = refused(small_yaml)
    assert "E10 row 4, column 'relapse': target 'relapse' is empty." in text
    assert (
        "E10 row 8, column 'relapse', value 'yes': not a class of target 'relapse'. Classes: 0, 1."
        in text
    )


def test_e11_a_split(small_yaml):
    change(small_yaml, split={3: "tran"})
    assert "E11 row 3, column 'split', value 'tran': not a part of a split." in refused(small_yaml)


def test_e12_a_patient_in_two_parts(small_yaml):
    change(small_yaml, split={3: "test"})
    text = refused(small_yaml)
    assert "E12 row 2, value 'p00': the group is in train (row 2), test (row 3)." in text


def test_e13_one_class(small_yaml):
    change(small_yaml, relapse=dict.fromkeys(range(25, 30), "0"))
    assert "E13 column 'relapse': target 'relapse' has only the class '0' in test." in refused(
        small_yaml
    )


def test_e14_an_image_in_two_parts(small_yaml):
    first, last = (small_yaml.parent / "scans" / f"{case}.npy" for case in ("p01v0", "p23v0"))
    last.write_bytes(first.read_bytes())
    text = refused(small_yaml)
    assert (
        "E14 row 4: the files of image 'ct' in rows 4, 29 have the same content, in two parts"
        in text
    )


def test_e15_the_answer_as_input(small_yaml):
    replace(small_yaml, "[age, weight]", "[age, weight, relapse, copy]")
    cells = {
        line: row["relapse"] for line, row in enumerate(small_manifest.read(small_yaml), start=2)
    }
    change(small_yaml, copy=cells)
    text = refused(small_yaml)
    assert "E15 column 'relapse': it is the target 'relapse' and an input." in text
    assert "E15 column 'copy': alone it says the target 'relapse' without an error." in text


def test_e16_a_name_as_input(small_yaml):
    replace(small_yaml, "[age, weight]", "[age, weight, fold, patient]")
    change(small_yaml, patient={line: str(line) for line in range(2, 30)})
    text = refused(small_yaml)
    assert "E16 column 'fold': it is the split and an input. Remove it from table." in text
    assert "E16 column 'patient': it is the group and an input." in text


def test_several_errors_are_one_report(small_yaml):
    change(
        small_yaml,
        case_id={6: "p00v0"},
        age={2: "4O"},
        sex={4: "W"},
        relapse={5: "2"},
        ct_path={3: "no.npy"},
        split={8: "trian"},
    )
    text = refused(small_yaml)
    assert text.startswith("6 problems in ")
    codes = [line.split()[1] for line in text.splitlines()[1:]]
    assert codes == ["E03", "E04", "E08", "E09", "E10", "E11"]


def content(data: Manifest) -> dict[str, object]:
    table = data.table("table").astype(object)
    table = table.where(table.notna(), None)
    return {
        case: (
            data.groups[i],
            int(data.targets["relapse"][i]),
            data.given_split[i],
            tuple(table.iloc[i]),
            data.image("ct", i).tobytes(),
        )
        for i, case in enumerate(data.cases)
    }


@given(seed=st.integers(0, 2**32))
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_order_of_rows_changes_no_case(small_yaml, seed):
    data = Manifest(path=small_yaml)
    rows = small_manifest.read(small_yaml)
    random.Random(seed).shuffle(rows)
    small_manifest.store(small_yaml, rows)
    shuffled = Manifest(path=small_yaml)
    assert shuffled.cases == tuple(row["case_id"] for row in rows)
    assert content(shuffled) == content(data)
    assert shuffled.digest == data.digest


def test_the_digest_is_of_the_content(small_yaml):
    first = Manifest(path=small_yaml).digest
    assert len(first) == 64
    scans = small_yaml.parent / "scans"
    (scans / "p01v0.npy").rename(scans / "renamed.npy")
    change(small_yaml, ct_path={4: "scans/renamed.npy"}, note={4: "a column without a role"})
    assert Manifest(path=small_yaml).digest == first
    seen = {first}
    for old, new in (("-1000", "-900"), ("size: 16", "size: 15"), ("[F, M]", "[M, F]")):
        replace(small_yaml, old, new)
        seen.add(Manifest(path=small_yaml).digest)
        replace(small_yaml, new, old)
    for column, cell in (("age", "33"), ("relapse", "0"), ("patient", "p77"), ("case_id", "x")):
        before = small_manifest.read(small_yaml)
        change(small_yaml, **{column: {4: cell}})
        seen.add(Manifest(path=small_yaml).digest)
        small_manifest.store(small_yaml, before)
    np.save(scans / "renamed.npy", np.load(scans / "renamed.npy") + 1)
    seen.add(Manifest(path=small_yaml).digest)
    assert len(seen) == 9


def test_an_optional_image_may_be_absent(small_yaml):
    replace(small_yaml, "size: 16,", "size: 16, optional: true,")
    change(small_yaml, ct_path={3: "", 9: "NA"})
    data = Manifest(path=small_yaml)
    assert np.flatnonzero(~data.present("ct")).tolist() == [1, 7]
    assert not data.image("ct", 1).any()
    assert data.image("ct", 0).any()


def test_new_cases(small_yaml, tmp_path):
    rows = small_manifest.read(small_yaml)
    kept = ("case_id", "ct_path", "age", "weight", "sex", "stage", "patient")
    new = small_yaml.parent / "new.csv"
    lines = [",".join([*kept, "extra"])] + [
        ",".join([*(row[k] for k in kept), "?"]) for row in rows[:3]
    ]
    new.write_text("\n".join(lines))
    data, old = Manifest(path=new, predict=True), Manifest(path=small_yaml)
    assert data.spec == old.spec
    assert data.cases == old.cases[:3]
    assert data.targets["relapse"].tolist() == [-1, -1, -1]
    np.testing.assert_array_equal(data.image("ct", 2), old.image("ct", 2))
    copied = tmp_path / "run.yaml"
    copied.write_text(old.roles.text)
    assert Manifest(path=new, roles=copied, predict=True).digest == data.digest
    new.write_text(
        "\n".join([lines[0], lines[1].replace("scans", "scan"), lines[2].replace(",M,", ",W,")])
    )
    with pytest.raises(DataError) as caught:
        Manifest(path=new, predict=True)
    assert "E04 row 2" in str(caught.value)
    assert "E09 row 3, column 'sex', value 'W'" in str(caught.value)


def test_files_may_be_below_another_root(small_yaml, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (small_yaml.parent / "scans").rename(elsewhere / "scans")
    assert "E04" in refused(small_yaml)
    assert len(Manifest(path=small_yaml, root=elsewhere).cases) == 28
    replace(small_yaml, "id: case_id", "id: case_id\nroot: ../elsewhere")
    digest = Manifest(path=small_yaml).digest
    replace(small_yaml, "root: ../elsewhere", f"root: {elsewhere}")
    assert Manifest(path=small_yaml).digest == digest


def test_large_data_are_checked_by_their_headers(small_yaml, monkeypatch):
    np.save(small_yaml.parent / "scans" / "p01v0.npy", np.full((16, 16, 16), np.nan))
    assert "NaN" in refused(small_yaml)
    monkeypatch.setattr(checked, "FULL_CHECK_GIB", 0.0)
    data = Manifest(path=small_yaml)
    with pytest.raises(
        DataError, match=r"E07 case 'p01v0' \(row 4, image 'ct'\): 4096 values are NaN"
    ):
        data.image("ct", 2)
    with pytest.raises(DataError, match="NaN"):
        Manifest(path=small_yaml, check="full")
    Manifest(path=small_yaml, check="headers")


def test_two_tables_and_two_images(small_yaml):
    replace(small_yaml, "table:\n  numeric: [age, weight]\n", "")
    replace(
        small_yaml,
        "  categorical:",
        "tables:\n  body: {numeric: [age, weight]}\n  rest:\n    categorical:",
    )
    replace(small_yaml, "  missing:", "    missing:")
    late = "  late: {column: ct_path, kind: volume, size: [8, 16, 20], fit: resize}\n"
    replace(small_yaml, "images:\n", f"images:\n{late}")
    data = Manifest(path=small_yaml)
    assert [m.name for m in data.spec.modalities] == ["late", "ct", "body", "rest"]
    assert data.image("late", 0).shape == (1, 8, 16, 20)
    assert data.table("body").columns.tolist() == ["age", "weight"]
    assert data.spec.modality("rest").channels == 6


def test_reading_needs_no_torch(small_yaml):
    code = (
        "import sys\nfrom fusionzoo.data.datasets.manifest import Manifest\n"
        f"Manifest(path={str(small_yaml)!r})\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_keeps_what_data_sets_promise(small_data):
    conforms(f"manifest(path={str(small_data)!r})").require(at_least=11)
