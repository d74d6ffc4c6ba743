"""One mistake for each code of docs/own_data.md, as `fusionzoo data check` reports it."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionzoo.data.check_report import LEAKAGE, check_data
from tests.dicom_generator import write_series
from tests.small_manifest import change, read, replace, store

ROWS = range(2, 30)
PAGE = Path(__file__).parents[2] / "docs" / "own_data.md"


def scan(path, case):
    return path.parent / "scans" / f"{case}.npy"


def column(path, name, cells):
    """A new or changed column, one cell a row."""
    change(path, **{name: dict(zip(ROWS, map(str, cells), strict=True))})


def positives(path):
    return [row["relapse"] == "1" for row in read(path)]


def e00(path):
    replace(path, "kind: volume", "kind: volumes")


def e01(path):
    (path.parent / "manifest.csv").write_bytes("case_id\n\xe9\n".encode("latin-1"))


def e02(path):
    replace(path, "[age, weight]", "[age, wieght]")


def e03(path):
    change(path, case_id={9: "p00v0"})


def e04(path):
    change(path, ct_path={3: "scans/p99.npy"})


def e05(path):
    scan(path, "p02v0").write_bytes(scan(path, "p02v0").read_bytes()[:500])


def e06(path):
    write_series(path.parent / "gap", skip=(5,))
    change(path, ct_path={4: "gap"})


def e07(path):
    np.save(scan(path, "p02v0"), np.full((16, 16, 16), np.nan))


def e08(path):
    change(path, age={5: "4O"})


def e09(path):
    change(path, sex={6: "W"})


def e10(path):
    change(path, relapse={6: "2"})


def e11(path):
    change(path, split={8: "trian"})


def e12(path):
    change(path, split={3: "test"})


def e13(path):
    change(path, relapse=dict.fromkeys(range(25, 30), "0"))


def e14(path):
    scan(path, "p23v0").write_bytes(scan(path, "p01v0").read_bytes())


def e15(path):
    column(path, "weight", [70 + y for y in positives(path)])


def e16(path):
    replace(path, "[age, weight]", "[age, weight, fold]")


def w01(path):
    values = [50 + 20 * y + i / 100 for i, y in enumerate(positives(path))]
    column(path, "age", [70.05, *values[1:]])


def w02(path):
    column(path, "case_id", [f"{'AG'[y]}{i:04d}" for i, y in enumerate(positives(path))])


def w03(path):
    column(path, "weight", ["" if y else 70 + i for i, y in enumerate(positives(path))])


def w04(path):
    column(path, "weight", ["" if i % 3 else 70 + i for i in range(28)])


def w05(path):
    column(path, "weight", [70] * 28)


def w06(path):
    replace(path, "[F, M]", f"[F, M, {', '.join(f'x{i}' for i in range(20))}]")


def w07(path):
    replace(path, "split: {column: split}", "")
    cells = ["1" if line in (5, 25) else "0" for line in ROWS]
    rows = [{**row, "relapse": y} for row, y in zip(read(path), cells, strict=True)]
    more = [{**row, "case_id": f"{row['case_id']}b", "relapse": "0"} for row in rows]
    drop = ("split", "fold")
    store(path, [{k: v for k, v in row.items() if k not in drop} for row in rows + more])


def w08(path):
    change(path, age={6: "640"})


def w09(path):
    for row in read(path):
        values = np.load(path.parent / row["ct_path"])
        np.savez(path.parent / "scans" / f"{row['case_id']}.npz", values, spacing=[1.0, 1.0, 1.0])
    column(path, "ct_path", [f"scans/{row['case_id']}.npz" for row in read(path)])


def w10(path):
    column(path, "weight", [90 if row["split"] == "test" else 60 for row in read(path)])


def w11(path):
    replace(path, "group: patient", "group: case_id")


def w12(path):
    for size, case in ((1.0, "p02v0"), (2.5, "p03v0")):
        np.savez(
            scan(path, case).with_suffix(".npz"), np.load(scan(path, case)), spacing=[size] * 3
        )
    change(path, ct_path={5: "scans/p02v0.npz", 6: "scans/p03v0.npz"})


def w13(path):
    replace(path, "size: 16", "size: 64")


def w14(path):
    replace(path, "split: {column: split}", "split: {scheme: group_kfold, k: 3}")
    scan(path, "p23v0").write_bytes(scan(path, "p01v0").read_bytes())


def w15(path):
    replace(path, "positive: 1", "classes: [1, 0]")


#: Per code: the mistake, and the row, column and value that the report must name.
MISTAKES = {
    "E00": (e00, None, None, None),
    "E01": (e01, 2, None, None),
    "E02": (e02, None, "wieght", None),
    "E03": (e03, 9, "case_id", "p00v0"),
    "E04": (e04, 3, "ct_path", "scans/p99.npy"),
    "E05": (e05, 5, "ct_path", "p02v0.npy"),
    "E06": (e06, 4, "ct_path", "gap"),
    "E07": (e07, 5, "ct_path", "p02v0.npy"),
    "E08": (e08, 5, "age", "4O"),
    "E09": (e09, 6, "sex", "W"),
    "E10": (e10, 6, "relapse", "2"),
    "E11": (e11, 8, "split", "trian"),
    "E12": (e12, 2, None, "p00"),
    "E13": (e13, None, "relapse", None),
    "E14": (e14, 4, None, None),
    "E15": (e15, None, "weight", None),
    "E16": (e16, None, "fold", None),
    "W01": (w01, None, "age", None),
    "W02": (w02, None, "case_id", None),
    "W03": (w03, None, "weight", None),
    "W04": (w04, None, "weight", None),
    "W05": (w05, None, "weight", None),
    "W06": (w06, None, "sex", None),
    "W07": (w07, None, "relapse", None),
    "W08": (w08, None, "age", None),
    "W09": (w09, None, "ct_path", None),
    "W10": (w10, None, "weight", None),
    "W11": (w11, None, None, None),
    "W12": (w12, None, "ct_path", None),
    "W13": (w13, None, "ct_path", None),
    "W14": (w14, 4, None, None),
    "W15": (w15, None, "relapse", None),
}


@pytest.mark.parametrize("code", MISTAKES)
def test_each_code_is_reported_with_its_place_and_remedy(small_yaml, code):
    assert code not in {p.code for p in check_data(small_yaml, check="headers").warnings}
    mistake, *place = MISTAKES[code]
    mistake(small_yaml)
    report = check_data(small_yaml)
    found = report.errors if code[0] == "E" else report.warnings
    places = [[p.row, p.column, p.value] for p in found if p.code == code]
    assert place in places
    assert report.ok == (not report.errors)
    assert all(p.text and p.remedy.endswith((".", "?")) for p in (*report.errors, *report.warnings))


def test_every_code_of_the_page_has_a_mistake_here():
    listed = re.findall(r"^\| ([EW]\d\d) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(MISTAKES)


def test_everything_comes_at_once_and_leakage_first(small_yaml):
    for mistake in (e03, e04, e08, e09, e12, e14, e16, w08):
        mistake(small_yaml)
    report = check_data(small_yaml)
    codes = [p.code for p in report.errors]
    assert codes == ["E12", "E14", "E16", "E03", "E04", "E08", "E09"]
    assert {"W08"} <= {p.code for p in report.warnings}
    first_other = [p.code in LEAKAGE for p in report.warnings].index(False)
    assert not any(p.code in LEAKAGE for p in report.warnings[first_other:])
    assert report.num_cases == 28
    told = report.to_json()
    assert told["ok"] is False
    assert told["errors"][5] == {
        "code": "E08",
        "text": "not a number",
        "remedy": "Write a plain number, or leave the cell empty.",
        "row": 5,
        "column": "age",
        "value": "4O",
    }


def test_sound_data_are_ok(small_yaml):
    report = check_data(small_yaml)
    assert (report.ok, report.errors, report.warnings) == (True, (), ())
    assert (report.num_cases, report.num_groups) == (28, 24)


def test_a_split_by_hash_that_lacks_a_class_is_told_before_a_run(small_yaml):
    replace(small_yaml, "split: {column: split}", "")
    rows = [row for row in read(small_yaml) if row["patient"] in ("p00", "p01", "p02", "p03")]
    drop = ("split", "fold")
    store(small_yaml, [{k: v for k, v in row.items() if k not in drop} for row in rows])
    (problem, *_) = check_data(small_yaml).errors
    assert problem.code == "E13"
    assert "the split can't be made: part" in problem.text
    assert problem.remedy == "Use folds, fewer folds, another seed, or more cases."


def test_without_a_yaml(tmp_path):
    report = check_data(tmp_path / "dataset.yaml")
    assert [p.code for p in report.errors] == ["E00"]
    assert report.num_cases == 0


def test_large_data_can_be_checked_by_their_headers(small_yaml):
    e07(small_yaml)
    assert check_data(small_yaml, check="headers").ok
    assert not check_data(small_yaml).ok


COLUMNS = ["case_id", "patient", "age", "weight", "sex", "stage", "relapse", "split"]
any_cells = given(
    st.dictionaries(
        st.sampled_from(COLUMNS),
        st.dictionaries(st.integers(2, 29), st.text(max_size=5), max_size=28),
        max_size=4,
    ),
    st.sets(st.sampled_from(["case_id", "patient", "age", "relapse", "split", "ct_path"])),
)
one_folder = [HealthCheck.function_scoped_fixture]


@settings(max_examples=15, suppress_health_check=one_folder)
@any_cells
def test_whatever_the_cells_hold_there_is_a_report(small_yaml, cells, dropped):
    report_on(small_yaml, cells, dropped)


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=one_folder)
@any_cells
def test_whatever_many_cells_hold_there_is_a_report(small_yaml, cells, dropped):
    report_on(small_yaml, cells, dropped)


def report_on(small_yaml, cells, dropped):
    """Check a copy with changed cells, and without some columns."""
    rows = read(small_yaml)
    for column, changed in cells.items():
        for line, cell in changed.items():
            rows[line - 2][column] = cell
    changed = small_yaml.with_name("changed.csv")
    names = [name for name in rows[0] if name not in dropped]
    with changed.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    report = check_data(changed, check="headers")
    assert all(p.code and p.text and p.remedy for p in (*report.errors, *report.warnings))
    if dropped & {"case_id", "age", "relapse", "split", "ct_path"}:
        assert "E02" in {p.code for p in report.errors}
