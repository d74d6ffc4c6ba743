"""Reads a manifest by its roles: cases, groups, targets, tables, split and the files of the images.

Everything that can be told from the manifest's text is checked here, and gathered before anything
is raised; the images themselves are read in `fusionzoo.data.images`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from fusionzoo.data import cells
from fusionzoo.data.dataset import TableColumns
from fusionzoo.data.dataset_yaml import read_roles
from fusionzoo.data.paths import Folder
from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import ImageRole, Roles, SplitRole
from fusionzoo.data.rows import SUFFIXES, Rows, read_rows

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Cases:
    """What a manifest holds, one entry a row in every field.

    Args:
        ids: Case ids.
        lines: Line of each case in the manifest.
        groups: Patient of each case.
        split: `train`, `val` or `test`; None where the manifest gives no such split.
        folds: Fold numbers; None where the manifest gives none.
        targets: Per target, class codes; -1 where the label is missing.
        tables: Per table, its columns; NaN or None where a cell is empty.
        files: Per image, its file; None where the case has none.
        spacings: Per image with a spacing column, the voxel sizes in mm.
    """

    ids: tuple[str, ...]
    lines: tuple[int, ...]
    groups: np.ndarray
    split: np.ndarray | None = None
    folds: np.ndarray | None = None
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    files: Mapping[str, tuple[Path | None, ...]] = field(default_factory=dict)
    spacings: Mapping[str, tuple[tuple[float, ...] | None, ...]] = field(default_factory=dict)

    @property
    def parts(self) -> np.ndarray | None:
        """The given split or folds, whichever there is."""
        return self.folds if self.split is None else self.split


def find_roles(
    path: Path, roles_path: Path | None, problems: Problems
) -> tuple[Path, Roles] | None:
    """The manifest and the roles that a path stands for; None, with E00 noted, where it is wrong.

    Args:
        path: A `dataset.yaml`, or a manifest with a `dataset.yaml` beside it.
        roles_path: The yaml, where it is not beside the manifest.
        problems: Where problems are noted.
    """
    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    if is_yaml and roles_path is not None:
        text = f"{path} is a yaml, and roles={roles_path} names another"
        problems.add("E00", text, "Keep one.")
        return None
    source = path if is_yaml else roles_path or path.parent / "dataset.yaml"
    if not source.is_file():
        text = f"there is no file {source}, which says what the columns are"
        remedy = f"Write it beside the manifest ({', '.join(SUFFIXES)}), as docs/own_data.md shows."
        problems.add("E00", text, f"{remedy} 'fusionzoo data init' writes a first one.")
        return None
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problems.add("E00", f"{source} is not UTF-8", "Save it as UTF-8.")
        return None
    roles = read_roles(text, source.name, problems)
    if roles is None:
        return None
    return (source.parent / roles.manifest if is_yaml else path), roles


def read_cases(
    manifest: Path, roles: Roles, root: Path, problems: Problems, *, predict: bool = False
) -> tuple[Cases, Rows] | None:
    """The cases of a manifest, with every problem noted; None where not even its rows can be read.

    Args:
        manifest: The CSV, TSV, JSONL or Parquet file.
        roles: What its columns are.
        root: Folder that paths are relative to and may not leave.
        problems: Where problems are noted; a cell with a problem counts as empty.
        predict: Read new cases: targets and split are not looked at, and the group may be absent.
    """
    rows = read_rows(manifest, problems)
    if rows is None:
        return None
    ids, groups = _ids(rows, roles, problems, predict)
    split, folds = (None, None) if predict else _parts(rows, roles.split, problems)
    targets = {
        role.name: cells.target(rows, role, problems)
        for role in roles.targets
        if not predict and rows.has(role.column, problems, f"the target {role.name!r}")
    }
    folder = Folder(root)
    found = Cases(
        ids=ids,
        lines=rows.lines,
        groups=groups,
        split=split,
        folds=folds,
        targets=targets,
        tables={
            name: _table(rows, name, columns, problems) for name, columns in roles.tables.items()
        },
        files={role.name: _files(rows, role, folder, problems) for role in roles.images},
        spacings={
            role.name: cells.spacing(rows, role.spacing_column, problems)
            for role in roles.images
            if role.spacing_column is not None
            and rows.has(role.spacing_column, problems, f"the spacing of image {role.name!r}")
        },
    )
    return found, rows


def _ids(
    rows: Rows, roles: Roles, problems: Problems, predict: bool
) -> tuple[tuple[str, ...], np.ndarray]:
    """Case ids, each once, and the group of each case."""
    blank = [""] * len(rows)
    ids = rows.cells[roles.id] if rows.has(roles.id, problems, "the case id") else blank
    first: dict[str, int] = {}
    for case, line in zip(ids, rows.lines, strict=True):
        if roles.id in rows.cells and not case:
            problems.add(
                "E03", "the case id is empty", "Give every row its own.", row=line, column=roles.id
            )
        elif case and case in first:
            text, remedy = f"row {first[case]} has this case id too", "Give every row its own."
            problems.add("E03", text, remedy, row=line, column=roles.id, value=case)
        first.setdefault(case, line)
    column = roles.group or ("group" if "group" in rows.cells else None)
    if predict and column not in rows.cells:
        column = None
    if column is None or not rows.has(column, problems, "the group of a case"):
        return tuple(ids), np.array(ids, dtype=object)
    for group, line in zip(rows.cells[column], rows.lines, strict=True):
        if not group:
            problems.add(
                "E03",
                "the group is empty",
                "Name the patient of the case.",
                row=line,
                column=column,
            )
    return tuple(ids), np.array(rows.cells[column], dtype=object)


def _parts(
    rows: Rows, role: SplitRole | None, problems: Problems
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The given split or the given folds; neither where a scheme, or nothing, is said."""
    if role is None:
        there = [name for name in ("split", "fold") if name in rows.cells]
        if len(there) == 2:
            remedy = "Say which one holds under split: in the dataset.yaml, as {column: fold}."
            problems.add("E11", "the manifest has both a split and a fold column", remedy)
            return None, None
        role = SplitRole(column=there[0], folds_only=there[0] == "fold") if there else None
    if role is None or role.column is None or not rows.has(role.column, problems, "the split"):
        return None, None
    column, words = role.column, [word.lower() for word in rows.cells[role.column]]
    in_words = any(word in PARTS for word in words) and not role.folds_only
    numbers = [cells.match(word, [str(n) for n in range(len(words) + 1)]) for word in words]
    remedy = (
        f"Write {', '.join(PARTS)}."
        if in_words
        else "Write fold numbers 0, 1, 2, ... on every row."
    )
    for word, number, line in zip(words, numbers, rows.lines, strict=True):
        if not (word in PARTS if in_words else number is not None):
            problems.add(
                "E11", "not a part of a split", remedy, row=line, column=column, value=word
            )
    if in_words:
        for part in ("train", "test"):
            if part not in words:
                problems.add(
                    "E11", f"no row is in {part}", f"Mark some rows {part}.", column=column
                )
        return np.array(words, dtype=object), None
    folds = np.array([-1 if number is None else int(number) for number in numbers], dtype=np.int64)
    _check_folds(folds, column, problems)
    return None, folds


