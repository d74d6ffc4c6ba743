"""Bounds of time and memory, and what an ended process is taken for."""

import signal

import pytest

from fusionzoo.bench import attempt as attempts
from fusionzoo.bench.attempt import Attempt, Limits
from fusionzoo.bench.job import Answer
from fusionzoo.bench.process import CellProcess


class FakeProcess(CellProcess):
    """A process that ends when it is killed, or with a given status."""

    def __init__(self, status=None, answer=None, memory=10.0):
        self.status, self._answer, self._memory = status, answer, memory
        self.told_where = False

    def poll(self):
        return self.status

    def answer(self):
        return self._answer

    def kill(self):
        self.status = -signal.SIGKILL

    def tell_where(self):
        self.told_where = True

    def memory_mib(self):
        return self._memory

    def log_tail(self):
        return "the end"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(attempts, "_LOOK", 0.0)


def outcome(process, seconds=None, memory_mib=None):
    return Attempt(process, Limits(seconds, memory_mib)).wait()


def test_a_good_end():
    found = outcome(FakeProcess(0, Answer("done", environment="host")))
    assert (found.ending, found.reason, found.environment) == ("done", "", "host")
    assert found.log_tail == "the end"


def test_too_much_time():
    process = FakeProcess()
    found = outcome(process, seconds=0.01)
    assert (found.ending, found.again) == ("timeout", True)
    assert found.reason == "It took more than 0.01 s (--timeout)."
    assert process.told_where


def test_minutes_are_said_as_minutes():
    assert attempts._words(1800.0) == "30 min"


def test_too_much_memory():
    found = outcome(FakeProcess(memory=3072.0), memory_mib=2048.0)
    assert (found.ending, found.again) == ("memory", True)
    assert found.reason == "It took 3.00 GiB of memory and may take 2.00 GiB (--memory)."


def test_without_a_bound_most_of_the_machine_may_be_taken(monkeypatch):
    assert 100 < attempts.machine_memory_mib() < 2**30
    monkeypatch.setattr(attempts, "machine_memory_mib", lambda: 1024.0)
    found = outcome(FakeProcess(memory=1000.0))
    assert found.reason == "It took 0.98 GiB of memory and may take 0.90 GiB (--memory)."


def test_a_container_may_have_less_than_the_machine(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("2097152\n")
    monkeypatch.setattr(attempts, "_GROUP_LIMITS", (str(tmp_path / "memory.max"),))
    assert attempts.machine_memory_mib() == 2
    (tmp_path / "memory.max").write_text("max\n")
    assert attempts.machine_memory_mib() > 2


def test_within_its_bounds_it_runs_on():
    attempt = Attempt(FakeProcess(), Limits(100.0, 100.0))
    assert attempt.poll() is None
    attempt.kill()
    assert attempt.wait().ending == "crash"


def test_done_at_the_last_moment_is_done():
    process = FakeProcess(answer=Answer("done"))
    assert outcome(process, seconds=0.0).ending == "done"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (-signal.SIGSEGV, "The process was ended by signal 11 (SIGSEGV)."),
        (1, "The process ended with status 1 and said nothing."),
    ],
)
def test_a_crash(status, reason):
    found = outcome(FakeProcess(status))
    assert (found.ending, found.reason, found.again) == ("crash", reason, True)
    assert ", Python 3." in found.environment


def test_a_process_that_the_system_ended_for_want_of_memory(monkeypatch):
    counts = iter([4, 5])
    monkeypatch.setattr(attempts, "_out_of_memory_kills", lambda: next(counts))
    found = outcome(FakeProcess(-signal.SIGKILL))
    assert (found.ending, found.reason) == (
        "memory",
        "The system ended it because memory ran out.",
    )


@pytest.mark.parametrize("ending", ["taken", "store", "refused", "error", "memory"])
def test_what_the_process_says_is_believed(ending):
    found = outcome(FakeProcess(1, Answer(ending, "Because.", ending == "error")))
    assert (found.ending, found.reason, found.again) == (ending, "Because.", ending == "error")
