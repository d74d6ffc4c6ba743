"""A sheet says which runs of a store are which rows of a table: what a board is made from.

`fusionzoo bench` writes it before the first run is trained, as `sheets/<slug>.json` of the store.
It names runs by their ids alone; a run without a record is not done yet, or failed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionzoo.errors import RunError, nearest
from fusionzoo.schema import added, canonical, dumps, from_json
from fusionzoo.storage import write_atomic

#: Version of the keys below; raised by every change of them.
SCHEMA = 1
#: Folder of a store that sheets are in.
SHEETS = "sheets"


@dataclass(frozen=True)
class PublishedTest:
    """The published test set of a two-class table.

    Args:
        positives: Positive cases.
        negatives: Negative cases.
        positive: What the positive class is.
    """

    positives: int
    negatives: int
    positive: str


@dataclass(frozen=True)
class SheetCell:
    """One run of a row.

    Args:
        run_id: Name of the run's folder.
        fold: Fold that it is tested on; None for the data set's one split.
        seed: Its seed.
    """

    run_id: str
    fold: int | None
    seed: int


@dataclass(frozen=True)
class SheetRow:
    """One row of a table.

    Args:
        label: What the table calls it.
        spec: Canonical spec string with all suggestions written out, as in the records of its runs;
            where it is refused, as it was given.
        basis: What rebuilding it rests on: `released`, `paper`, `reconstruction`, or empty for rows
            that no paper has.
        category: Group of rows that it belongs to; empty for none.
        published: Printed numbers by metric, on the scale from 0 to 1.
        published_sd: Printed standard deviations, for the metrics that have one.
        note: What is in doubt, or was left open.
        settings: Training settings of this row over the sheet's.
        cells: Its runs, by fold, then by seed; none where it is refused.
        refusal: Why its parts don't go together or don't fit the data; empty where they do.
    """

    label: str
    spec: str
    basis: str
    category: str
    published: dict[str, float]
    published_sd: dict[str, float]
    note: str
    settings: dict[str, Any]
    cells: tuple[SheetCell, ...]
    refusal: str = ""


@dataclass(frozen=True)
class Sheet:
    """Which runs of a store are which rows of a table.

    Args:
        schema: Version of these keys, `SCHEMA`.
        name: Name of the recipe, `paper/table`, or of the grid.
        title: What it is, in a line.
        paper: The publication; empty for a grid of one's own.
        place: Where in it the numbers are.
        published_dataset: Data set that the published numbers were measured on; empty for none.
        dataset: How to open the data set of the runs, as text.
        dataset_name: Its name, as in the records.
        num_folds: Number of folds; 0 for the data set's one split.
        seeds: Seeds of every row and fold.
        protocol: Version of how the runs are trained and scored.
        precision: Precision of the runs.
        size: Name of the size that the runs have; empty for full size.
        options: Options of components that the size sets, by component name.
        settings: Training settings of every row, over the data set's.
        decimals: Digits after the point that are printed.
        test: The published test set, where its class counts are known.
        note: What holds for all rows.
        rows: The rows, in order.
        threshold_rule: How thresholds are chosen.
        binary: How two-class tasks enter the mean over tasks.
    """

    schema: int
    name: str
    title: str
    paper: str
    place: str
    published_dataset: str
    dataset: str
    dataset_name: str
    num_folds: int
    seeds: tuple[int, ...]
    protocol: str
    precision: str
    size: str
    options: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    decimals: int
    test: PublishedTest | None
    note: str
    rows: tuple[SheetRow, ...]
    threshold_rule: str = added("youden")
    binary: str = added("auto")

    @property
    def slug(self) -> str:
        """Name of its file: recipe and data set, and a hash of what else tells sheets apart.

        More seeds, or changed rows, belong to the same sheet; other folds, sizes, settings,
        precision or scoring make another one.
        """
        apart: dict[str, Any] = {
            "name": self.name,
            "dataset": self.dataset,
            "num_folds": self.num_folds,
            "protocol": self.protocol,
            "precision": self.precision,
            "options": self.options,
            "settings": self.settings,
        }
        if (self.threshold_rule, self.binary) != ("youden", "auto"):
            apart |= {"threshold_rule": self.threshold_rule, "binary": self.binary}
        words = re.sub(r"[^a-z0-9_]+", "-", f"{self.name} {self.dataset_name}".lower()).strip("-")
        return f"{words[:64]}-{hashlib.sha256(canonical(apart).encode()).hexdigest()[:8]}"

    @property
    def run_ids(self) -> tuple[str, ...]:
        """Ids of all its runs, row by row, each once."""
        return tuple(dict.fromkeys(cell.run_id for row in self.rows for cell in row.cells))


def write_sheet(store: str | os.PathLike[str], sheet: Sheet) -> Path:
    """Write a sheet into a store, over an earlier one of the same slug.

    Raises:
        RunError: It can't be written.
    """
    return write_atomic(Path(store) / SHEETS / f"{sheet.slug}.json", dumps(sheet) + "\n")


def sheet_slugs(store: str | os.PathLike[str]) -> list[str]:
    """Slugs of a store's sheets, sorted."""
    return sorted(path.stem for path in (Path(store) / SHEETS).glob("[!.]*.json"))


def load_sheet(path: str | os.PathLike[str]) -> Sheet:
    """Read and check a sheet's file.

    Raises:
        RunError: The file is absent, damaged, of another schema, or a key is missing, unknown or of
            the wrong type.
    """
    remedy = "Run the same 'fusionzoo bench' command again: it writes the sheet anew."
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as cause:
        raise RunError(f"Can't read the sheet {path} ({cause.strerror}). {remedy}") from cause
    except ValueError as cause:
        raise RunError(f"The sheet {path} is not complete JSON ({cause}). {remedy}") from cause
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise RunError(
            f"The sheet {path} has schema {schema}; this fusionzoo reads schema {SCHEMA}. {remedy}"
        )
    return from_json(Sheet, data, str(path))


def read_sheet(store: str | os.PathLike[str], slug: str) -> Sheet:
    """A sheet of a store by its slug.

    Raises:
        RunError: There is none of that slug, or it can't be read.
    """
    known = sheet_slugs(store)
    if slug not in known:
        have = f"It has: {', '.join(known)}." if known else "It has none: run 'fusionzoo bench'."
        raise RunError(f"{store} has no sheet {slug!r}. {nearest(slug, known)}{have}")
    return load_sheet(Path(store) / SHEETS / f"{slug}.json")


def read_sheets(store: str | os.PathLike[str]) -> list[Sheet]:
    """All sheets of a store, in the order of their slugs.

    Raises:
        RunError: One of them can't be read.
    """
    return [read_sheet(store, slug) for slug in sheet_slugs(store)]


__all__ = [
    "SCHEMA",
    "SHEETS",
    "PublishedTest",
    "Sheet",
    "SheetCell",
    "SheetRow",
    "load_sheet",
    "read_sheet",
    "read_sheets",
    "sheet_slugs",
    "write_sheet",
]