def _check_folds(folds: np.ndarray, column: str, problems: Problems) -> None:
    there = sorted(set(folds.tolist()) - {-1})
    if len(there) == 1:
        problems.add(
            "E11", f"every row is in fold {there[0]}", "Give two folds or more.", column=column
        )
    gaps = sorted(set(range(there[0], there[-1])) - set(there)) if there else []
    if gaps:
        problems.add(
            "E11",
            f"no row is in fold {', '.join(map(str, gaps))}",
            "Number them one by one.",
            column=column,
        )


def _table(rows: Rows, name: str, columns: TableColumns, problems: Problems) -> pd.DataFrame:
    """Numbers as float64 and categories as objects, in the order of the roles."""
    found: dict[str, np.ndarray] = {}
    for column in columns.numeric:
        if rows.has(column, problems, f"a numeric column of {name!r}"):
            found[column] = cells.numeric(rows, column, columns.missing, problems)
    for column, values in columns.categorical.items():
        if rows.has(column, problems, f"a categorical column of {name!r}"):
            found[column] = cells.categorical(rows, column, values, columns.missing, problems)
    kinds = {column: float if column in columns.numeric else object for column in found}
    return pd.DataFrame({name: pd.Series(x, dtype=kinds[name]) for name, x in found.items()})


def _files(
    rows: Rows, role: ImageRole, folder: Folder, problems: Problems
) -> tuple[Path | None, ...]:
    """The file of each case; an empty cell is a missing modality where the image is optional."""
    if not rows.has(role.column, problems, f"the path of image {role.name!r}"):
        return (None,) * len(rows)
    found: list[Path | None] = []
    for cell, line in zip(rows.cells[role.column], rows.lines, strict=True):
        if not cells.is_empty(cell):
            folders = role.kind == "volume"
            found.append(folder.find(cell, role.column, line, problems, folders=folders))
            continue
        found.append(None)
        if not role.optional:
            remedy = f"Fill it in, remove the row, or say optional: true under images.{role.name}."
            problems.add("E04", "the path is empty", remedy, row=line, column=role.column)
    return tuple(found)
