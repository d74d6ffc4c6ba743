"""What a comparison's arguments stand for: a run, several runs, or a row of a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.errors import RunError, nearest
from fusionzoo.leaderboard.facts import RunFacts
from fusionzoo.records.record import RunRecord
from fusionzoo.records.sheet import Sheet, read_sheets
from fusionzoo.records.store import RunStore


@dataclass(frozen=True)
class Side:
    """Runs of one model.

    Args:
        label: What it is called.
        store: Where its runs are.
        runs: One or more.
    """

    label: str
    store: RunStore
    runs: tuple[RunFacts, ...]


def run_side(text: str, *, folds: bool = False) -> Side:
    """The runs that an argument names.

    Args:
        text: A run's folder, or several ones with commas between them.
        folds: Whether every other fold and seed of the same spec, settings, data and protocol in
            the run's store belongs to it.

    Raises:
        RunError: A run is absent or can't be read, or runs of several specs are named.
    """
    paths = [Path(part.strip()) for part in text.split(",") if part.strip()]
    if not paths:
        raise RunError("A comparison needs runs; an empty name was given.")
    store = RunStore(paths[0].parent)
    records = [RunStore(path.parent).read_record(path.name) for path in paths]
    elsewhere = [str(path) for path in paths if path.parent != paths[0].parent]
    if elsewhere:
        raise RunError(
            f"{text!r} names runs of several stores ({paths[0].parent}, {elsewhere[0]}). Put the "
            "runs of one model into one store."
        )
    specs = sorted({record.spec for record in records})
    if len(specs) > 1:
        raise RunError(
            f"{text!r} names runs of {len(specs)} specs: {'; '.join(specs)}. The runs of one side "
            "are folds and seeds of one model."
        )
    if folds:
        records = [one for one in store.iter_records() if _akin(one, records[0])]
    return Side(specs[0], store, tuple(map(RunFacts.of, records)))


def row_side(store: str | Path, sheet: str, label: str) -> Side:
    """The runs of a sheet's row that are done.

    Args:
        store: Folder of runs.
        sheet: Slug or name of the sheet.
        label: The row's label.

    Raises:
        RunError: There is no such sheet or row, or none of its runs is done.
    """
    chosen = named_sheet(read_sheets(store), sheet)
    labels = [row.label for row in chosen.rows]
    if label not in labels:
        raise RunError(
            f"Sheet {chosen.slug!r} has no row {label!r}. {nearest(label, labels)}It has: "
            f"{', '.join(labels)}."
        )
    runs = RunStore(store)
    row = chosen.rows[labels.index(label)]
    done = [cell.run_id for cell in row.cells if runs.is_complete(cell.run_id)]
    if not done:
        raise RunError(
            f"Row {label!r} of sheet {chosen.slug!r} has no finished run. Run the bench first."
        )
    return Side(label, runs, tuple(RunFacts.of(runs.read_record(run_id)) for run_id in done))


def named_sheet(sheets: Sequence[Sheet], name: str) -> Sheet:
    """The sheet of a slug or name.

    Raises:
        RunError: There is none, or there are several.
    """
    found = [sheet for sheet in sheets if name in (sheet.slug, sheet.name)]
    if len(found) > 1:
        told = ", ".join(sheet.slug for sheet in found)
        raise RunError(f"{len(found)} sheets are called {name!r}. Name one of: {told}.")
    if not found:
        slugs = [sheet.slug for sheet in sheets]
        have = f"There are: {', '.join(slugs)}." if slugs else "There is none: bench a table first."
        raise RunError(f"There is no sheet {name!r}. {nearest(name, slugs)}{have}")
    return found[0]


def _akin(record: RunRecord, first: RunRecord) -> bool:
    """Whether two runs are folds or seeds of one model."""
    one, other = RunFacts.of(record), RunFacts.of(first)
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("spec", "settings", "dataset", "data_digest", "protocol", "scheme")
    )


__all__ = ["Side", "named_sheet", "row_side", "run_side"]
