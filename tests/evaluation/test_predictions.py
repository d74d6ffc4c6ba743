import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from fusionzoo.errors import RunError
from fusionzoo.evaluation.predictions import (
    Predictions,
    prediction_columns,
    prediction_rows,
    read_predictions,
    write_predictions,
)
from fusionzoo.spec import TaskSpec

BINARY = TaskSpec("malignancy", ("benign", "malignant"))
GRADES = TaskSpec("grade", ("low", "middle", "high"))


def rows(**changes):
    given = {
        "cases": ["a", "b"],
        "groups": ["p", "p"],
        "part": "test",
        "task": BINARY,
        "output": "fused",
        "labels": [0, 1],
        "probs": [0.2, 0.7],
    }
    return prediction_rows(**{**given, **changes})


def test_rows_of_a_two_class_task_have_both_probabilities():
    frame = rows()
    assert frame[["p0", "p1"]].to_numpy().tolist() == [[0.8, 0.2], [pytest.approx(0.3), 0.7]]
    assert frame.columns.tolist() == list(prediction_columns([BINARY]))


def test_rows_must_fit_the_task():
    with pytest.raises(RunError) as caught:
        rows(task=GRADES)
    assert str(caught.value) == (
        "Predictions of output 'fused' for task 'grade' need probabilities of shape (2, 3) "
        "and as many groups and labels; have (2,), (2,) and (2,)."
    )
    with pytest.raises(RunError, match=r"have \(2, 2\), \(2,\) and \(3,\)"):
        rows(labels=[0, 1, 1])


def test_tasks_of_unlike_width_share_a_table(predictions):
    assert predictions.frame.columns[-3:].tolist() == ["p0", "p1", "p2"]
    narrow = predictions.frame[predictions.frame["task"] == "malignancy"]
    assert narrow["p2"].isna().all()
    chosen = predictions.select(part="test", task="malignancy", output="ct")
    assert chosen.probs.shape == (80, 2)
    assert predictions.select(part="val", task="grade", output="ct").probs.shape == (80, 3)
    assert predictions.outputs == ("fused", "ct", "table")
    assert predictions.parts == ("test", "val")


def test_every_output_has_its_cases_in_one_order(predictions):
    shuffled = predictions.frame.sample(frac=1, random_state=0)
    again = Predictions(shuffled, predictions.tasks)
    pd.testing.assert_frame_equal(again.frame, predictions.frame)
    first, second = (
        again.select(part="test", task="grade", output=name) for name in ("fused", "table")
    )
    assert (first.cases == second.cases).all()
    assert (first.labels == second.labels).all()


def test_what_is_absent_is_named_with_what_there_is(predictions):
    with pytest.raises(RunError) as caught:
        predictions.select(part="test", task="grade", output="pet")
    assert str(caught.value) == (
        "There are no predictions of output 'pet' for task 'grade' in part 'test'; there are "
        "outputs fused, ct, table, tasks malignancy, grade and parts test, val."
    )


def test_there_and_back(tmp_path, predictions):
    path = tmp_path / "run" / "predictions.parquet"
    digest = write_predictions(path, predictions)
    again = read_predictions(path)
    pd.testing.assert_frame_equal(again.frame, predictions.frame)
    assert again.tasks == predictions.tasks
    assert again.digest == digest == predictions.digest
    assert len(digest) == 64


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.assign(label=0),
        lambda frame: frame.assign(group=frame["group"] + "x"),
        lambda frame: frame.assign(p0=frame["p0"] + 1e-9),
    ],
)
def test_the_digest_is_of_the_content(predictions, change):
    assert Predictions(change(predictions.frame), predictions.tasks).digest != predictions.digest


def test_the_digest_knows_class_names():
    named = TaskSpec("malignancy", ("no", "yes"))
    assert Predictions(rows(), (BINARY,)).digest != Predictions(rows(), (named,)).digest


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda f: f.drop(columns=["group", "p1"]), "have no column group, p1; they need case, gr"),
        (lambda f: f.assign(p1=0.9), "1 rows hold no probabilities that sum to 1, for example"),
        (lambda f: f.assign(p1=np.nan), r"2 rows hold no probabilities"),
        (lambda f: f.assign(label=[0, 4]), r"labels \[4\] are not among the codes -1 to 1"),
        (lambda f: f.assign(task="x"), "task x is not declared; declared are malignancy"),
        (lambda f: f.assign(case="a"), "case 'a' occurs twice for part 'test', task 'malignancy'"),
        (lambda f: f.assign(group=None), "column group has empty cells"),
        (
            lambda f: pd.concat([f, f.iloc[:1].assign(output="ct")]),
            r"part 'test': outputs are not on the same cases \(ct 1, fused 2\)",
        ),
        (
            lambda f: pd.concat([f, f.assign(output="ct", label=1)]),
            "case 'a' has more than one label",
        ),
        (
            lambda f: pd.concat([f, f.assign(output="ct", group="q")]),
            "case 'a' has more than one group",
        ),
    ],
)
def test_impossible_rows_are_refused(change, text):
    with pytest.raises(RunError, match=text):
        Predictions(change(rows(probs=[0.1, 0.9])), (BINARY,))


def test_a_truncated_file(tmp_path, predictions):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, predictions)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"Can't read predictions from {path} (")
    assert str(caught.value).endswith("Run again to make it anew, or restore it from a copy.")


def test_an_absent_file(tmp_path):
    with pytest.raises(RunError, match="No such file or directory"):
        read_predictions(tmp_path / "none.parquet")


def test_a_file_without_a_column(tmp_path, predictions):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, predictions)
    parquet.write_table(parquet.read_table(path).drop_columns(["label"]), path)
    with pytest.raises(RunError, match=r"predictions\.parquet: The predictions have no column l"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({}, "is a Parquet file, but not one of fusionzoo's predictions"),
        (
            {"fusionzoo.predictions": '{"schema": 99}'},
            "has predictions of schema 99; this fusionzoo reads schema 1. Read it with the",
        ),
        ({"fusionzoo.predictions": '{"schema": 1}'}, "tasks is missing"),
        ({"fusionzoo.predictions": '{"schema" 1}'}, "says of its tasks is damaged .Expecting ':'"),
        ({"fusionzoo.predictions": "[1]"}, "has predictions of schema None"),
    ],
)
def test_files_of_others(tmp_path, metadata, text):
    path = tmp_path / "predictions.parquet"
    parquet.write_table(pa.table({"case": ["a"]}).replace_schema_metadata(metadata), path)
    with pytest.raises(RunError, match=text):
        read_predictions(path)


def test_what_has_the_digest_is_not_checked_again(predictions, tmp_path, monkeypatch):
    path = tmp_path / "predictions.parquet"
    digest = write_predictions(path, predictions)
    assert not read_predictions(path, digest="0" * 64).checked
    monkeypatch.setattr("fusionzoo.evaluation.predictions._problems", None)
    known = read_predictions(path, digest=digest)
    assert known.checked
    assert known.digest == digest
    pd.testing.assert_frame_equal(known.frame, predictions.frame, check_dtype=False)
