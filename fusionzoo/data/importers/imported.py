"""What an importer gives, and how it becomes a manifest and a `dataset.yaml`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusionzoo.data.guesses.draft import draft, open_rows
from fusionzoo.data.guesses.said import Said
from fusionzoo.storage import write_atomic

MANIFEST, UNLABELLED, ROLES = "manifest.csv", "unlabelled.csv", "dataset.yaml"
#: Files of this folder that are no formats.
_OTHERS = {"__init__", "imported"}


@dataclass(frozen=True)
class Imported:
    """Cases as another library describes them.

    Args:
        rows: One mapping a case, from column to cell.
        unlabelled: Cases without a label, for `fusionzoo predict`.
        root: Folder that paths are relative to.
        said: Roles that the format states.
        notes: What was left out, and why, in whole sentences.
    """

    rows: Sequence[Mapping[str, str]]
    unlabelled: Sequence[Mapping[str, str]]
    root: Path
    said: Said
    notes: tuple[str, ...] = field(default=())


def formats() -> tuple[str, ...]:
    """Names of the formats that can be imported."""
    found = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return tuple(sorted(name for name in found if name not in _OTHERS))


def write_imported(found: Imported, folder: Path) -> dict[str, str]:
    """Write the manifest, cases without a label where there are any, and the `dataset.yaml`.

    Returns:
        The text of each file by its name.
    """
    texts = {MANIFEST: _csv(found.rows)}
    if found.unlabelled:
        texts[UNLABELLED] = _csv(found.unlabelled)
    for name, text in texts.items():
        write_atomic(folder / name, text)
    manifest = folder / MANIFEST
    texts[ROLES] = draft(open_rows(manifest, found.said), manifest, folder / ROLES, found.said)
    write_atomic(folder / ROLES, texts[ROLES])
    return texts


def _csv(rows: Sequence[Mapping[str, str]]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
