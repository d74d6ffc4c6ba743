"""What a cell of a bench takes beside its training: process, predictions, metrics, files.

Run: OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/speed/bench_overhead.py
Cells are tables alone on `lidc`, one epoch each, one after the other, on one thread. `warm` cells
are forks of the bench, `cold` ones are started by the cell command. Overhead is the wall time from
starting the process to its answer, without the seconds of training that the record says; CPU time
is that of the processes, training included.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time

from fusionzoo.bench.attempt import Outcome
from fusionzoo.bench.conduct import BenchObserver, conduct
from fusionzoo.bench.engines.local import LocalEngine, Resources
from fusionzoo.bench.expand import Ask, Bench, Cell, expand
from fusionzoo.bench.grid import Table, TableRow
from fusionzoo.records.environment import cpu_name, usable_cores
from fusionzoo.records.store import RunStore

ROW = TableRow("MLP", "table=mlp -> linear")
TABLE = Table(
    "overhead", "", "", "", "lidc", "", 3, None, {"fuse_epochs": 1, "batch_size": 256}, "", (ROW,)
)


class Taken(BenchObserver):
    """Keeps how long each cell took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def finished(self, cell: Cell, outcome: Outcome) -> None:
        """Keep it."""
        self.seconds[cell.run_id] = outcome.seconds


def overheads(bench: Bench, *, warm: bool) -> tuple[list[float], float]:
    """Seconds of each cell beside its training, and CPU seconds of a cell."""
    with tempfile.TemporaryDirectory() as store:
        engine = LocalEngine(store, Resources("cpu", jobs=1), warm=warm)
        if warm and engine.cold_because:
            raise SystemExit(f"Cells can't be forked: {engine.cold_because}. Run it as said above.")
        taken, before = Taken(), resource.getrusage(resource.RUSAGE_CHILDREN)
        summary = conduct(bench.cells, engine, store, observer=taken)
        assert len(summary.done) == len(bench.cells), summary.failed
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        records = {record.run_id: record for record in RunStore(store).iter_records()}
        found = [
            seconds - (records[run_id].cost.train_seconds or 0)
            for run_id, seconds in taken.seconds.items()
        ]
        return found, cpu / len(bench.cells)


def main() -> None:
    """Print a row each for warm and cold cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=6)
    asked = parser.parse_args()
    began = time.perf_counter()
    (bench,) = expand([TABLE], Ask(folds=2, seeds=max(1, asked.cells // 2)))
    print(f"{cpu_name()}, {usable_cores()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"planning {len(bench.cells)} cells: {time.perf_counter() - began:.2f} s\n")
    print(
        "| start | overhead, s (median) | least | most | CPU of a cell, s |\n|---|---|---|---|---|"
    )
    for name, warm in (("warm", True), ("cold", False)):
        found, cpu = overheads(bench, warm=warm)
        print(
            f"| {name} | {statistics.median(found):.2f} | {min(found):.2f} | {max(found):.2f} | "
            f"{cpu:.2f} |"
        )


if __name__ == "__main__":
    main()
