"""Writes a small Derm7pt release in its real layout: tables, lists of rows, JPEGs in mixed case."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from fusionzoo.data.derm7pt_labels import SCORE, TASKS, VOCABULARY

#: The columns of `meta.csv`, in its order.
COLUMNS = (
    "case_num",
    "diagnosis",
    SCORE,
    "pigment_network",
    "streaks",
    "pigmentation",
    "regression_structures",
    "dots_and_globules",
    "blue_whitish_veil",
    "vascular_structures",
    "level_of_diagnostic_difficulty",
    "elevation",
    "location",
    "sex",
    "management",
    "clinic",
    "derm",
    "case_id",
    "notes",
)
LISTS = {"train": "train_indexes.csv", "val": "valid_indexes.csv", "test": "test_indexes.csv"}


def write_release(root: Path, *, num_cases: int = 45, seed: int = 0) -> Path:
    """Write `root/release_v0` and give `root`; every label of every task occurs in every part.

    Images are JPEGs of several sizes whose colour and brightness depend on diagnosis and veil.
    Folders and names are in mixed case, as in the release; rows of the lists are shuffled.
    """
    rng = np.random.default_rng(seed)
    release = root / "release_v0"
    (release / "meta").mkdir(parents=True)
    rows = [_row(number, rng) for number in range(num_cases)]
    for row in rows:
        for column in ("clinic", "derm"):
            path = release / "images" / row[column]
            path.parent.mkdir(parents=True, exist_ok=True)
            _picture(rng, row, column).save(path, format="JPEG", quality=95)
    write_table(release / "meta" / "meta.csv", COLUMNS, rows)
    thirds = np.array_split(rng.permutation(num_cases), 3)
    for name, places in zip(LISTS.values(), thirds, strict=True):
        write_table(release / "meta" / name, ("indexes",), [{"indexes": k} for k in places])
    return root


def write_table(path: Path, columns: tuple[str, ...], rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def edit(path: Path, **changes) -> None:
    """Set cells of a table: `edit(meta, diagnosis={3: 'nevus'})`."""
    rows = read_table(path)
    for column, cells in changes.items():
        for place, value in cells.items():
            rows[place][column] = value
    write_table(path, tuple(rows[0]), rows)


def _row(number: int, rng: np.random.Generator) -> dict:
    labels = {}
    for task, classes in TASKS.items():
        names = [label for own in classes.values() for label in own]
        labels[task] = names[(number + int(rng.integers(2))) % len(names)]
    folder = ("NEL", "Fhl", "gal")[number % 3]
    # As in the release: the two names of a case differ in more than their number.
    files = {
        "clinic": f"{folder}/{folder.upper()}{2 * number:03d}.JPG",
        "derm": f"{folder}/{folder.capitalize()}{2 * number + 1:03d}.jpg",
    }
    metadata = {name: str(rng.choice(values)) for name, values in VOCABULARY.items()}
    return {
        **dict.fromkeys(COLUMNS, ""),
        **metadata,
        **labels,
        **files,
        "case_num": number + 1,
        SCORE: int(rng.integers(0, 8)),
    }


def _picture(rng: np.random.Generator, row: dict, column: str) -> Image.Image:
    height, width = int(rng.integers(60, 90)), int(rng.integers(70, 110))
    tint = np.array([180, 120, 90]) + (40 if row["blue_whitish_veil"] == "present" else 0)
    values = rng.normal(tint if column == "derm" else tint[::-1], 20, (height, width, 3))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))
