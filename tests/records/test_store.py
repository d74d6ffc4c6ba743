import dataclasses
import errno
import json
import os

import pytest

from fusionzoo.errors import RunError
from fusionzoo.records.store import RunStore, make_run_id

IDENTITY = {"spec": "ct=penet3d -> linear", "seed": 0, "lr": 1e-4, "fold": None}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def complete(store, record, predictions):
    store.prepare(record.run_id)
    store.write_config(record.run_id, {"spec": record.spec})
    store.write_predictions(record.run_id, predictions)
    return store.write_record(record)


def test_the_id_is_the_hash_of_the_definition():
    same = dict(reversed(IDENTITY.items()))
    assert make_run_id(IDENTITY, "PENet3D, LIDC!") == make_run_id(same, "penet3d lidc")
    assert make_run_id(IDENTITY, "PENet3D, LIDC!").startswith("penet3d-lidc-")
    assert make_run_id(IDENTITY) == make_run_id(IDENTITY, "a")[2:]
    others = [{**IDENTITY, key: value} for key, value in (("seed", 1), ("lr", 2e-4), ("new", 1))]
    assert len({make_run_id(identity) for identity in (IDENTITY, *others)}) == 4
    assert len(make_run_id(IDENTITY, "x" * 500)) < 64
    with pytest.raises(TypeError, match="object has no JSON form"):
        make_run_id({"spec": object()})


def test_a_run_there_and_back(store, make_record, predictions):
    record = make_record()
    path = complete(store, record, predictions)
    assert sorted(p.name for p in path.parent.iterdir()) == [
        *("config.json", "predictions.parquet", "record.json")
    ]
    assert json.loads((path.parent / "config.json").read_text()) == {"spec": record.spec}
    assert store.read_record("run-0").dumps() == record.dumps()
    assert store.read_predictions("run-0").digest == record.predictions_digest
    assert store.verify(record).tasks == predictions.tasks


def test_records_are_not_edited(store, make_record, predictions):
    path = complete(store, make_record(), predictions)
    with pytest.raises(RunError) as caught:
        store.write_record(dataclasses.replace(make_record(), seed=1))
    assert str(caught.value) == (
        f"Run run-0 has a record already: {path}. Delete its folder to run it again."
    )
    assert store.read_record("run-0").seed == 0


def test_a_record_needs_its_predictions(store, make_record, predictions):
    store.prepare("run-0")
    with pytest.raises(RunError, match="Can't read predictions from"):
        store.write_record(make_record())
    store.write_predictions("run-0", predictions)
    wrong = dataclasses.replace(make_record(), predictions_digest="0" * 64)
    with pytest.raises(RunError) as caught:
        store.write_record(wrong)
    assert str(caught.value) == (
        f"The predictions of run run-0 have digest {predictions.digest[:12]}, its record says "
        "000000000000. They are not what it was scored on: run it again."
    )
    assert not store.is_complete("run-0")


def test_unfinished_and_absent_runs(store, make_record, predictions):
    complete(store, make_record("b"), predictions)
    complete(store, make_record("a"), predictions)
    store.prepare("unfinished")
    assert store.run_ids() == ["a", "b"]
    assert [record.run_id for record in store.iter_records()] == ["a", "b"]
    assert store.is_complete("a")
    assert not store.is_complete("unfinished")
    with pytest.raises(RunError, match="Run unfinished is not finished: there is no"):
        store.read_record("unfinished")
    with pytest.raises(RunError, match=r"Run c does not exist: .* Run it \(again\), or choose"):
        store.read_record("c")


def test_an_absent_store_is_empty(store):
    assert list(store.iter_records()) == []


def test_a_broken_record_stops_or_is_left_out(store, make_record, predictions, caplog):
    complete(store, make_record("a"), predictions)
    complete(store, make_record("b"), predictions).write_text("{")
    with pytest.raises(RunError, match="is not complete JSON"):
        list(store.iter_records())
    assert [record.run_id for record in store.iter_records(strict=False)] == ["a"]
    assert "A record is left out. The record" in caplog.text


def test_a_renamed_folder_is_noticed(store, make_record, predictions):
    path = complete(store, make_record("a"), predictions)
    path.parent.rename(store.root / "b")
    with pytest.raises(RunError, match=r"is the record of run a\. Give its folder that name again"):
        store.read_record("b")


@pytest.mark.parametrize("run_id", ["../a", "", "a/b", ".hidden", "a b"])
def test_ids_are_plain_names(store, run_id):
    with pytest.raises(RunError, match="is no run id: letters, digits"):
        store.folder(run_id)


def test_an_unwritable_store_fails_before_the_run(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError) as caught:
        RunStore(tmp_path / "runs").prepare("a")
    assert f"Can't write {tmp_path / 'runs' / 'a'}" in str(caught.value)
    assert "choose another folder" in str(caught.value)


def test_a_full_disk_leaves_the_run_unfinished(store, make_record, predictions, monkeypatch):
    store.prepare("run-0")
    store.write_predictions("run-0", predictions)

    def no_room(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", no_room)
    with pytest.raises(RunError, match="The disk is full: free some space"):
        store.write_record(make_record())
    monkeypatch.undo()
    assert not store.is_complete("run-0")
    assert store.write_record(make_record()).is_file()
