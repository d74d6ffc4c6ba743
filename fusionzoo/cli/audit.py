"""`fusionzoo audit`: whether the figures of a published table fit together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fusionzoo.cli._audits import (
    print_accuracies,
    print_audits,
    print_folds,
    print_thresholds,
)
from fusionzoo.errors import BadOption

if TYPE_CHECKING:
    from fusionzoo.evaluation.printed import PrintedRow
    from fusionzoo.recipes import Recipe


@click.command()
@click.argument("table")
@click.option("--positives", type=int, help="Positive test cases; a recipe may know its own.")
@click.option("--negatives", type=int, help="Negative test cases.")
@click.option(
    "--cases", type=int, help="Check accuracies alone: test cases (of one fold, with --folds)."
)
@click.option("--folds", type=int, help="Accuracies are means over folds, accuracy_std deviations.")
@click.option("--ddof", type=int, default=1, show_default=True, help="Of that deviation: 1 or 0.")
@click.option("--decimals", type=int, help="Printed digits of a CSV, where zeros were dropped.")
@click.option(
    "--most-cases", type=int, help="Search other class counts up to this total; twice the claimed."
)
@click.option(
    "--predictions", type=click.Path(), help="CSV of label and prob: which thresholds give a row."
)
def command(
    table: str,
    positives: int | None,
    negatives: int | None,
    cases: int | None,
    folds: int | None,
    ddof: int,
    decimals: int | None,
    most_cases: int | None,
    predictions: str | None,
) -> None:
    """Check the arithmetic of TABLE: a recipe, all recipes of a paper, or a CSV of your own.

    With the class counts of the test set, every confusion matrix that gives a row's figures is
    searched; where there is none, a single wrong figure and other class counts are. With the number
    of cases alone, accuracies are checked, and means over folds with their deviations.

    Examples: 'mmcaf_net', 'iimgf_net', 'mine.csv --positives 15 --negatives 28', 'folds.csv --cases
    30 --folds 5'.
    """
    from rich.console import Console

    from fusionzoo.evaluation.audit import audit_row

    console = Console(soft_wrap=True, highlight=False)
    if folds and not cases:
        raise BadOption("--folds needs --cases, the test cases of one fold.")
    if ddof not in (0, 1):
        raise BadOption(f"--ddof is 1 or 0, not {ddof}.")
    for found in _tables(table, decimals):
        console.print(f"[bold]{found.title}[/bold]")
        test, parts, tasks = (cases, folds or 1, 1) if cases else found.cases
        if cases or (test and not (positives and negatives)):
            if parts > 1:
                print_folds(console, found.rows, test, parts, ddof)
            else:
                print_accuracies(console, found.rows, test, tasks)
            continue
        claimed = positives or found.counts[0], negatives or found.counts[1]
        if not all(claimed):
            raise BadOption(
                "Class counts are needed: --positives and --negatives, or --cases for accuracies "
                "alone."
            )
        audits = [
            audit_row(row.label, row.figures, *claimed, most_cases=most_cases) for row in found.rows
        ]
        print_audits(console, audits)
        if predictions:
            print_thresholds(console, audits, predictions)


@dataclass(frozen=True)
class _Table:
    """A table to check; zeros where a number isn't known.

    Args:
        title: What it is.
        rows: Its printed rows.
        counts: Positive and negative test cases.
        cases: Test cases of a fold, folds, tasks.
    """

    title: str
    rows: list[PrintedRow]
    counts: tuple[int, int] = (0, 0)
    cases: tuple[int, int, int] = (0, 1, 1)


def _tables(name: str, decimals: int | None) -> list[_Table]:
    from fusionzoo.evaluation.printed import read_printed
    from fusionzoo.recipes import load_recipes

    if name.lower().endswith(".csv"):
        return [_Table(Path(name).name, read_printed(name, decimals=decimals))]
    return [_of_recipe(recipe) for recipe in load_recipes(name)]


def _of_recipe(recipe: Recipe) -> _Table:
    from fusionzoo.evaluation.audit import Printed
    from fusionzoo.evaluation.printed import PrintedRow

    rows = []
    for row in recipe.rows:
        figures = {m: Printed(value, recipe.decimals) for m, value in row.published.items()}
        figures |= {f"{m}_std": Printed(sd, recipe.decimals) for m, sd in row.published_sd.items()}
        rows.append(PrintedRow(row.label, figures))
    tested, cases = recipe.test, recipe.cases
    return _Table(
        f"{recipe.name}: {recipe.paper}, {recipe.place}",
        rows,
        (tested.positives, tested.negatives) if tested else (0, 0),
        (cases.test, cases.folds, cases.tasks) if cases else (0, 1, 1),
    )
