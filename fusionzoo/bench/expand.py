"""From a table to its cells: every row on every fold with every seed, planned and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fusionzoo.api import PROTOCOL, RunPlan, plan_run
from fusionzoo.bench.grid import Table, TableRow
from fusionzoo.bench.size import FULL, Size
from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.open import dataset_text, open_dataset
from fusionzoo.data.splits import Split, make_split
from fusionzoo.errors import BadOption, DataError, FusionZooError
from fusionzoo.records.sheet import SCHEMA, Sheet, SheetCell, SheetRow
from fusionzoo.training.config import TrainConfig


@dataclass(frozen=True)
class Ask:
    """What is asked of a table.

    Args:
        dataset: Data set of the runs; empty for the table's own.
        folds: Number of folds; None for what the data set has, 0 for its one split.
        seeds: Number of seeds, which are 0, 1, ...
        precision: Precision, as Fabric names it.
        size: What is made smaller.
        threshold_rule: How thresholds are chosen.
        binary: How two-class tasks enter the mean over tasks.
        settings: Training settings over everything else.
    """

    dataset: str = ""
    folds: int | None = None
    seeds: int = 1
    precision: str = "32-true"
    size: Size = FULL
    settings: Mapping[str, Any] | None = None
    threshold_rule: str = "youden"
    binary: str = "auto"


@dataclass(frozen=True)
class Cell:
    """One run of a bench.

    Args:
        run_id: Name of the run's folder.
        label: The row that it belongs to.
        fold: Fold that it is tested on; None for the data set's one split.
        seed: Its seed.
        plan: All that defines it.
    """

    run_id: str
    label: str
    fold: int | None
    seed: int
    plan: RunPlan

    def __str__(self) -> str:
        fold = "" if self.fold is None else f", fold {self.fold}"
        return f"{self.label}{fold}, seed {self.seed}"


@dataclass(frozen=True)
class Bench:
    """A table, ready to run.

    Args:
        sheet: Which runs are which rows.
        cells: Its runs, each once, in the order in which they are started: by seed, row, fold. Runs
            that follow each other share no branch, so that later ones find it trained.
        warnings: What looks odd about the data.
    """

    sheet: Sheet
    cells: tuple[Cell, ...]
    warnings: tuple[str, ...]


def expand(tables: Sequence[Table], ask: Ask) -> list[Bench]:
    """Plan every cell of some tables; rows whose parts don't fit are refused one by one.

    Args:
        tables: The rows.
        ask: Data, folds, seeds, size and settings.

    Raises:
        FusionZooError: What concerns all rows: the data set, its folds, the settings.
    """
    opened: dict[str, AbstractDataset] = {}
    benches = []
    for table in tables:
        text = ask.dataset or table.dataset
        if not text:
            raise BadOption(f"{table.name!r} names no data set. Say which: --dataset lidc, say.")
        if text not in opened:
            opened[text] = _opened(text, table, ask)
        benches.append(_expand(table, ask, opened[text], dataset_text(text)))
    return benches


def _expand(table: Table, ask: Ask, opened: AbstractDataset, opened_by: str) -> Bench:
    settings = {**table.training, **ask.size.training, **(ask.settings or {})}
    TrainConfig.from_settings(opened.spec.training, settings)
    folds = _folds(opened, ask.folds)
    num_folds = len(folds) if folds[0] is not None else 0
    splits = {fold: _split(opened, fold, num_folds) for fold in folds}
    seeds = tuple(range(ask.seeds))
    rows, cells = [], []
    for row in table.rows:
        own = {key: value for key, value in row.training.items() if key not in _later(ask)}
        told, planned = _row(row, own, opened, opened_by, splits, seeds, ask, settings)
        rows.append(told)
        cells += planned
    cells = list({cell.run_id: cell for cell in reversed(cells)}.values())[::-1]
    sheet = Sheet(
        schema=SCHEMA,
        name=table.name,
        title=table.title,
        paper=table.paper,
        place=table.place,
        published_dataset=table.dataset if table.paper else "",
        dataset=opened_by,
        dataset_name=opened.spec.name,
        num_folds=num_folds,
        seeds=seeds,
        protocol=PROTOCOL,
        precision=ask.precision,
        size=ask.size.name,
        options={name: dict(options) for name, options in ask.size.options.items()},
        settings=settings,
        decimals=table.decimals,
        test=table.test,
        note="\n".join(filter(None, (table.note, ask.size.note))),
        rows=tuple(rows),
        threshold_rule=ask.threshold_rule,
        binary=ask.binary,
    )
    return Bench(sheet, tuple(sorted(cells, key=lambda cell: cell.seed)), tuple(opened.warnings))


def _later(ask: Ask) -> set[str]:
    """Settings that take the place of a row's own."""
    return {*ask.size.training, *(ask.settings or {})}


