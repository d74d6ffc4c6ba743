import re
from pathlib import Path

import numpy as np
import pytest

from fusionzoo.data.dataset_yaml import parse_roles
from fusionzoo.data.manifest import find_roles, read_cases
from fusionzoo.data.problems import Problems

YAML = """
{keys}
table: {{numeric: [age], categorical: {{sex: [F, M]}}}}
targets: {{y: {{column: y, type: binary, positive: 1, missing: ignore}}}}
"""
ROWS = ["a,p1,61,F,1", "b,p1,,M,0", "c,p2,40,,"]


def read(folder: Path, header: str, rows: list[str], keys: str = "", predict: bool = False):
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *rows]))
    problems = Problems()
    read = read_cases(path, parse_roles(YAML.format(keys=keys)), folder, problems, predict=predict)
    assert read is not None
    return read[0], "\n".join(problems.lines())


def with_column(name: str, cells: list[str]) -> tuple[str, list[str]]:
    rows = [f"{row},{cell}" for row, cell in zip(ROWS, cells, strict=True)]
    return f"case_id,group,age,sex,y,{name}", rows


def test_a_manifest_is_read_by_its_roles(tmp_path):
    found, problems = read(tmp_path, "case_id,group,age,sex,y", ROWS)
    assert problems == ""
    assert (found.ids, found.lines, found.groups.tolist()) == (
        ("a", "b", "c"),
        (2, 3, 4),
        ["p1", "p1", "p2"],
    )
    assert (found.split, found.folds, found.parts) == (None, None, None)
    np.testing.assert_array_equal(found.targets["y"], [1, 0, -1])
    np.testing.assert_array_equal(found.tables["table"]["age"], [61, np.nan, 40])
    assert found.tables["table"]["sex"].tolist() == ["F", "M", None]
    assert found.tables["table"].dtypes.tolist() == [np.float64, object]


def test_without_a_group_every_case_is_its_own(tmp_path):
    found, _ = read(tmp_path, "case_id,patient,age,sex,y", ROWS)
    assert found.groups.tolist() == ["a", "b", "c"]
    found, _ = read(tmp_path, "case_id,patient,age,sex,y", ROWS, keys="group: patient")
    assert found.groups.tolist() == ["p1", "p1", "p2"]


@pytest.mark.parametrize(
    ("name", "cells", "keys", "split", "folds"),
    [
        ("split", ["train", "Val", "test"], "", ["train", "val", "test"], None),
        ("fold", ["0", "2", "1.0"], "", None, [0, 2, 1]),
        ("part", ["1", "1", "2"], "split: {column: part}", None, [1, 1, 2]),
        ("part", ["1", "1", "2"], "split: {fold: part}", None, [1, 1, 2]),
        ("part", ["test", "val", "train"], "split: {column: part}", ["test", "val", "train"], None),
        ("part", ["test", "val", "train"], "", None, None),
        ("fold", ["0", "1", "2"], "split: {scheme: group_kfold}", None, None),
    ],
)
def test_splits(tmp_path, name, cells, keys, split, folds):
    found, problems = read(tmp_path, *with_column(name, cells), keys)
    assert problems == ""
    assert (found.split is None, found.folds is None) == (split is None, folds is None)
    if found.parts is not None:
        assert found.parts.tolist() == (split or folds)


@pytest.mark.parametrize(
    ("name", "cells", "keys", "message"),
    [
        (
            "split",
            ["train", "tset", "test"],
            "",
            "E11 row 3, column 'split', value 'tset': not a part",
        ),
        (
            "split",
            ["train", "", "test"],
            "",
            "E11 row 3, column 'split', value '': not a part of a split.",
        ),
        (
            "split",
            ["train", "val", "val"],
            "",
            "E11 column 'split': no row is in test. Mark some rows",
        ),
        ("split", ["test", "val", "val"], "", "E11 column 'split': no row is in train."),
        (
            "fold",
            ["0", "1.5", "1"],
            "",
            "value '1.5': not a part of a split. Write fold numbers 0, 1, 2",
        ),
        ("fold", ["0", "-1", "1"], "", "value '-1': not a part of a split."),
        (
            "fold",
            ["1", "1", "1"],
            "",
            "E11 column 'fold': every row is in fold 1. Give two folds or more.",
        ),
        (
            "fold",
            ["0", "1", "3"],
            "",
            "E11 column 'fold': no row is in fold 2. Number them one by one.",
        ),
        (
            "part",
            ["train", "val", "test"],
            "split: {fold: part}",
            "value 'train': not a part of a split",
        ),
        ("part", ["0", "1", "2"], "split: {column: prat}", "E02 column 'prat'"),
        (
            "split,fold",
            ["train,0", "val,1", "test,2"],
            "",
            "E11: the manifest has both a split and a fold",
        ),
    ],
)
def test_e11_split(tmp_path, name, cells, keys, message):
    _, problems = read(tmp_path, *with_column(name, cells), keys)
    assert message in problems


