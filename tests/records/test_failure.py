import json

import pytest

from fusionzoo.errors import RunError
from fusionzoo.records.failure import (
    SCHEMA,
    Failure,
    clear_failure,
    load_failure,
    read_failures,
    write_failure,
)
from fusionzoo.records.store import RunStore


def failed(run_id="run-0", **changes):
    told = {
        "schema": SCHEMA,
        "run_id": run_id,
        "spec": "ct=penet3d -> linear",
        "fold": None,
        "seed": 0,
        "kind": "timeout",
        "reason": "It took more than 10 s.",
        "attempts": 2,
        "log_tail": "epoch 1/9",
        "environment": "host, Python 3.11, torch 2.6",
        "when": "2026-01-01T00:00:00+00:00",
    }
    return Failure(**{**told, **changes})


def test_there_and_back(tmp_path):
    path = write_failure(tmp_path, failed())
    assert path == tmp_path / "failures" / "run-0.json"
    assert load_failure(path) == failed()
    write_failure(tmp_path, failed("run-1", kind="crash", fold=3))
    write_failure(tmp_path, failed(attempts=4))
    assert read_failures(tmp_path) == {
        "run-0": failed(attempts=4),
        "run-1": failed("run-1", kind="crash", fold=3),
    }


def test_a_store_without_failures(tmp_path):
    assert read_failures(tmp_path) == {}
    clear_failure(tmp_path, "run-0")


def test_a_success_removes_the_failure(tmp_path, make_record, predictions):
    store = RunStore(tmp_path)
    write_failure(tmp_path, failed())
    store.prepare("run-0")
    store.write_predictions("run-0", predictions)
    store.write_record(make_record())
    assert read_failures(tmp_path) == {}
    assert not (tmp_path / "failures" / "run-0.json").exists()


def test_a_failure_beside_a_record_is_past(tmp_path, make_record, predictions):
    store = RunStore(tmp_path)
    store.prepare("run-0")
    store.write_predictions("run-0", predictions)
    store.write_record(make_record())
    write_failure(tmp_path, failed())
    assert read_failures(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not complete JSON"),
        ('{"schema": 3}', "has schema 3; this fusionzoo reads schema 1"),
        ('{"schema": 1}', "reason is missing"),
    ],
)
def test_a_damaged_failure_is_refused(tmp_path, text, words):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(RunError, match=words):
        load_failure(path)


def test_an_unknown_kind_is_refused(tmp_path):
    path = write_failure(tmp_path, failed())
    path.write_text(json.dumps({**json.loads(path.read_text()), "kind": "bad luck"}))
    with pytest.raises(RunError, match="kind must be crash or memory or timeout or refused or err"):
        load_failure(path)
