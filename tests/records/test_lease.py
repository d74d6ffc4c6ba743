"""No two processes have the lease of a run, and a dead process has none."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from fusionzoo.errors import RunError
from fusionzoo.records import lease as leases
from fusionzoo.records.lease import LeaseTaken, claim, is_taken, owners, remove_dead

HOLD = """
import sys, time
from fusionzoo.records.lease import claim
lease = claim(sys.argv[1], "run-0")
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_lease_is_had_once_and_given_back(tmp_path):
    assert not is_taken(tmp_path, "run-0")
    with claim(tmp_path, "run-0") as lease:
        lease.check()
        assert is_taken(tmp_path, "run-0")
        assert not is_taken(tmp_path, "run-1")
        with pytest.raises(LeaseTaken) as caught:
            claim(tmp_path, "run-0")
        assert caught.value.owner.pid == os.getpid()
        claim(tmp_path, "run-1").release()
    assert not is_taken(tmp_path, "run-0")
    assert list((tmp_path / "leases").iterdir()) == []
    claim(tmp_path, "run-0").release()


def test_another_process_is_named(tmp_path, holder):
    with pytest.raises(LeaseTaken) as caught:
        claim(tmp_path, "run-0")
    host = owners(tmp_path)["run-0"].host.partition("/")[0]
    assert str(caught.value) == (
        f"Run run-0 is being trained by process {holder.pid} on {host}. Wait for it, or stop that "
        "process: what it has done so far is kept."
    )


def test_a_killed_process_is_followed_at_once(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert owners(tmp_path) == {}
    with claim(tmp_path, "run-0") as lease:
        lease.check()
        assert [path.name for path in (tmp_path / "leases").iterdir()] == ["run-0.2"]


def test_dead_leases_of_complete_runs_are_removed(tmp_path, holder):
    """Those of living owners and of unfinished runs stay."""

    def left():
        return [path.name for path in (tmp_path / "leases").iterdir()]

    remove_dead(tmp_path, "run-0".__eq__)
    assert left() == ["run-0.1"]
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    remove_dead(tmp_path, "run-1".__eq__)
    assert left() == ["run-0.1"]
    remove_dead(tmp_path, "run-0".__eq__)
    assert left() == []


def test_of_many_that_want_it_one_has_it(tmp_path, holder):
    """Also where all of them find a stale lease at the same moment."""
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    start, had, refused = threading.Barrier(16), [], []

    def want():
        start.wait()
        for _ in range(20):
            try:
                had.append(claim(tmp_path, "run-0"))
            except LeaseTaken as error:
                refused.append(error)
            else:
                assert len(had) == 1
                return

    threads = [threading.Thread(target=want) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(had) <= 1
    if not had:  # all of them stepped back from each other
        had.append(claim(tmp_path, "run-0"))
    had[0].check()
    had[0].release()
    assert refused


def foreign(tmp_path, age, **changes):
    """The lease of another machine, last touched some seconds ago, whose lock isn't seen here."""
    path = tmp_path / "leases" / "run-0.1"
    path.parent.mkdir(exist_ok=True)
    owner = {"host": "elsewhere/1", "pid": 7, "since": 0.0, "stage": "ct", "done": 0.5}
    path.write_text(json.dumps({**owner, **changes}))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_a_heartbeat_of_another_machine_counts(tmp_path):
    foreign(tmp_path, leases.EXPIRY / 2)
    with pytest.raises(LeaseTaken, match="by process 7 on elsewhere"):
        claim(tmp_path, "run-0")
    assert owners(tmp_path)["run-0"].stage == "ct"


def test_a_machine_without_heartbeat_is_dead(tmp_path):
    foreign(tmp_path, leases.EXPIRY + 5)
    assert owners(tmp_path) == {}
    claim(tmp_path, "run-0").release()


def test_a_lease_of_this_machine_without_a_lock_is_stale_at_once(tmp_path):
    foreign(tmp_path, 0, host=leases.this_host())
    claim(tmp_path, "run-0").release()


def test_the_owner_notices_that_it_was_replaced(tmp_path):
    lease = claim(tmp_path, "run-0")
    foreign(tmp_path, 0).rename(tmp_path / "leases" / "run-0.2")
    with pytest.raises(LeaseTaken, match="by process 7 on elsewhere"):
        lease.check()
    lease.release()
    assert (tmp_path / "leases" / "run-0.2").exists()


def test_progress_is_told_with_the_heartbeat(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "BEAT", 0.01)
    with claim(tmp_path, "run-0") as lease:
        lease.tell("fused" * 100, 1 / 3)
        while owners(tmp_path)["run-0"].done == 0:
            time.sleep(0.01)
        owner = owners(tmp_path)["run-0"]
        assert (owner.done, len(owner.stage)) == (0.3333, 60)


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def no_links(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with claim(tmp_path, "run-0"):
        assert is_taken(tmp_path, "run-0")
        with pytest.raises(LeaseTaken):
            claim(tmp_path, "run-0")
    assert list((tmp_path / "leases").iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor, data, offset):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(RunError, match="The disk is full: free some space") as caught:
        claim(tmp_path, "run-0")
    assert re.match(r"Can't write .*run-0\.1 \(No space left", str(caught.value))
    assert list((tmp_path / "leases").iterdir()) == []
