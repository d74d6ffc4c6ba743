"""Places on cores and GPUs, and what each cell's process is told."""

import dataclasses
from typing import ClassVar

import pytest

from fusionzoo.bench.engines import local
from fusionzoo.bench.engines.local import LocalEngine, Resources, job_of, visible_gpus
from fusionzoo.bench.job import Answer
from fusionzoo.bench.process import CellProcess
from fusionzoo.errors import BadOption


class FakeProcess(CellProcess):
    """Ends well once it is let go."""

    started: ClassVar[list[CellProcess]] = []
    over = False

    def __init__(self, job, planned=None):
        self.job, self.planned = job, planned
        self.started.append(self)

    def poll(self):
        return 0 if self.over else None

    def answer(self):
        return Answer("done")

    def kill(self):
        self.over = True

    def memory_mib(self):
        return 1.0

    def log_tail(self):
        return ""


@pytest.fixture
def processes(monkeypatch):
    monkeypatch.setattr(FakeProcess, "started", [])
    monkeypatch.setattr(local, "CellProcess", FakeProcess)
    return FakeProcess.started


def test_cores_are_filled(monkeypatch, tmp_path):
    monkeypatch.setattr(local, "usable_cores", lambda: 8)
    for threads, jobs, places in ((1, None, 8), (3, None, 2), (16, None, 1), (1, 5, 5)):
        engine = LocalEngine(str(tmp_path), Resources("cpu", threads=threads, jobs=jobs))
        assert (engine.slots(), engine.free()) == (places, places)


def test_gpus_are_spread_and_shared(monkeypatch, tmp_path, make_cells, processes):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert visible_gpus() == ["2", "5"]
    engine = LocalEngine(str(tmp_path), Resources("auto", jobs_per_gpu=2))
    assert engine.slots() == 4
    tries = [engine.start(cell) for cell in make_cells(4)]
    assert [process.job.gpu for process in processes] == ["2", "5", "2", "5"]
    assert engine.free() == 0
    tries[1].kill()
    tries[1].poll()
    assert engine.free() == 1
    engine.start(make_cells(5)[4])
    assert processes[-1].job.gpu == "5"


def test_fewer_jobs_than_places(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    assert LocalEngine(str(tmp_path), Resources("cuda", jobs=2)).slots() == 2
    assert LocalEngine(str(tmp_path), Resources("cpu", jobs=2)).slots() == 2


def test_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == []
    with pytest.raises(BadOption, match=r"No CUDA device is usable here\. Use --device cpu"):
        LocalEngine(str(tmp_path), Resources("cuda"))


def test_a_store_that_fails_gives_its_place_back(monkeypatch, tmp_path, make_cells):
    def fail(job, planned):
        raise OSError

    monkeypatch.setattr(local, "CellProcess", fail)
    engine = LocalEngine(str(tmp_path), Resources("cpu", jobs=1))
    with pytest.raises(OSError, match=r"^$"):
        engine.start(make_cells(1)[0])
    assert engine.free() == 1


@pytest.mark.parametrize(
    ("why", "warm", "forked"), [("", True, 1), ("threads", True, 0), ("", 0, 0)]
)
def test_cells_are_forked_where_that_is_safe(
    monkeypatch, tmp_path, make_cells, processes, why, warm, forked
):
    monkeypatch.setattr(local, "may_fork", lambda: why)
    engine = LocalEngine(str(tmp_path), Resources("cpu", jobs=1), warm=bool(warm))
    engine.start(make_cells(1)[0])
    assert (processes[0].planned is not None) == bool(forked)


def test_the_job_says_all_that_defines_the_run(make_cells, small_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (cell,) = make_cells(1)
    cell = dataclasses.replace(cell, plan=cell.plan.reopened_by(str(small_data)), fold=1)
    job = job_of(cell, "runs", Resources("cpu", threads=3))
    assert (job.store, job.folder) == (str(tmp_path / "runs"), str(tmp_path))
    assert (job.run_id, job.fold, job.seed, job.threads) == ("run-0", 1, 0, 3)
    assert (job.spec, job.dataset) == ("table=mlp -> linear", str(small_data))
    assert job.training == cell.plan.config.to_json()
    assert (job.precision, job.threshold_rule, job.binary) == ("32-true", "youden", "auto")