@pytest.mark.parametrize(
    ("header", "rows", "keys", "message"),
    [
        (
            "id,group,age,sex,y",
            ROWS,
            "",
            "E02 column 'case_id': the manifest has no such column, which is",
        ),
        ("case_id,group,age,sex,y", ROWS, "group: patient", "E02 column 'patient'"),
        ("case_id,group,age,gender,y", ROWS, "", "which is a categorical column of 'table'"),
        ("case_id,group,aeg,sex,y", ROWS, "", "which is a numeric column of 'table'. Closest: aeg"),
        (
            "case_id,group,age,sex,z",
            ROWS,
            "",
            "E02 column 'y': the manifest has no such column, which is the",
        ),
        (
            "case_id,group,age,sex,y",
            [*ROWS, "a,p1,1,F,1"],
            "",
            "E03 row 5, column 'case_id', value 'a': row 2",
        ),
        (
            "case_id,group,age,sex,y",
            [*ROWS, ",p1,1,F,1"],
            "",
            "E03 row 5, column 'case_id': the case id is",
        ),
        (
            "case_id,group,age,sex,y",
            [*ROWS, "d,,1,F,1"],
            "",
            "E03 row 5, column 'group': the group is empty",
        ),
    ],
)
def test_e02_and_e03_columns_and_ids(tmp_path, header, rows, keys, message):
    _, problems = read(tmp_path, header, rows, keys)
    assert message in problems


def test_new_cases_need_no_targets_and_no_split(tmp_path):
    found, problems = read(tmp_path, "sex,case_id,age,note", ["F,a,50,hi", "M,b,,"], predict=True)
    assert problems == ""
    assert found.ids == ("a", "b")
    assert found.targets == {}
    found, problems = read(tmp_path, *with_column("split", ["?", "?", "?"]), predict=True)
    assert (problems, found.split) == ("", None)
    found, problems = read(tmp_path, "case_id,sex,age", ["a,F,1"], "group: patient", predict=True)
    assert (problems, found.groups.tolist()) == ("", ["a"])
    _, problems = read(tmp_path, "sex,case_id,age", ["X,a,5O"], predict=True)
    assert "E09 row 2, column 'sex', value 'X'" in problems
    assert "E08 row 2, column 'age', value '5O'" in problems


def find(path, roles=None):
    problems = Problems()
    return find_roles(path, roles, problems), "\n".join(problems.lines())


def test_the_manifest_and_roles_of_a_path(tmp_path):
    (tmp_path / "sub").mkdir()
    text = YAML.format(keys="manifest: sub/rows.csv")
    (tmp_path / "dataset.yaml").write_text(text)
    other = tmp_path / "sub" / "other.yml"
    other.write_text(YAML.format(keys="name: other"))
    (manifest, roles), told = find(tmp_path / "dataset.yaml")
    assert (manifest, roles.text, told) == (tmp_path / "sub" / "rows.csv", text, "")
    (manifest, _), _ = find(tmp_path / "new.csv")
    assert manifest == tmp_path / "new.csv"
    (manifest, roles), _ = find(tmp_path / "new.csv", other)
    assert (manifest, roles.name) == (tmp_path / "new.csv", "other")


def test_e00_without_a_yaml(tmp_path):
    found, told = find(tmp_path / "new.csv")
    assert found is None
    assert re.search(r"E00: there is no file .*dataset.yaml.* docs/own_data.md", told)
    assert "'fusionzoo data init' writes a first one" in told
    (tmp_path / "dataset.yaml").write_bytes("a: é".encode("latin-1"))
    assert re.search(r"E00: .* is not UTF-8", find(tmp_path / "dataset.yaml")[1])
    told = find(tmp_path / "dataset.yaml", Path("other.yaml"))[1]
    assert re.search(r"E00: .* is a yaml, and roles=other.yaml names another", told)
