import sqlite3

import pytest

from fusionzoo.records import index as indexes
from fusionzoo.records.index import INDEX, IndexRow, read_index


@pytest.fixture
def store(tmp_path, make_record):
    """A store whose records have no predictions: the index doesn't ask for them."""
    for run_id in ("b", "a"):
        (tmp_path / run_id).mkdir()
        (tmp_path / run_id / "record.json").write_text(make_record(run_id).dumps())
    return tmp_path


def test_what_is_kept_of_a_record(store, make_record):
    record = make_record("a")
    first, second = read_index(store)
    assert first == IndexRow(
        run_id="a",
        spec=record.spec,
        dataset="lidc",
        fold=None,
        seed=0,
        train_cases=90,
        settings={"epochs": 2},
        parameters=1234,
        flops=10**12,
        train_seconds=3.25,
        peak_memory_mib=None,
        cpu=record.environment.hardware.cpu,
        gpu=None,
    )
    assert second.run_id == "b"


def test_an_absent_store_is_empty(tmp_path):
    assert read_index(tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_only_what_changed_is_read_again(store, make_record, monkeypatch):
    read = []
    load = indexes.load_record
    monkeypatch.setattr(indexes, "load_record", lambda path: read.append(path) or load(path))
    read_index(store)
    assert len(read) == 2
    read_index(store)
    assert len(read) == 2
    (store / "c").mkdir()
    (store / "c" / "record.json").write_text(make_record("c").dumps())
    (store / "b" / "record.json").write_text("{")
    assert [row.run_id for row in read_index(store)] == ["a", "c"]
    (store / "a" / "record.json").unlink()
    assert [row.run_id for row in read_index(store)] == ["c"]


@pytest.mark.parametrize("content", [b"no database at all, but long enough", b""])
def test_a_damaged_file_is_made_anew(store, content):
    (store / INDEX).write_bytes(content)
    assert len(read_index(store)) == 2
    assert len(read_index(store)) == 2
    with sqlite3.connect(store / INDEX) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (2,)
    connection.close()


def test_a_file_of_another_version_is_made_anew(store, monkeypatch):
    with sqlite3.connect(store / INDEX) as connection:
        connection.execute("CREATE TABLE runs (other TEXT)")
    connection.close()
    assert len(read_index(store)) == 2


def test_a_locked_file_is_not_waited_for_long(store, monkeypatch):
    read_index(store)
    connect = sqlite3.connect
    other = connect(store / INDEX, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(sqlite3, "connect", lambda where, timeout: connect(where, timeout=0))
    assert len(read_index(store)) == 2
    other.close()


def test_a_store_that_cannot_be_written(store, monkeypatch):
    (store / INDEX).mkdir()
    assert len(read_index(store)) == 2
