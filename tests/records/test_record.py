import json
from datetime import datetime, timedelta

import pytest

from fusionzoo.errors import RunError
from fusionzoo.records.record import load_record, utc_now


@pytest.fixture
def path(tmp_path, make_record):
    path = tmp_path / "record.json"
    path.write_text(make_record().dumps())
    return path


def change(path, edit):
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def test_there_and_back(path, make_record):
    again = load_record(path)
    assert again.dumps() == path.read_text()
    assert again.evaluation == make_record().evaluation
    assert again.split.fold is None
    assert again.training.history[1] == {"loss": 0.6}
    assert again.cost.latency_ms is None


def test_another_schema_is_refused(path):
    change(path, lambda data: data.update(schema=2))
    with pytest.raises(RunError) as caught:
        load_record(path)
    assert str(caught.value) == (
        f"The record {path} has schema 2; this fusionzoo reads schema 1. "
        "Read it with the version that wrote it, or run again."
    )


@pytest.mark.parametrize("text", ["[]", "{}", "null"])
def test_json_without_a_schema_is_refused(path, text):
    path.write_text(text)
    with pytest.raises(RunError, match="has schema None; this fusionzoo reads schema 1"):
        load_record(path)


def test_missing_and_unknown_keys_are_named(path):
    def edit(data):
        del data["seed"]
        del data["data"]["digest"]
        data["note"] = "typed by hand"
        data["cost"]["parameters"] = "many"

    change(path, edit)
    with pytest.raises(RunError) as caught:
        load_record(path)
    for line in (
        "seed is missing",
        "note is not known",
        "data.digest is missing",
        'cost.parameters must be a whole number, is "many"',
    ):
        assert f"\n  - {line}\n" in str(caught.value)


def test_a_truncated_file(path):
    path.write_text(path.read_text()[:-50])
    with pytest.raises(RunError) as caught:
        load_record(path)
    assert f"The record {path} is not complete JSON (" in str(caught.value)
    assert str(caught.value).endswith("Delete its folder and run again, or restore it from a copy.")


def test_an_absent_file(tmp_path):
    with pytest.raises(RunError, match=r"Can't read the record .*none.json \(No such file"):
        load_record(tmp_path / "none.json")


def test_times_are_utc():
    now = datetime.fromisoformat(utc_now())
    assert now.utcoffset() == timedelta(0)
    assert now.microsecond == 0
