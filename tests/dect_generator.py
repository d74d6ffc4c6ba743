"""Writes a small DECT-LNM folder: a manifest with six crops a case, as png, 16-bit png or npy."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

COLUMNS = tuple(f"img_{energy}_{k}" for energy in ("low", "high") for k in range(3))


def write_cases(
    root: Path, *, num_cases: int = 20, folds: int | None = 5, form: str = "png", seed: int = 0
) -> Path:
    """Write `root/manifest.csv` and crops below `root/crops`, and give the manifest's path.

    Two cases of one patient follow each other. Positive crops are brighter at low energy.

    Args:
        root: Folder to write into.
        num_cases: Cases; every second one is positive.
        folds: Number of folds by patient; None leaves the column out.
        form: `png`, `png16` or `npy`, which holds HU.
        seed: Of the pixels.
    """
    rng = np.random.default_rng(seed)
    (root / "crops").mkdir(parents=True)
    rows = []
    for case in range(num_cases):
        row = {"case_id": f"n{case:03d}", "group": f"p{case // 2}", "label": str(case % 2)}
        if folds is not None:
            row["fold"] = str(case // 2 % folds)
        for column in COLUMNS:
            bright = 40 * (case % 2) * ("low" in column)
            values = rng.normal(90 + bright, 20, (int(rng.integers(20, 30)), 24)).clip(0, 255)
            row[column] = f"crops/n{case:03d}_{column}.{form[:3]}"
            _write(root / row[column], values, form)
        rows.append(row)
    write_rows(root / "manifest.csv", rows)
    return root / "manifest.csv"


def write_rows(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, tuple(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(path: Path, values: np.ndarray, form: str) -> None:
    if form == "npy":
        np.save(path, (values * 4 - 400).astype(np.float32))
    elif form == "png16":
        Image.fromarray((values * 257).astype(np.uint16)).save(path)
    else:
        Image.fromarray(values.astype(np.uint8)).save(path)
