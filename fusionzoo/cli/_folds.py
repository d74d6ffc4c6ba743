"""Several runs as the folds of one table: what they must share, and how the table is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from fusionzoo.cli._results import how_averaged, shown_metrics
from fusionzoo.errors import RunError
from fusionzoo.evaluation.folds import FoldRow
from fusionzoo.evaluation.metrics import METRICS
from fusionzoo.evaluation.results import Evaluation
from fusionzoo.records.store import CONFIG, RECORD

if TYPE_CHECKING:
    from fusionzoo.api import FinishedRun
    from fusionzoo.records.record import RunRecord


def without_store_files(paths: Sequence[str]) -> list[str]:
    """Paths but those of a store that are no run at all, as `runs/*` gives them; it tells which.

    What doesn't exist stays, and so does a run that was begun: opening it says what is wrong.
    """
    left_out = [path for path in paths if Path(path).exists() and not _is_run(Path(path))]
    if left_out and len(left_out) < len(paths):
        click.echo(f"Left out, for they are no runs: {', '.join(left_out)}.", err=True)
        return [path for path in paths if path not in left_out]
    return list(paths)


def _is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in (RECORD, CONFIG))


def by_fold(runs: Sequence[FinishedRun]) -> dict[int, FinishedRun]:
    """Runs by their fold, ascending.

    Raises:
        RunError: They are not the folds of one spec on one data set, or a fold is there twice.
    """
    problems = [f"{run.folder} is no fold" for run in runs if run.record.split.fold is None]
    for name, values in _shared(runs).items():
        if len(set(values)) > 1:
            told = "; ".join(f"{run.folder.name}: {v}" for run, v in zip(runs, values, strict=True))
            problems.append(f"they differ in {name} ({told})")
    found: dict[int, FinishedRun] = {}
    for run in runs:
        fold = run.record.split.fold
        if fold is not None and found.setdefault(fold, run) is not run:
            problems.append(f"{found[fold].folder} and {run.folder} are both fold {fold}")
    if problems:
        raise RunError(
            f"These {len(runs)} runs are not the folds of one table: {'; '.join(problems)}. "
            "Give runs of the same command with another --fold each."
        )
    return dict(sorted(found.items()))


def _shared(runs: Sequence[FinishedRun]) -> Mapping[str, list[Any]]:
    """What folds have in common, a value a run."""
    records = [run.record for run in runs]
    settings = [record.training.settings for record in records]
    names = list(dict.fromkeys(name for own in settings for name in own))
    return {
        "spec": [record.spec for record in records],
        "data set": [record.data.name for record in records],
        "data": [record.data.digest[:12] for record in records],
        "folds": [folds_of(record) for record in records],
        "seed": [record.seed for record in records],
        "protocol": [record.protocol for record in records],
        **{f"setting {name}": [str(own.get(name)) for own in settings] for name in names},
    }


def folds_of(record: RunRecord) -> str:
    """Which folds a run's fold is one of: '5 stratified folds by patient, seed 0'."""
    return record.split.scheme.partition(" of ")[2]


def print_folds(
    console: Console, rows: Sequence[FoldRow], evaluation: Evaluation, main: str
) -> None:
    """Every task's metrics over the folds, one column an output."""
    for task in dict.fromkeys(row.task for row in rows):
        own = {row.output: row for row in rows if row.task == task}
        outputs = [main, *(name for name in own if name != main)]
        first = own[main]
        console.print(
            f"\n[bold]{task}[/bold] on {evaluation.part}: {sum(first.num_cases.values())} cases in "
            f"{len(first.num_cases)} folds; mean ± sample standard deviation over folds",
            highlight=False,
        )
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("", no_wrap=True)
        for output in outputs:
            table.add_column(
                output if output == main else f"{output} alone", justify="right", no_wrap=True
            )
        for name in shown_metrics(evaluation.row(task, main)):
            table.add_row(METRICS[name].label, *(str(own[o].metrics[name]) for o in outputs))
        console.print(table)
        for output in outputs:
            for name, found in own[output].metrics.items():
                if found.reason:
                    console.print(f"[dim]{output} {name}: {found.reason}[/dim]", highlight=False)
    if any(row.task == "mean" for row in rows):
        console.print(how_averaged(evaluation), highlight=False)


__all__ = ["by_fold", "folds_of", "print_folds"]
