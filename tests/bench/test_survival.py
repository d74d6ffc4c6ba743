"""kill -9 of workers and of the bench itself, two benches at once: the same records and sheets."""

import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from fusionzoo.records.lease import owners
from tests.bench.tiny_bench import LONGER, QUICK, TinyBench, children, is_running

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")


def wait_for(condition, process, seconds=300):
    """Wait until something is so; gives whether it came before the process ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return True


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def tiny(small_data, tmp_path_factory):
    """A bench of four cells, and one undisturbed run of it."""
    bench = TinyBench(
        tmp_path_factory.mktemp("bench"), QUICK, small_data, "--folds", "2", "--jobs", "2"
    )
    bench.status, bench.told = bench.run("whole")
    return bench


def test_an_undisturbed_bench(tiny):
    assert tiny.status == 0, tiny.told
    assert len(tiny.records("whole")) == 4
    assert tiny.left_over("whole") == []
    assert set(tiny.tries("whole").values()) == {1}
    assert "tiny on small: 2 rows, 2 folds, 1 seed: 4 cells" in tiny.told
    assert "[4/4] " in tiny.told
    assert "4 done now" in tiny.told


def test_killed_and_gone_on_with(tiny):
    """A worker is killed first, then the bench with all that it runs."""
    process = tiny.start("killed")
    assert wait_for(lambda: owners(tiny.folder / "killed"), process)
    assert kill(next(iter(owners(tiny.folder / "killed").values())).pid)
    assert wait_for(lambda: tiny.records("killed"), process)
    workers = children(process.pid)
    kill(process.pid)
    told, _ = process.communicate()
    assert "crash. The process was ended by signal 9 (SIGKILL). It is tried again." in told
    for worker in workers:
        while is_running(worker):
            time.sleep(0.005)
    assert len(tiny.records("killed")) < 4
    status, told = tiny.run("killed")
    assert status == 0, told
    assert tiny.records("killed") == tiny.records("whole")
    assert tiny.sheets("killed") == tiny.sheets("whole")
    assert tiny.left_over("killed") == []


@pytest.mark.slow
def test_twenty_kills_at_random_moments(small_data, tmp_path):
    """Of workers and of the bench, during a bench of twelve cells with stages and checkpoints."""
    bench = TinyBench(
        tmp_path, LONGER, small_data, "--folds", "2", "--seeds", "2", "--retries", "20"
    )
    status, told = bench.run("whole")
    assert status == 0, told
    assert len(bench.records("whole")) == 12
    draw = random.Random(0)
    kills = {"worker": 0, "bench": 0}
    process = bench.start("killed")
    while sum(kills.values()) < 20:
        assert wait_for(partial(owners, tmp_path / "killed"), process), (kills, "done too early")
        time.sleep(draw.uniform(0, 1.5))
        workers = sorted(owner.pid for owner in owners(tmp_path / "killed").values())
        if workers and draw.random() < 0.6:
            kills["worker"] += kill(draw.choice(workers))
        else:
            kills["bench"] += kill(process.pid)
            process.communicate()
            process = bench.start("killed")
    process.communicate()
    status, told = bench.run("killed")
    assert status == 0, told
    print(f"kills: {kills}; tries: {sorted(bench.tries('killed').values())}")  # noqa: T201
    assert min(kills.values()) >= 5
    assert bench.records("killed") == bench.records("whole")
    assert bench.sheets("killed") == bench.sheets("whole")
    assert bench.left_over("killed") == []


@pytest.mark.slow
def test_two_benches_on_one_store_never_run_a_cell_twice(small_data, tmp_path):
    bench = TinyBench(tmp_path, QUICK, small_data, "--folds", "3", "--seeds", "2", "--jobs", "2")
    both = [bench.start("shared"), bench.start("shared")]
    told = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert len(bench.records("shared")) == 12
    assert set(bench.tries("shared").values()) == {1}
    done = [
        sum(" in " in line and line.startswith("[") for line in one.splitlines()) for one in told
    ]
    assert sum(done) == 12
    assert bench.left_over("shared") == []
