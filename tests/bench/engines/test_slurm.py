"""Slurm jobs by submitit, whose local executor stands for Slurm: the same path, other processes."""

import sys

import pytest

from fusionzoo.bench.attempt import Limits
from fusionzoo.bench.engines.local import Resources
from fusionzoo.bench.engines.slurm import SlurmEngine
from fusionzoo.errors import BadOption, MissingExtra
from tests.bench.tiny_bench import QUICK, TinyBench


def test_submitit_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MissingExtra) as caught:
        SlurmEngine("runs", Resources("cpu"))
    assert str(caught.value) == (
        "The engine 'slurm' needs submitit. Install it: pip install 'fusionzoo[slurm]'."
    )


def test_a_machine_without_slurm(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadOption, match=r"Slurm can't be asked: .* Run this where 'sbatch' is"):
        SlurmEngine(str(tmp_path), Resources("cpu"))


def test_what_slurm_is_asked_for(tmp_path):
    pytest.importorskip("submitit")
    resources = Resources("cuda", threads=4, jobs=7, limits=Limits(3600.0, 2048.0))
    engine = SlurmEngine(str(tmp_path), resources, local=True)
    assert engine._parameters({"partition": "gpu"}) == {
        "name": "fusionzoo",
        "cpus_per_task": 4,
        "slurm_partition": "gpu",
        "timeout_min": 70,
        "mem_gb": 3,
        "gpus_per_node": 1,
    }
    assert (engine.slots(), engine.free()) == (7, 7)


@pytest.mark.slow
def test_a_bench_on_submitits_local_executor(small_data, tmp_path):
    pytest.importorskip("submitit")
    bench = TinyBench(tmp_path, QUICK, small_data, "--folds", "2", "--jobs", "2")
    status, out = bench.run("runs", "--engine", "slurm", "--address", "local")
    assert status == 0, out
    assert len(bench.records("runs")) == 4
    assert bench.left_over("runs") == []
    assert list((tmp_path / "runs" / "slurm").glob("*_log.out"))
