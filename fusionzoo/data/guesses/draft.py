"""From a manifest to the text of a first `dataset.yaml`."""

from __future__ import annotations

import os
from pathlib import Path

from fusionzoo.data.dataset_yaml import parse_roles
from fusionzoo.data.guesses.columns import (
    classes_of,
    guess_group,
    guess_id,
    guess_positive,
    guess_split,
    guess_targets,
    is_unique,
)
from fusionzoo.data.guesses.files import guess_images
from fusionzoo.data.guesses.page import Roles, write_page
from fusionzoo.data.guesses.said import Guess, Said
from fusionzoo.data.guesses.table import guess_table
from fusionzoo.data.problems import Problems
from fusionzoo.data.rows import Rows, read_rows
from fusionzoo.errors import DataError


def open_rows(manifest: Path, said: Said) -> Rows:
    """The rows of a manifest, with every column that was named in it.

    Raises:
        DataError: It can't be read, or lacks a column.
    """
    problems = Problems()
    rows = read_rows(manifest, problems)
    problems.refuse(str(manifest))
    assert rows is not None
    said.check(rows, str(manifest))
    return rows


def draft(rows: Rows, manifest: Path, out: Path, said: Said) -> str:
    """The text of a `dataset.yaml`: what was said, and guesses with reasons for the rest.

    Args:
        rows: The manifest's rows.
        manifest: Its path.
        out: Where the yaml will be; its paths are relative to there.
        said: What needs no guess.

    Raises:
        DataError: No column can be the case id or the target, or nothing is left to learn from.
    """
    folder = manifest.parent if said.root is None else said.root
    case_id = _required_id(rows, manifest, said)
    group = guess_group(rows, said, case_id.value)
    split = guess_split(rows, said)
    images = guess_images(rows, said, folder)
    taken = {case_id.value, group.value, split.value, *(image.column for image in images)}
    named = tuple(str(column) for column in taken if column is not None)
    targets = guess_targets(rows, said, named)
    if not targets:
        raise DataError([_no_target(rows)], str(manifest))
    columns = [str(target.value) for target in targets]
    table = guess_table(rows, said, {*named, *columns}, columns)
    if not images and not table.numeric and not table.categorical:
        unused = "; ".join(f"{name}: {reason}" for name, reason in table.unused.items())
        raise DataError(
            [f"no column is left to predict from ({unused}). Name some with --numeric, "
             "--categorical or --image."],
            str(manifest),
        )  # fmt: skip
    positives = [
        guess_positive(rows, column, said) if len(classes_of(rows, column)) == 2 else None
        for column in columns
    ]
    name = Guess(said.name, "") if said.name else Guess(_folder_name(out), "the folder's name")
    relative = None if said.root is None else os.path.relpath(said.root, out.parent)
    roles = Roles(
        name=name,
        manifest=os.path.relpath(manifest, out.parent),
        root=Guess(relative, ""),
        id=case_id,
        group=group,
        split=split,
        images=images,
        table=table,
        targets=tuple(zip(targets, positives, strict=True)),
    )
    text = write_page(roles, rows, out.name)
    parse_roles(text, out.name)
    return text


def _folder_name(out: Path) -> str:
    return out.absolute().parent.name or "data"


def _required_id(rows: Rows, manifest: Path, said: Said) -> Guess:
    found = guess_id(rows, said)
    if found is not None and (found.reason or is_unique(rows, str(found.value))):
        return found
    counts = {column: len(set(rows.cells[column])) for column in rows.columns}
    best = max(counts, key=lambda column: counts[column])
    asked = "no column has" if found is None else f"column {found.value!r} doesn't have"
    raise DataError(
        [f"{asked} a value of its own on each of the {len(rows)} rows, which a case id needs; "
         f"{best!r} has {counts[best]} values. Add a column case_id with 1, 2, 3, ..."],
        str(manifest),
    )  # fmt: skip


def _no_target(rows: Rows) -> str:
    return (
        "no column could be the one to predict: it needs two to ten different values. Name it with "
        f"--target. Columns: {', '.join(rows.columns)}."
    )
