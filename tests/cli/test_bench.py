"""`fusionzoo bench` at the command line; what it runs is tested in tests/bench."""

import json

import pytest

from fusionzoo.cli import bench as command
from fusionzoo.errors import BadOption
from fusionzoo.records.sheet import read_sheets
from fusionzoo.storage import write_error

GRID = """
[training]
fuse_epochs = 1
batch_size = 8
[[rows]]
label = "MLP"
spec = "table=mlp -> linear"
[[rows]]
label = "alone"
spec = "table=mlp -> msca -> linear"
"""


@pytest.fixture
def grid(tmp_path, monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(GRID, encoding="utf-8")
    return path


@pytest.fixture
def bench(call, grid, small_data):
    def run(*flags):
        return call("bench", grid, "--dataset", small_data, "--device", "cpu", *flags)

    return run


def test_a_dry_run_lists_cells_with_their_cost_and_writes_nothing(bench, tmp_path):
    code, out, err = bench("--folds", "2", "--seeds", "2", "--dry-run", "--jobs", "2")
    assert (code, err) == (0, "")
    first, refused, *cells, last = out.splitlines()
    assert first == "tiny on small: 1 row, 2 folds, 2 seeds: 4 cells"
    assert refused.startswith("  refused alone: Fusion 'msca' joins at least 2 modalities")
    assert len(cells) == 4
    assert cells[0] == (
        "  MLP, fold 0, seed 0  about 1 s (FLOPs, at the rate of a convolution here)"
    )
    assert last == "4 to do; about 1 s of training, 1 s with 2 at once"
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_done_is_not_run_again(call, grid, small_data, tmp_path):
    """A single run with the bench's settings is a cell of it."""
    done = call(
        *("run", "--spec", "table=mlp -> linear", "--dataset", small_data, "--device", "cpu"),
        *("--set", "fuse_epochs=1", "--batch-size", "8"),
    )
    assert done[0] == 0
    code, out, _ = call("bench", grid, "--dataset", small_data, "--device", "cpu", "--dry-run")
    assert code == 0
    assert "MLP, seed 0  done" in out
    assert "0 to do" in out
    code, out, _ = call("bench", grid, "--dataset", small_data, "--device", "cpu")
    assert code == 0
    assert "Every cell is done already." in out
    (sheet,) = read_sheets(tmp_path / "runs")
    assert [row.label for row in sheet.rows] == ["MLP", "alone"]
    code, out, _ = call("bench", grid, "--dataset", small_data, "--dry-run", "--folds", "2")
    assert "about 1 s (1 run of the same spec)" in out


def test_a_failed_cell_is_told_and_gives_1(bench, tmp_path):
    """A run that another program has left a damaged checkpoint for."""
    _, out, _ = bench("--dry-run")
    assert "MLP, seed 0  about" in out
    code, out, err = bench("--set", "lr=0.5", "--timeout", "0.01s", "--retries", "0", "--cold")
    assert (code, err) == (1, "")
    assert "[1/1] MLP, seed 0: failed (timeout). It took more than 0.01 s (--timeout)." in out
    assert "0 done now, 1 failed" in out
    assert "  failed: MLP, seed 0: timeout. It took more than 0.01 s (--timeout). See runs" in out
    (failure,) = (tmp_path / "runs" / "failures").iterdir()
    assert json.loads(failure.read_text())["kind"] == "timeout"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ("--rows", "M?", "--rows", "DAFT"),
            "No row is called 'M?', 'DAFT'. The rows: MLP, alone.",
        ),
        (("--set", "epoks=1"), "Training has no setting 'epoks'. Closest: epochs"),
        (("--set", "epochs"), "--set takes name=value, for instance --set patience=5; given 'ep"),
        (("--timeout", "soon"), "--timeout takes an amount such as 90s, 30m or 2h, not 'soon'."),
        (("--memory", "4 stones"), "--memory takes an amount such as 500MiB or 4GiB, not '4 st"),
        (("--size", "none.toml"), "The size 'none.toml' can't be read: No such file"),
        (("--device", "cuda"), "No CUDA device is usable here."),
        (("--precision", "fp16"), "There is nothing to run: every row is refused"),
        (("--address", "auto"), "--address says where a cluster is; add --engine ray or"),
        (("--slurm", "partition=gpu"), "--slurm says what Slurm is asked for; add --engine slurm."),
        (("--engine", "slurm", "--slurm", "gpu"), "--slurm takes name=value, partition=gpu say"),
        (("--engine", "kubernetes"), "'kubernetes' is not one of 'local', 'ray', 'slurm'"),
        (("--folds", "-1"), "-1 is not in the range x>=0"),
    ],
)
def test_mistakes_are_told_without_a_traceback(bench, tmp_path, monkeypatch, flags, words):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, out, err = bench(*flags)
    assert code == 2
    assert words in err
    assert "Traceback" not in out + err


def test_an_unknown_table(call, grid):
    code, _, err = call("bench", "mmcaf_net/table9")
    assert code == 2
    assert "No recipe is called 'mmcaf_net/table9'. Closest: mmcaf_net/table" in err


def test_a_store_that_cannot_be_written_is_told_before_anything_runs(bench, tmp_path):
    (tmp_path / "runs").write_text("a file")
    code, out, err = bench()
    assert code == 2
    assert "Can't write runs (File exists)" in err or "is a file, not a folder" in err
    assert "[1/1]" not in out


@pytest.mark.parametrize("number", [28, 30])  # no space left, read-only file system
def test_a_store_that_fills_up_is_told_once_and_nothing_is_lost(
    bench, tmp_path, monkeypatch, number
):
    import os

    from fusionzoo.bench.engines import local

    class Full:
        def __init__(self, job, planned):
            cause = OSError(number, os.strerror(number))
            raise write_error(tmp_path / "runs" / "logs" / "x.log", cause) from cause

    monkeypatch.setattr(local, "CellProcess", Full)
    code, out, err = bench("--folds", "3")
    assert code == 2
    assert err.count("Can't write") == 1
    assert "0 of 3 cells are done and kept" in err
    assert "Go on with the same command." in err
    assert "failed" not in out


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5h", 5400), ("30 m", 1800), ("2d", 172800)]
)
def test_times(text, seconds):
    assert command._seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "mib"), [("512MiB", 512), ("4GiB", 4096), ("4GB", 4e9 / 2**20), ("100MB", 1e8 / 2**20)]
)
def test_sizes(text, mib):
    assert command._mib(text) == pytest.approx(mib)


@pytest.mark.parametrize("text", ["", "0s", "-3s", "4TiBs", "1e3s"])
def test_amounts_that_cannot_be(text):
    with pytest.raises(BadOption, match="--timeout takes an amount"):
        command._seconds(text)
