"""What a run's end means for a bench, asked of the code that every cell's process runs."""

import errno
import json
import os
import sys

import pytest
import torch

import fusionzoo.api
from fusionzoo.bench.cell import carry_out, main
from fusionzoo.bench.job import STATUS, Job
from fusionzoo.errors import BadOption, RunError
from fusionzoo.records.lease import claim
from fusionzoo.records.store import RunStore
from fusionzoo.storage import write_error

SPEC = "table=mlp -> linear"


@pytest.fixture
def job(planned, small_data, tmp_path):
    return Job(
        store=str(tmp_path / "runs"),
        run_id=planned.run_id,
        spec=SPEC,
        dataset=str(small_data),
        fold=None,
        num_folds=0,
        seed=0,
        precision="32-true",
        threshold_rule="youden",
        binary="auto",
        training=planned.config.to_json(),
        device="cpu",
        gpu="",
        threads=1,
        folder=str(tmp_path),
    )


def test_a_run_is_left_as_any_other(job, capfd, small_data):
    assert carry_out(job).ending == "done"
    record = RunStore(job.store).read_record(job.run_id)
    assert record.spec == SPEC
    log = capfd.readouterr().err
    assert f"trains {job.run_id}" in log
    assert "table: epoch 1, loss " in log
    assert "table: kept epoch " in log
    assert carry_out(job).ending == "done"
    assert "epoch" not in capfd.readouterr().err


def test_a_run_that_another_process_has(job, planned):
    with claim(job.store, job.run_id):
        answer = carry_out(job, planned)
    assert (answer.ending, answer.again) == ("taken", False)
    assert f"process {os.getpid()}" in answer.reason


def test_another_identity_is_refused(job):
    answer = carry_out(Job(**{**vars(job), "seed": 1}))
    assert answer.ending == "error"
    assert f"and was planned as {job.run_id}: data, weights or the package differ" in answer.reason


@pytest.mark.parametrize(
    ("error", "ending", "again", "words"),
    [
        (BadOption("No such option."), "refused", False, "No such option."),
        (RunError("It diverged."), "error", False, "It diverged."),
        (KeyError("x"), "error", True, "KeyError: 'x'"),
        (MemoryError("no room"), "memory", True, "Out of memory: no room"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory", True, "Out of mem"),
        (torch.OutOfMemoryError("CUDA out of memory."), "memory", True, "Out of memory: CUDA"),
        (OSError(errno.ENOSPC, "No space left on device"), "store", False, "No space left"),
        (OSError(errno.EIO, "Input/output error"), "error", True, "OSError"),
    ],
)
def test_what_an_error_means(job, planned, monkeypatch, error, ending, again, words):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(fusionzoo.api, "execute", fail)
    answer = carry_out(job, planned)
    assert (answer.ending, answer.again) == (ending, again)
    assert answer.reason.startswith(words) or words in answer.reason
    assert f"torch {torch.__version__}" in answer.environment


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_store_that_cannot_be_written_is_no_failure_of_the_run(job, planned, monkeypatch, number):
    def fail(*args, **kwargs):
        cause = OSError(number, os.strerror(number))
        raise write_error(job.store, cause) from cause

    monkeypatch.setattr(fusionzoo.api, "execute", fail)
    answer = carry_out(job, planned)
    assert answer.ending == "store"
    assert answer.reason.startswith(f"Can't write {job.store}")


def test_the_command_says_one_line(job, monkeypatch, tmp_path, capfd):
    """In this process, whose standard output it takes for the answer."""
    monkeypatch.chdir(tmp_path)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    kept = os.dup(1)
    try:
        with claim(job.store, job.run_id):
            status = main([job.dumps()])
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
    assert status == STATUS["taken"]
    assert json.loads(capfd.readouterr().out)["ending"] == "taken"
