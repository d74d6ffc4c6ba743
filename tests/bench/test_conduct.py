"""The conductor with an engine that only pretends: order, tries, other benches, stops."""

import os
import signal
from pathlib import Path

import pytest

from fusionzoo.bench import conduct as conducting
from fusionzoo.bench.attempt import Outcome
from fusionzoo.bench.conduct import BenchObserver, conduct
from fusionzoo.errors import RunError
from fusionzoo.records.failure import read_failures
from fusionzoo.records.lease import claim


def outcome(ending, again=True):
    return Outcome(ending, f"It was {ending}.", again, 1.0, "the end", "host")


def complete(store, run_id):
    (Path(store) / run_id).mkdir(parents=True, exist_ok=True)
    (Path(store) / run_id / "record.json").write_text("{}")


class FakeEngine:
    """Takes `places` cells at once; each ends at the second look as the script says."""

    def __init__(self, store, places=2, script=None):
        self.store, self.places, self.script = store, places, script or {}
        self.running, self.started, self.killed, self.closed, self.most = [], [], [], False, 0

    def free(self):
        return self.places - len(self.running)

    def slots(self):
        return self.places

    def start(self, cell):
        one = FakeTry(self, cell)
        self.started.append(cell.run_id)
        self.running.append(one)
        self.most = max(self.most, len(self.running))
        return one

    def close(self):
        self.closed = True


class FakeTry:
    def __init__(self, engine, cell):
        self.engine, self.cell, self.looks = engine, cell, 0

    def poll(self):
        self.looks += 1
        if self.looks < 2:
            return None
        if self in self.engine.running:
            self.engine.running.remove(self)
        scripted = self.engine.script.get(self.cell.run_id, [])
        ending = scripted.pop(0) if scripted else "done"
        if callable(ending):
            ending = ending()
        if ending == "done":
            complete(self.engine.store, self.cell.run_id)
        return outcome(ending, again=ending not in ("refused", "store"))

    def kill(self):
        self.engine.killed.append(self.cell.run_id)
        self.looks = 1


class Heard(BenchObserver):
    def __init__(self):
        self.told = []

    def started(self, cell, attempt):
        self.told.append(("started", cell.run_id, attempt))

    def finished(self, cell, outcome):
        self.told.append(("finished", cell.run_id))

    def found(self, cell):
        self.told.append(("found", cell.run_id))

    def tried(self, cell, outcome, again):
        self.told.append(("tried", cell.run_id, outcome.ending, again))

    def waiting(self, cells):
        self.told.append(("waiting", *(cell.run_id for cell in cells)))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(conducting, "_LOOK", 0.0)
    monkeypatch.setattr(conducting, "_LOOK_AT_OTHERS", 0.0)


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "runs")


def test_everything_that_is_not_done_is_run_once(store, make_cells):
    cells = make_cells(5)
    complete(store, "run-2")
    engine = FakeEngine(store)
    summary = conduct(cells, engine, store)
    assert engine.started == ["run-0", "run-1", "run-3", "run-4"]
    assert (len(summary.done), summary.found, summary.failed) == (4, [cells[2]], {})
    assert (engine.most, engine.closed) == (2, True)


def test_a_crash_is_tried_once_more(store, make_cells):
    heard = Heard()
    engine = FakeEngine(store, 1, {"run-0": ["crash"]})
    summary = conduct(make_cells(2), engine, store, observer=heard)
    assert engine.started == ["run-0", "run-1", "run-0"]
    assert len(summary.done) == 2
    assert ("tried", "run-0", "crash", True) in heard.told
    assert ("started", "run-0", 2) in heard.told
    assert read_failures(store) == {}


@pytest.mark.parametrize(
    ("endings", "retries", "attempts"),
    [(["timeout", "memory"], 1, 2), (["crash"], 0, 1), (["refused"], 1, 1)],
)
def test_a_failure_is_kept_and_the_others_go_on(store, make_cells, endings, retries, attempts):
    last = endings[-1]
    engine = FakeEngine(store, 1, {"run-0": list(endings)})
    summary = conduct(make_cells(3), engine, store, retries=retries)
    assert [cell.run_id for cell in summary.done] == ["run-1", "run-2"]
    failure = read_failures(store)["run-0"]
    assert summary.failed == {"run-0": failure}
    assert (failure.kind, failure.attempts, failure.fold, failure.seed) == (last, attempts, 0, 0)
    assert (failure.reason, failure.log_tail) == (f"It was {last}.", "the end")
    assert failure.spec == "table=mlp -> linear"


def test_the_first_failure_may_stop_everything(store, make_cells):
    engine = FakeEngine(store, 1, {"run-1": ["refused"]})
    summary = conduct(make_cells(4), engine, store, fail_fast=True)
    assert ([c.run_id for c in summary.done], list(summary.failed)) == (["run-0"], ["run-1"])
    assert [cell.run_id for cell in summary.left] == ["run-2", "run-3"]


def test_a_store_that_cannot_be_written_stops_the_bench_and_is_no_failure(store, make_cells):
    engine = FakeEngine(store, 2, {"run-1": ["store"]})
    with pytest.raises(RunError, match=r"It was store\."):
        conduct(make_cells(6), engine, store)
    assert engine.closed
    assert read_failures(store) == {}
    assert len(engine.started) <= 4


def test_cells_of_another_bench_are_waited_for(store, make_cells):
    """One that the other bench finishes, and one that it leaves."""
    finished, left = claim(store, "run-0"), claim(store, "run-1")
    heard = Heard()

    def other_bench():
        complete(store, "run-0")
        finished.release()
        left.release()
        return "done"

    engine = FakeEngine(store, 1, {"run-2": [other_bench]})
    summary = conduct(make_cells(3), engine, store, observer=heard)
    assert [cell.run_id for cell in summary.done] == ["run-2", "run-1"]
    assert [cell.run_id for cell in summary.found] == ["run-0"]
    assert ("waiting", "run-0", "run-1") in heard.told
    assert ("found", "run-0") in heard.told
    assert engine.started == ["run-2", "run-1"]


def test_a_lease_lost_in_the_last_moment_costs_no_try(store, make_cells):
    lease = claim(store, "run-9")  # not one of these cells
    engine = FakeEngine(store, 1, {"run-0": ["taken", "crash"]})
    summary = conduct(make_cells(1), engine, store)
    assert engine.started == ["run-0"] * 3
    assert len(summary.done) == 1
    lease.release()


def test_a_lease_whose_owner_died_with_its_run_complete_is_removed(store, make_cells):
    """Also of a run that this bench was not asked for, because it was done before."""
    cells = make_cells(2)
    run_id = cells[0].run_id
    complete(store, run_id)
    lease = claim(store, run_id)
    kept = lease.path.with_name("kept")
    os.link(lease.path, kept)
    lease.release()
    kept.rename(lease.path)  # as if the process had been killed before it gave the lease back
    conduct(cells[1:], FakeEngine(store), store)
    assert not lease.path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_runs(store, make_cells, number, request):
    def interrupted():
        os.kill(os.getpid(), number)
        return "done"

    ignored_in_the_background = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, ignored_in_the_background))
    engine = FakeEngine(store, 2, {"run-0": [interrupted]})
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        conduct(make_cells(4), engine, store)
    assert engine.killed
    assert engine.closed
    assert signal.getsignal(signal.SIGTERM) is before
