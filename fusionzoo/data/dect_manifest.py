"""Reads the manifest of a DECT-LNM folder: one row a case, six crops each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusionzoo.data.cells import match
from fusionzoo.data.paths import Folder
from fusionzoo.data.problems import Problems
from fusionzoo.data.rows import Rows, read_rows

#: The images, and the columns of their three crops: at 100 and at 150 keV.
COLUMNS = {energy: tuple(f"img_{energy}_{k}" for k in range(3)) for energy in ("low", "high")}
LABELS = ("0", "1")


@dataclass(frozen=True)
class DectCases:
    """The rows of a manifest.

    Args:
        ids: Name of each case.
        lines: Its line.
        groups: Its patient.
        labels: 1 with metastasis, 0 without.
        folds: Its fold; None where the manifest has none.
        files: By column, the crop of each case.
    """

    ids: tuple[str, ...]
    lines: tuple[int, ...]
    groups: tuple[str, ...]
    labels: np.ndarray
    folds: np.ndarray | None
    files: dict[str, list[Path | None]]


def read_dect(manifest: Path, problems: Problems) -> DectCases | None:
    """The cases of a manifest; None, with every problem noted, where it can't be used."""
    rows = read_rows(manifest, problems)
    if rows is None:
        return None
    wanted = {"case_id": "each case's name", "label": "0 or 1"}
    wanted |= {c: f"a crop at {e} energy" for e, columns in COLUMNS.items() for c in columns}
    lacking = [name for name, why in wanted.items() if not rows.has(name, problems, why)]
    if lacking:
        return None
    ids = _unique(rows, problems)
    groups = rows.cells.get("group", [""] * len(rows))
    groups = [group or case for group, case in zip(groups, ids, strict=True)]
    labels, folder = _labels(rows, problems), Folder(manifest.parent)
    files = {c: _files(c, rows, folder, problems) for own in COLUMNS.values() for c in own}
    folds = _folds(rows, groups, problems)
    if problems.found:
        return None
    return DectCases(tuple(ids), rows.lines, tuple(groups), labels, folds, files)


def _files(column: str, rows: Rows, folder: Folder, problems: Problems) -> list[Path | None]:
    found: list[Path | None] = []
    for cell, line in zip(rows.cells[column], rows.lines, strict=True):
        if not cell:
            problems.add(
                "E04", "the cell is empty", "A case has six crops.", row=line, column=column
            )
        found.append(folder.find(cell, column, line, problems) if cell else None)
    return found


def _unique(rows: Rows, problems: Problems) -> list[str]:
    cells = rows.cells["case_id"]
    for place, (cell, line) in enumerate(zip(cells, rows.lines, strict=True)):
        if not cell or cell in cells[:place]:
            text = "a row above has this id too" if cell else "the case has no id"
            remedy = "Give every case an id of its own."
            problems.add("E03", text, remedy, row=line, column="case_id", value=cell)
    return cells


def _labels(rows: Rows, problems: Problems) -> np.ndarray:
    codes = np.full(len(rows), -1, dtype=np.int64)
    for place, (cell, line) in enumerate(zip(rows.cells["label"], rows.lines, strict=True)):
        found = match(cell, LABELS)
        if found is None:
            remedy = "Write 1 with metastasis and 0 without."
            problems.add("E10", "no label", remedy, row=line, column="label", value=cell)
        else:
            codes[place] = LABELS.index(found)
    for code, label in enumerate(LABELS):
        if not (codes == code).any() and (codes >= 0).all():
            problems.add("E10", f"no row has the label {label}", "Both are needed.", column="label")
    return codes


def _folds(rows: Rows, groups: list[str], problems: Problems) -> np.ndarray | None:
    if "fold" not in rows.cells:
        return None
    folds = np.full(len(rows), -1, dtype=np.int64)
    for place, (cell, line) in enumerate(zip(rows.cells["fold"], rows.lines, strict=True)):
        if cell.isascii() and cell.isdecimal():
            folds[place] = int(cell)
        else:
            remedy = "Number the folds 0, 1, 2, ..., or leave the column out."
            problems.add("E11", "no fold", remedy, row=line, column="fold", value=cell)
    known = sorted(set(folds.tolist()) - {-1})
    if known != list(range(max(2, len(known)))):
        told = ", ".join(map(str, known)) or "none"
        problems.add("E11", f"the folds are {told}", "Number two or more from 0.", column="fold")
    members: dict[str, set[int]] = defaultdict(set)
    for group, fold in zip(groups, folds.tolist(), strict=True):
        members[group].add(fold)
    for group, own in members.items():
        if len(own) > 1:
            text = f"group {group!r} is in folds {', '.join(map(str, sorted(own)))}"
            problems.add("E12", text, "Put all of its cases in one.", column="fold")
    return folds


__all__ = ["COLUMNS", "DectCases", "read_dect"]
