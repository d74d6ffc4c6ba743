"""A cell's process, warm or cold: what it says, how it dies, what it leaves running."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fusionzoo.bench import process as processes
from fusionzoo.bench.job import Answer, Job
from fusionzoo.bench.process import CellProcess, may_fork
from fusionzoo.errors import RunError
from tests.bench.tiny_bench import is_running


def make_job(store, **changes):
    told = {
        "store": str(store),
        "run_id": "run-0",
        "spec": "table=mlp -> linear",
        "dataset": "no_such_dataset",
        "fold": None,
        "num_folds": 0,
        "seed": 0,
        "precision": "32-true",
        "threshold_rule": "youden",
        "binary": "auto",
        "training": {},
        "device": "cpu",
        "gpu": "",
        "threads": 1,
        "folder": str(store),
    }
    return Job(**{**told, **changes})


def ended(process, seconds=300):
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process.status


@pytest.fixture
def forked(tmp_path, monkeypatch):
    """A fork of this process that does what a function says instead of a run."""
    started = []

    def start(what, **changes):
        monkeypatch.setattr(processes, "carry_out", lambda job, planned: what(job))
        started.append(CellProcess(make_job(tmp_path, **changes), planned=object()))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def test_a_fork_answers(forked, tmp_path):
    def work(job):
        os.write(2, b"working\n")
        os.write(1, b"printed\n")
        return Answer("done", environment=os.environ.get("CUDA_VISIBLE_DEVICES", ""))

    process = forked(work, gpu="3")
    assert ended(process) == 0
    assert process.answer() == Answer("done", environment="3")
    assert process.log_tail() == "working\nprinted"
    assert os.environ.get("CUDA_VISIBLE_DEVICES") != "3"
    assert (tmp_path / "logs" / "run-0.log").is_file()


def test_logs_of_tries_follow_each_other_and_the_tail_is_of_the_last(forked):
    def say(text):
        return lambda job: os.write(2, text) and Answer("done")

    ended(forked(say(b"first\n")))
    second = forked(say(b"x\n" * 100 + b"second\n"))
    ended(second)
    tail = second.log_tail().splitlines()
    assert tail[-1] == "second"
    assert len(tail) == 60
    assert "first" not in tail
    assert second.log.read_text().startswith("first\n")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_fork_that_dies_says_nothing(forked, number):
    process = forked(lambda job: os.kill(os.getpid(), number))
    assert ended(process) == -number
    assert process.answer() is None
    if number == signal.SIGSEGV:  # where it was, by faulthandler
        assert "Fatal Python error: Segmentation fault" in process.log_tail()


def test_a_killed_fork_takes_what_it_started_along(forked, tmp_path):
    def work(job):
        child = subprocess.Popen(["sleep", "600"])
        (tmp_path / "child").write_text(str(child.pid))
        time.sleep(600)

    process = forked(work)
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
        time.sleep(0.01)
    assert process.poll() is None
    child = int((tmp_path / "child").read_text())
    process.kill()
    assert ended(process) == -signal.SIGKILL
    while is_running(child):
        time.sleep(0.01)


ORPHAN = """
import os, sys, time
from fusionzoo.bench import process
from tests.bench.test_process import make_job
def work(job, planned):
    open(sys.argv[1] + "/pid", "w").write(str(os.getpid()))
    time.sleep(600)
process.carry_out = work
process.CellProcess(make_job(sys.argv[1]), planned=object())
time.sleep(600)
"""


def test_a_fork_dies_with_its_parent(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, str(tmp_path)])
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert parent.poll() is None
        time.sleep(0.01)
    child = int((tmp_path / "pid").read_text())
    assert is_running(child)
    parent.kill()
    parent.wait()
    while is_running(child):
        time.sleep(0.01)


def test_the_command_answers_the_same_way(tmp_path):
    process = CellProcess(make_job(tmp_path))
    assert ended(process) == 2
    answer = process.answer()
    assert answer.ending == "refused"
    assert answer.reason.startswith("No dataset is called 'no_such_dataset'.")
    assert not answer.again
    assert "UnknownComponent: No dataset is called" in process.log_tail()


def test_memory_is_that_of_the_process(forked):
    def work(job):
        held = bytearray(os.urandom(1) * (64 * 2**20))
        os.write(2, b"held\n")
        time.sleep(600)
        return held

    process = forked(work)
    while process.log_tail() != "held":
        time.sleep(0.01)
    assert 64 < process.memory_mib() < 2000


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(RunError, match=r"Can't write .*logs .*is a file, not a folder"):
        CellProcess(make_job(tmp_path), planned=object())


def test_more_than_one_thread_is_not_forked(monkeypatch):
    code = "from fusionzoo.bench.process import may_fork; print(may_fork())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "\n"
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    assert "threads" in may_fork()
    over.set()
    thread.join()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "on Linux alone" in may_fork()


def test_jobs_and_answers_there_and_back(tmp_path):
    job = make_job(tmp_path, training={"lr": 0.1, "loss": "bce"}, fold=2, num_folds=5)
    assert Job.loads(job.dumps()) == job
    answer = Answer("memory", "It was too much.", True, "host")
    assert Answer.loads(answer.dumps()) == answer
    with pytest.raises(RunError, match="ending must be done or taken or store or crash"):
        Answer.loads('{"ending": "bad", "reason": "", "again": true, "environment": ""}')
