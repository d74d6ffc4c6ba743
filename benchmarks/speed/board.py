"""Time of a board of many records: the first time, again, and opening its page in a browser.

Run: OMP_NUM_THREADS=1 python benchmarks/speed/board.py [--records 10000] [--rows 400]

The records are copies of the committed ones of `boards/lidc` (five folds, 40 kB each) under other
specs and seeds, with predictions that are shifted a little, so that rows differ. The first board
reads every record and every prediction and draws patients; its results are kept in the store. The
second one, in a process of its own, is what a board costs from then on. Needs about 1 GB of disk.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fusionzoo.evaluation.predictions import Predictions, write_predictions
from fusionzoo.records.store import PREDICTIONS, RECORD, RunStore

COMMITTED = Path(__file__).parents[1] / "boards" / "lidc"
#: Different predictions per fold; rows and seeds share them out.
VARIANTS = 40
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def shifted(predictions: Predictions, seed: int) -> Predictions:
    """The same cases with noise on every logit; the first variants have the most."""
    rng = np.random.default_rng(seed)
    frame = predictions.frame.copy()
    probs = frame["p1"].clip(1e-6, 1 - 1e-6)
    noise = rng.normal(size=len(frame)) * (2.0 - 1.9 * seed / VARIANTS)
    frame["p1"] = 1 / (1 + np.exp(-(np.log(probs / (1 - probs)) + noise)))
    return Predictions(frame.assign(p0=1 - frame["p1"]), predictions.tasks)


def make_store(root: Path, records: int, rows: int) -> None:
    """A store of so many records, five folds a row."""
    store = RunStore(COMMITTED)
    folds = []
    for record in store.iter_records():
        predictions = store.read_predictions(record.run_id)
        files = []
        for variant in range(VARIANTS):
            path = root / "variants" / f"{record.split.fold}-{variant}.parquet"
            files.append((path, write_predictions(path, shifted(predictions, variant))))
        folds.append((json.loads(record.dumps()), files))
    seeds = records // (rows * len(folds))
    for row in range(rows):
        spec = f"ct=penet3d(depth=14, width=0.25), table=mlp(channels={row + 8}) -> msca -> linear"
        for told, files in folds:
            for seed in range(seeds):
                run_id = f"row{row:04d}-fold{told['split']['fold']}-seed{seed}"
                path, digest = files[
                    (row * 7 + seed) % VARIANTS if row % 9 else row // 9 % VARIANTS
                ]
                own = {"run_id": run_id, "spec": spec, "seed": seed, "predictions_digest": digest}
                (root / run_id).mkdir()
                (root / run_id / RECORD).write_text(json.dumps({**told, **own}), encoding="utf-8")
                os.link(path, root / run_id / PREDICTIONS)


def board(root: Path, out: Path) -> str:
    """Seconds of the command with process start, by the clock and of the processor."""
    began, used = time.perf_counter(), cpu_seconds()
    code = "import sys; from fusionzoo.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "leaderboard", str(root), "--out", str(out)]
    subprocess.run(command, check=True)
    return f"{time.perf_counter() - began:.1f} s, {cpu_seconds() - used:.1f} s of processor time"


def cpu_seconds() -> float:
    """Processor time of finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def opened(page: Path) -> str:
    """Seconds until the page has been drawn, and until it is sorted by another column."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        return "not measured: it needs a browser and the extra 'browser'"
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page()
        began = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("tbody [tabindex='0']")
        tab.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        drawn = time.perf_counter() - began
        began = time.perf_counter()
        tab.click("th[data-key='cost/parameters'] button")
        tab.wait_for_selector("th[data-key='cost/parameters'][aria-sort]")
        told = f"{drawn:.2f} s, sorting {time.perf_counter() - began:.2f} s"
        browser.close()
    return told


def main() -> None:
    """Make the store, make the board twice, open it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=400)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, page = Path(folder) / "store", Path(folder) / "board.html"
        began = time.perf_counter()
        make_store(root, asked.records, asked.rows)
        count = sum(1 for _ in root.glob(f"*/{RECORD}"))
        print(f"{count} records, {asked.rows} rows, made in {time.perf_counter() - began:.0f} s")
        print(f"first board  {board(root, page)}", flush=True)
        print(f"again        {board(root, page)}; page {page.stat().st_size / 1e6:.1f} MB")
        print(f"in a browser {opened(page)}")


if __name__ == "__main__":
    main()
