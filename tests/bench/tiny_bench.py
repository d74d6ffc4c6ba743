"""A bench of tiny cells as a program of its own, and what a store holds after it."""

import os
import subprocess
import sys
from pathlib import Path

from fusionzoo.records.sheet import SHEETS
from fusionzoo.records.store import RunStore

#: Two rows of tables alone, a second of training each.
QUICK = """
title = "Tiny"
[training]
fuse_epochs = 3
batch_size = 8
[[rows]]
label = "MLP"
spec = "table=mlp -> linear"
[[rows]]
label = "KAN"
spec = "table=kan -> linear"
"""
#: Three rows with images, in stages, some of which share a branch.
LONGER = """
[training]
epochs = 12
fuse_epochs = 12
views = 1
batch_size = 8
[grid]
encoders = ["penet3d(depth=14, width=0.25)"]
fusions = ["concat", "late"]
[[rows]]
label = "joint"
spec = "ct=penet3d(depth=14, width=0.25), table=mlp -> film -> linear"
training = { recipe = "joint" }
"""


class TinyBench:
    """The command for a grid, and the stores that it fills.

    Args:
        folder: Where the grid and the stores are.
        grid: Text of the grid.
        dataset: Data set, as text.
        flags: More flags.
    """

    def __init__(self, folder: Path, grid: str, dataset: Path, *flags: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.dataset, self.flags = folder, dataset, flags
        (folder / "tiny.toml").write_text(grid, encoding="utf-8")

    def start(self, store: str, *flags: str) -> subprocess.Popen[str]:
        """Start it on a store."""
        code = "from fusionzoo.cli import main; main()"
        command = [sys.executable, "-c", code, "bench", "tiny.toml", "--device", "cpu"]
        command += ["--dataset", str(self.dataset), "--out", store, *self.flags, *flags]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def run(self, store: str, *flags: str) -> tuple[int, str]:
        """Run it to its end; gives exit status and output."""
        process = self.start(store, *flags)
        told, _ = process.communicate()
        return process.returncode, told

    def records(self, store: str) -> dict[str, str]:
        """Digest of the predictions of every complete run."""
        root = RunStore(self.folder / store)
        return {record.run_id: record.predictions_digest for record in root.iter_records()}

    def sheets(self, store: str) -> dict[str, bytes]:
        """Every sheet, byte by byte."""
        return {path.name: path.read_bytes() for path in (self.folder / store / SHEETS).iterdir()}

    def left_over(self, store: str) -> list[str]:
        """What a bench must not leave: leases, failures, checkpoints, unfinished files."""
        root = self.folder / store
        found = [path for path in root.rglob("*") if path.name.startswith(".tmp-")]
        found += [*root.glob("leases/*"), *root.glob("failures/*"), *root.glob("*/*.ckpt")]
        return sorted(str(path.relative_to(root)) for path in found)

    def tries(self, store: str) -> dict[str, int]:
        """How often each run was begun, as its log says."""
        logs = (self.folder / store / "logs").glob("*.log")
        return {path.stem: path.read_text().count("--- process") for path in logs}


def children(pid: int) -> list[int]:
    """Processes that a process has started and that run."""
    told = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return [int(child) for child in told.read_text().split()]
    except OSError:
        return []


def is_running(pid: int) -> bool:
    """Whether a process is there and not a zombie, which waits to be asked after."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return told.rpartition(")")[2].split()[0] != "Z"