def _opened(text: str, table: Table, ask: Ask) -> AbstractDataset:
    try:
        return open_dataset(text)
    except DataError as error:
        if ask.dataset:
            raise
        hint = (
            f"{table.name!r} is a table on {text!r}. To run its rows on the data in the package: "
            f"--dataset {table.stand_in or 'lidc'}."
        )
        raise DataError([*error.problems, hint], f"data set {text!r}") from error


def _folds(dataset: AbstractDataset, asked: int | None) -> list[int | None]:
    """The folds to test on; [None] for the data set's one split."""
    given = dataset.given_folds
    if asked == 0 or (asked is None and given is None and dataset.given_split is not None):
        return [None]
    if given is None:
        return list(range(asked or dataset.num_folds))
    own = sorted({int(fold) for fold in given})
    if asked not in (None, len(own)):
        raise BadOption(
            f"{asked} folds were asked for, and data set {dataset.spec.name!r} comes with "
            f"{len(own)}. Leave --folds out."
        )
    return list(own)


def _split(dataset: AbstractDataset, fold: int | None, num_folds: int) -> Split:
    return make_split(
        dataset, fold=fold, num_folds=num_folds or dataset.num_folds, seed=dataset.fold_seed
    )


def _row(
    row: TableRow,
    own: Mapping[str, Any],
    opened: AbstractDataset,
    opened_by: str,
    splits: Mapping[int | None, Split],
    seeds: tuple[int, ...],
    ask: Ask,
    settings: Mapping[str, Any],
) -> tuple[SheetRow, list[Cell]]:
    """A row of the sheet, and its cells; none where the combo doesn't fit."""
    planned: RunPlan | None = None
    refusal = ""
    spec = row.spec or row.label
    fold = next(iter(splits))
    try:
        combo = ask.size.apply(row.combo(opened.spec))
        planned = plan_run(
            combo,
            dataset=opened,
            fold=fold,
            num_folds=len(splits) if fold is not None else None,
            seed=seeds[0],
            precision=ask.precision,
            training={**settings, **own},
            threshold_rule=ask.threshold_rule,
            binary=ask.binary,
        ).reopened_by(opened_by)
        spec = str(planned.combo)
    except FusionZooError as error:
        refusal = str(error)
    cells = _cells(row.label, planned, splits, seeds) if planned is not None else []
    told = SheetRow(
        label=row.label,
        spec=spec,
        basis=row.basis,
        category=row.category,
        published=dict(row.published),
        published_sd=dict(row.published_sd),
        note=row.note,
        settings=dict(own),
        cells=tuple(SheetCell(cell.run_id, cell.fold, cell.seed) for cell in cells),
        refusal=refusal,
    )
    return told, cells


def _cells(
    label: str, first: RunPlan, splits: Mapping[int | None, Split], seeds: tuple[int, ...]
) -> list[Cell]:
    """The cells of one row: its model is resolved once for all of them."""
    plans = [
        replace(first, fold=fold, split=split, seed=seed)
        for fold, split in splits.items()
        for seed in seeds
    ]
    return [Cell(plan.run_id, label, plan.fold, plan.seed, plan) for plan in plans]


__all__ = ["Ask", "Bench", "Cell", "expand"]
