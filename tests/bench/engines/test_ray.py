"""A Ray cluster of two nodes on this machine, one of which is killed in the middle."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from fusionzoo.bench.engines.local import Resources
from fusionzoo.bench.engines.ray import RayEngine
from fusionzoo.errors import MissingExtra
from tests.bench.tiny_bench import QUICK, TinyBench

#: Starts a head without cores and two nodes with one each, says the address, kills the second node
#: when told to. Ray's own warnings would be errors in a test's process.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
small = {"object_store_memory": 100 * 2**20}
cluster = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
print("address", cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes.pop(), allow_graceful=False)
    print("killed", flush=True)
cluster.shutdown()
"""


def test_ray_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra) as caught:
        RayEngine("runs", Resources("cpu"))
    assert str(caught.value) == (
        "The engine 'ray' needs Ray. Install it: pip install 'fusionzoo[ray]'."
    )


@pytest.fixture
def cluster():
    pytest.importorskip("ray")
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    process.address = told(process, "address")
    yield process
    process.stdin.close()
    process.wait(60)


def told(process, word):
    """What follows a word that a process says; other lines are skipped."""
    for line in process.stdout:
        if line.startswith(word):
            return line.removeprefix(word).strip()
    raise AssertionError(f"the process never said {word!r}")


@pytest.mark.slow
def test_a_node_is_lost_and_the_bench_completes(cluster, small_data, tmp_path):
    bench = TinyBench(tmp_path, QUICK, small_data, "--folds", "3", "--seeds", "2")
    process = bench.start("runs", "--engine", "ray", "--address", cluster.address)
    while len(list(Path(tmp_path).glob("runs/*/record.json"))) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    print("kill", file=cluster.stdin, flush=True)
    told(cluster, "killed")
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert len(bench.records("runs")) == 12
    assert bench.left_over("runs") == []
    assert "12 done now" in out


@pytest.mark.slow
def test_a_cluster_that_is_not_there(small_data, tmp_path):
    pytest.importorskip("ray")
    bench = TinyBench(tmp_path, QUICK, small_data)
    status, out = bench.run("runs", "--engine", "ray", "--address", "127.0.0.1:1")
    assert status == 2
    assert "There is no Ray cluster at '127.0.0.1:1'. Start one with 'ray start --head'" in out
    assert "Traceback" not in out
