import numpy as np
import pandas as pd
import pytest

from fusionzoo.data.dataset_yaml import parse_roles
from fusionzoo.data.leakage import check_copies, check_inputs, check_split
from fusionzoo.data.manifest import Cases
from fusionzoo.data.problems import Problems
from fusionzoo.data.rows import Rows

YAML = """
group: patient
{split}
images:
  ct: {{column: ct_path, kind: volume, size: 4}}
table: {{numeric: [{numeric}], categorical: {{sex: [F, M]}}}}
targets:
  y: {{column: y, type: binary, positive: 1}}
"""


def roles(split: str = "", numeric: str = "age"):
    return parse_roles(YAML.format(split=split, numeric=numeric))


def cases(num: int = 40, **changes) -> Cases:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(size=num), "sex": rng.choice(["F", "M"], num)})
    content = {
        "ids": tuple(f"c{i}" for i in range(num)),
        "lines": tuple(range(2, num + 2)),
        "groups": np.array([f"g{i // 2}" for i in range(num)], dtype=object),
        "targets": {"y": np.arange(num) // 2 % 2},
        "tables": {"table": table},
    }
    return Cases(**content | changes)


def rows(found: Cases, **columns: list[str]) -> Rows:
    cells = {name: list(map(str, found.tables["table"][name])) for name in ("age", "sex")} | columns
    return Rows(tuple(cells), cells, found.lines)


def told(check, *arguments) -> tuple[str, ...]:
    problems = Problems()
    check(*arguments, problems)
    return problems.lines()


def test_groups_in_one_part_are_fine():
    split = np.array(["train"] * 20 + ["test"] * 20, dtype=object)
    assert told(check_split, cases(split=split), roles()) == ()
    assert told(check_split, cases(folds=np.arange(40) // 4 % 3), roles()) == ()
    assert told(check_split, cases(), roles("split: {scheme: group_kfold, k: 5}")) == ()
    assert told(check_split, cases(), roles()) == ()


def test_e12_a_group_in_two_parts():
    split = np.array(["train"] * 21 + ["test"] * 19, dtype=object)
    (line,) = told(check_split, cases(split=split), roles())
    assert line == (
        "E12 row 22, value 'g10': the group is in train (row 22), test (row 23). "
        "Put all cases of a patient in one part."
    )
    folds = np.arange(40) % 2
    lines = told(check_split, cases(folds=folds), roles())
    assert "the group is in 0 (row 2), 1 (row 3)" in lines[0]
    assert "and 15 more like these" in lines[-1]


def test_e13_a_part_of_one_class():
    split = np.array(["train"] * 36 + ["test"] * 2 + ["val"] * 2, dtype=object)
    lines = told(check_split, cases(split=split), roles())
    assert lines == (
        "E13 column 'y': target 'y' has only the class '0' in test. Move cases, or merge parts.",
        "E13 column 'y': target 'y' has only the class '1' in val. Move cases, or merge parts.",
    )


def test_e13_a_fold_or_its_training_part_of_one_class():
    lines = told(check_split, cases(folds=np.arange(40) // 2 % 2), roles())
    for place in (
        "in fold 0",
        "in fold 1",
        "the training part of fold 0",
        "the training part of fold 1",
    ):
        assert any(place in line for line in lines)


def test_e13_too_few_groups_for_the_folds():
    few = cases(num=8)
    (line,) = told(check_split, few, roles("split: {scheme: group_kfold, k: 5}"))
    assert line == "E13: 4 groups can't make 5 folds. Lower k from 5 under split:."
    (line,) = told(check_split, cases(num=12), roles("split: {scheme: group_kfold, k: 4}"))[:1]
    assert "class '0' of 'y' has 3 groups for 4 folds" in line


@pytest.mark.parametrize(
    ("parts", "problem", "warning"),
    [
        ({"split": np.array(["train", "test"] * 20, dtype=object)}, "E14 row 2", None),
        ({"folds": np.arange(40) % 2}, "in rows 2, 3 have the same content, in two parts", None),
        (
            {"groups": np.arange(40).astype(str).astype(object)},
            None,
            "W14 row 2: the files of image",
        ),
        ({}, None, None),
    ],
)
def test_e14_and_w14_the_same_content_twice(parts, problem, warning):
    hashes = {"ct": ("same", "same", None, None, *(str(i) for i in range(36)))}
    problems, warnings = Problems(), Problems()
    check_copies(cases(**parts), hashes, problems, warnings)
    for found, wanted in ((problems.lines(), problem), (warnings.lines(), warning)):
        assert len(found) == (wanted is not None)
        assert all(str(wanted) in line for line in found)


@pytest.mark.parametrize(
    ("numeric", "message"),
    [
        ("y", "E15 column 'y': it is the target 'y' and an input. Remove it from table."),
        ("patient", "E16 column 'patient': it is the group and an input. Remove it from table."),
        ("case_id", "E16 column 'case_id': it is the case id and an input."),
        ("ct_path", "E16 column 'ct_path': it is the path of image 'ct' and an input."),
        ("fold", "E16 column 'fold': it is the split and an input."),
    ],
)
def test_e15_and_e16_by_name(numeric, message):
    (line,) = told(check_inputs, cases(), rows(cases()), roles(numeric=numeric))
    assert line.startswith(message)


def test_e16_an_id_under_another_name():
    found = cases()
    lines = told(check_inputs, found, rows(found, age=list(found.ids)), roles())
    assert lines == (
        "E16 column 'age': it holds the case id or group on every row. Remove it from table.",
    )
    assert told(check_inputs, found, rows(found), roles()) == ()


@pytest.mark.parametrize("column", ["age", "sex"])
def test_e15_a_column_that_is_the_answer(column):
    found = cases()
    codes = found.targets["y"]
    found.tables["table"][column] = (
        codes * 3.0 + np.random.default_rng(0).random(40)
        if column == "age"
        else np.where(codes, "M", "F")
    )
    (line,) = told(check_inputs, found, rows(found), roles())
    assert line == (
        f"E15 column {column!r}: alone it says the target 'y' without an error. "
        "Remove it from table; it is the answer."
    )


def test_a_column_that_is_nearly_the_answer_is_no_error():
    found = cases()
    found.tables["table"]["age"] = found.targets["y"].astype(float)
    found.tables["table"].loc[0, "age"] = 0.5
    found.tables["table"].loc[2, "age"] = 0.4
    assert told(check_inputs, found, rows(found), roles()) == ()
