"""Reads the folder of Derm7pt's release, as it is unpacked: a table, three lists and images.

Below `release_v0` there are `meta/meta.csv` with one row a case; `meta/train_indexes.csv`,
`valid_indexes.csv` and `test_indexes.csv`, whose column `indexes` has rows of `meta.csv`, counted
from 0; and `images/NEL/NEL025.JPG` and so on, a folder per source, in upper and lower case.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from fusionzoo.data.cells import categorical, numeric
from fusionzoo.data.derm7pt_labels import SCORE, TASKS, VOCABULARY, class_of, labels_of
from fusionzoo.data.image_files import ImageFiles
from fusionzoo.data.problems import Problems
from fusionzoo.data.rows import Rows, read_rows
from fusionzoo.errors import nearest

#: Part of a split and the list that names its rows.
LISTS = {"train": "train_indexes.csv", "val": "valid_indexes.csv", "test": "test_indexes.csv"}
IMAGES = ("clinic", "derm")
#: Cases of the release, and of its parts.
RELEASED = {"all": 1011, "train": 413, "val": 203, "test": 395}


@dataclass(frozen=True)
class Release:
    """What the folder holds.

    Args:
        numbers: `case_num` of each case.
        lines: Line of each case in `meta.csv`.
        targets: Class codes by task.
        parts: 'train', 'val' or 'test' of each case.
        files: The two images of each case.
        table: The columns of metadata that were asked for.
    """

    numbers: tuple[str, ...]
    lines: tuple[int, ...]
    targets: dict[str, np.ndarray]
    parts: np.ndarray
    files: dict[str, list[Path]]
    table: pd.DataFrame


def read_release(
    root: Path, columns: tuple[str, ...], problems: Problems, warnings: Problems
) -> Release | None:
    """Read the folder; None, with every problem noted, where it can't be used.

    Args:
        root: `release_v0`, or the folder that holds it.
        columns: Columns of metadata to read.
        problems: Where problems are noted.
        warnings: Where it is noted what looks odd.
    """
    if (root / "release_v0" / "meta").is_dir():
        root = root / "release_v0"
    meta = root / "meta" / "meta.csv"
    if not meta.is_file():
        problems.add(
            "E01",
            f"there is no meta/meta.csv below {root}",
            "Give the folder release_v0 as it was unpacked.",
        )
        return None
    rows = read_rows(meta, problems)
    if rows is None:
        return None
    wanted = ("case_num", *TASKS, *IMAGES, *columns)
    lacking = [name for name in wanted if not rows.has(name, problems, "one of the release's")]
    if lacking:
        return None
    numbers = _numbers(rows, problems)
    targets = {task: _codes(task, rows, problems) for task in TASKS}
    parts = _parts(root / "meta", len(rows), problems)
    folder = _Images(root / "images")
    files = {name: folder.find(name, rows, problems, warnings) for name in IMAGES}
    table = pd.DataFrame({name: _metadata(name, rows, problems) for name in columns})
    if problems.found:
        return None
    _look(rows, parts, warnings)
    return Release(
        numbers,
        rows.lines,
        targets,
        parts,
        {name: [path for path in found if path is not None] for name, found in files.items()},
        table,
    )


def _numbers(rows: Rows, problems: Problems) -> tuple[str, ...]:
    """The numbers of the cases, each once."""
    cells = rows.cells["case_num"]
    seen: dict[str, int] = {}
    for cell, line in zip(cells, rows.lines, strict=True):
        if not cell or cell in seen:
            text = f"also in row {seen[cell]}" if cell else "the case has no number"
            remedy = "Copy meta.csv from the release again."
            problems.add("E03", text, remedy, row=line, column="case_num", value=cell)
        seen.setdefault(cell, line)
    return tuple(cells)


def _codes(task: str, rows: Rows, problems: Problems) -> np.ndarray:
    codes = np.full(len(rows), -1, dtype=np.int64)
    for i, (cell, line) in enumerate(zip(rows.cells[task], rows.lines, strict=True)):
        code = class_of(task, cell)
        if code is None:
            problems.add(
                "E10",
                "not a label of the release",
                f"{nearest(cell, labels_of(task))}It has: {', '.join(labels_of(task))}.",
                row=line,
                column=task,
                value=cell,
            )
        else:
            codes[i] = code
    return codes


def _metadata(name: str, rows: Rows, problems: Problems) -> np.ndarray:
    if name == SCORE:
        return numeric(rows, name, "median", problems)
    return categorical(rows, name, VOCABULARY[name], "median", problems)


def _parts(meta: Path, count: int, problems: Problems) -> np.ndarray:
    """The part of each row, from the three lists of row numbers."""
    places: dict[int, list[str]] = defaultdict(list)
    for part, name in LISTS.items():
        rows = read_rows(meta / name, problems)
        if rows is None or not rows.has("indexes", problems, f"where {name} has row numbers"):
            continue
        for cell, line in zip(rows.cells["indexes"], rows.lines, strict=True):
            if cell.isascii() and cell.isdecimal() and int(cell) < count:
                places[int(cell)].append(part)
                continue
            problems.add(
                "E11",
                f"{name} names no row of meta.csv, whose {count} rows are 0 to {count - 1}",
                "Copy both files from the same release.",
                row=line,
                column="indexes",
                value=cell,
            )
    for row in range(count):
        if len(places[row]) != 1:
            lists = " and in ".join(LISTS[part] for part in places[row])
            text = f"row {row} of meta.csv, counted from 0, is in {lists or 'none of the lists'}"
            problems.add("E11", text, f"Each row is in one of {', '.join(LISTS.values())}.")
    return np.array([places[row][0] if places[row] else "" for row in range(count)])


class _Images:
    """The files below `images`, by name, and by name without regard to case."""

    def __init__(self, root: Path):
        self.root = root

    @cached_property
    def plain(self) -> dict[str, list[Path]]:
        """Files by their path in lower case."""
        found: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(self.root.rglob("*")):
            if path.is_file():
                found[path.relative_to(self.root).as_posix().casefold()].append(path)
        return found

    def find(
        self, column: str, rows: Rows, problems: Problems, warnings: Problems
    ) -> list[Path | None]:
        """The file that each row names, written as there or in another case where that is clear."""
        found = []
        for cell, line in zip(rows.cells[column], rows.lines, strict=True):
            candidates = self.plain.get(cell.replace("\\", "/").casefold(), [])
            exact = [path for path in candidates if path == self.root / cell]
            chosen = (exact or candidates)[:1] if exact or len(candidates) == 1 else []
            if not chosen:
                text, remedy = self._missing(cell, candidates)
                problems.add("E04", text, remedy, row=line, column=column, value=cell)
            elif chosen[0].stat().st_size == 0:
                problems.add(
                    "E05",
                    "the file is empty",
                    "Copy it again.",
                    row=line,
                    column=column,
                    value=cell,
                )
            elif not exact:
                written = chosen[0].relative_to(self.root).as_posix()
                warnings.add(
                    "W20",
                    f"the file is written {written!r} on disk and was read",
                    "Was the release copied by way of a disk that ignores case?",
                    row=line,
                    column=column,
                    value=cell,
                )
            found.append(chosen[0] if chosen else None)
        return found

    def _missing(self, cell: str, candidates: list[Path]) -> tuple[str, str]:
        if not self.root.is_dir():
            return f"there is no folder {self.root}", "Unpack the images beside the tables."
        if candidates:
            names = ", ".join(repr(path.name) for path in candidates)
            return f"only {names} are there, which differ in case alone", "Keep one of them."
        if not cell:
            return "the cell is empty", "Copy meta.csv from the release again."
        return f"there is no such file below {self.root}", "Unpack the images again."


def _look(rows: Rows, parts: np.ndarray, warnings: Problems) -> None:
    """What differs from the release, and who may be one patient in two parts."""
    counts = {"all": len(rows)} | {part: int((parts == part).sum()) for part in LISTS}
    if counts != RELEASED:
        told = ", ".join(f"{counts[name]} {name} (released: {RELEASED[name]})" for name in counts)
        warnings.add("W21", f"this is not the whole release: {told}", "Compare with care.")
    owners: dict[str, set[str]] = defaultdict(set)
    for cell, part in zip(rows.cells.get("case_id", []), parts.tolist(), strict=False):
        if cell:
            owners[cell].add(part)
    shared = sorted(cell for cell, found in owners.items() if len(found) > 1)
    if shared:
        warnings.add(
            "W11",
            f"{len(shared)} values of case_id are in two parts, such as {shared[0]!r}",
            "The release splits them so; they may be one patient.",
            column="case_id",
        )


def note_copies(files: ImageFiles, parts: np.ndarray, warnings: Problems) -> None:
    """W14 for images of the same content in two parts of the split."""
    owners: dict[str, list[int]] = defaultdict(list)
    for row, found in enumerate(files.hashes):
        owners[str(found)].append(row)
    for rows in owners.values():
        if len(set(parts[rows].tolist())) > 1:
            cases = ", ".join(f"{files.ids[row]} ({parts[row]})" for row in rows)
            warnings.add(
                "W14",
                f"cases {cases} have the same file content",
                "The release has it so, or a file was copied over another.",
                column=files.role.column,
            )


__all__ = ["IMAGES", "LISTS", "RELEASED", "Release", "note_copies", "read_release"]
