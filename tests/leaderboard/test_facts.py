import os

import pytest

from fusionzoo.errors import RunError
from fusionzoo.leaderboard.cache import BoardCache
from fusionzoo.leaderboard.facts import RunFacts, read_facts
from fusionzoo.records.store import RunStore


def test_facts_are_those_of_the_record(table_store):
    store = RunStore(table_store)
    record = store.read_record("01-fold1-seed0")
    facts = RunFacts.of(record)
    row = record.evaluation.row("malignancy", "fused")
    assert (facts.spec, facts.fold, facts.seed) == (record.spec, 1, 0)
    assert facts.scores["malignancy"]["auroc"][0] == pytest.approx(row.metrics["auroc"].value)
    assert facts.thresholds == {"malignancy": row.threshold.value}
    assert facts.tested["malignancy"] == [60, 30, row.num_positive]
    assert (facts.test_set, facts.scheme) == ("fold 1", "2 stratified folds by patient, seed 0")
    assert facts.tasks == ["malignancy"]
    assert RunFacts.loads(facts.dumps()) == facts


def test_several_tasks_have_a_mean_beside_them(tasks_store):
    facts = read_facts(RunStore(tasks_store), BoardCache())["00-split-seed1"]
    assert facts.tasks == ["malignancy", "grade"]
    assert set(facts.scores) == {"malignancy", "grade", "mean"}
    assert (facts.test_set, facts.scheme) == ("test", "split in the data")
    assert facts.tested["grade"][2] is None


def test_only_new_and_changed_records_are_read(own_store, monkeypatch):
    read = []
    real = RunStore.read_record

    def counted(self, run_id):
        read.append(run_id)
        return real(self, run_id)

    monkeypatch.setattr(RunStore, "read_record", counted)
    store = RunStore(own_store)
    with BoardCache.of_store(own_store) as cache:
        first = read_facts(store, cache)
        assert len(read) == len(first) == 9
        read.clear()
        assert read_facts(store, cache) == first
        assert read == []
        os.utime(own_store / "00-fold0-seed0" / "record.json", ns=(5, 5))
        read_facts(store, cache)
        assert read == ["00-fold0-seed0"]


def test_a_record_that_cannot_be_read_is_told(own_store):
    (own_store / "00-fold0-seed0" / "record.json").write_text("{")
    with pytest.raises(RunError, match="not complete JSON"):
        read_facts(RunStore(own_store), BoardCache())
