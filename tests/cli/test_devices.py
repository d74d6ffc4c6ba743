"""One command as several processes: who speaks, and what a failure of one means for all."""

import json
import os
import subprocess
import sys

import pytest
import torch

from fusionzoo.cli import _devices
from fusionzoo.cli._devices import check_devices, is_first, is_one_of_several, run_processes
from fusionzoo.errors import BadOption
from tests import small_manifest


@pytest.fixture
def program(monkeypatch):
    """Puts a small program in the place of the command."""

    def put(text):
        monkeypatch.setattr(_devices, "_COMMAND", f"import os, sys, time\n{text}")

    return put


def test_all_know_each_other_and_the_first_one_speaks(program, capfd):
    program(
        "names = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR')\n"
        "print(*[os.environ[name] for name in names], *sys.argv[1:])\n"
        "print('warned', file=sys.stderr)"
    )
    assert run_processes(3, ["run", "--seed", "1"]) == 0
    told = capfd.readouterr()
    assert told.out == "0 0 3 3 127.0.0.1 run --seed 1\n"
    assert told.err == "warned\n"


@pytest.mark.parametrize(("rank", "status"), [(0, 2), (1, 1), (1, 2)])
def test_one_that_fails_ends_all(program, capfd, rank, status):
    program(
        f"if os.environ['RANK'] != '{rank}': time.sleep(600)\n"
        f"print('Error: because', file=sys.stderr); sys.exit({status})"
    )
    assert run_processes(2, []) == status
    assert capfd.readouterr().err == "Error: because\n"


def test_one_that_dies_gives_1(program, capfd):
    program("os.kill(os.getpid(), 9) if os.environ['RANK'] == '1' else time.sleep(600)")
    assert run_processes(2, []) == 1


def test_a_process_knows_its_place(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    assert (is_one_of_several(), is_first()) == (False, True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert (is_one_of_several(), is_first()) == (True, False)


@pytest.mark.parametrize(
    ("device", "count", "gpus", "have"),
    [
        ("cuda", 2, 1, "1 GPU\\."),
        ("auto", 3, 2, "2 GPUs"),
        ("cuda", 2, 0, "0 GPUs\\."),
        ("mps", 2, 0, "1 GPU\\."),
    ],
)
def test_more_processes_than_gpus(monkeypatch, device, count, gpus, have):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(BadOption, match=rf"--devices {count} asks for a GPU for each .* {have}"):
        check_devices(device, count)


def test_enough_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices("cuda", 2)
    check_devices("cpu", 8)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    check_devices("auto", 8)


@pytest.mark.slow
def test_a_run_on_two_devices_from_the_command_line(tmp_path):
    dataset = small_manifest.write(tmp_path / "data")
    command = [sys.executable, "-c", "from fusionzoo.cli import main; main()", "run"]
    command += ["--spec", "table=mlp -> linear", "--dataset", str(dataset), "--device", "cpu"]
    command += ["--set", "fuse_epochs=2", "--out", str(tmp_path / "runs"), "--devices", "2"]
    environment = {k: v for k, v in os.environ.items() if k not in ("WORLD_SIZE", "RANK")}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("relapse on test") == 1
    assert done.stderr == ""
    (record,) = (tmp_path / "runs").glob("*/record.json")
    assert json.loads(record.read_text())["training"]["settings"]["processes"] == 2
