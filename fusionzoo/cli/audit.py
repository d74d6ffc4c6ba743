"""`fusionzoo audit`: whether the figures of a published table fit together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fusionzoo.cli._audits import print_accuracies, print_audits, print_thresholds
from fusionzoo.errors import BadOption

if TYPE_CHECKING:
    from fusionzoo.evaluation.printed import PrintedRow


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
    searched; where there is none, a single wrong figure and other class counts are.

    Examples: 'mmcaf_net', 'mine.csv --positives 15 --negatives 28', 'folds.csv --cases 30
    --folds 5'.
    """
    from rich.console import Console

    from fusionzoo.evaluation.audit import audit_row

    console = Console(soft_wrap=True, highlight=False)
    if folds and not cases:
        raise BadOption("--folds needs --cases, the test cases of one fold.")
    for title, rows, counts in _tables(table, decimals):
        console.print(f"[bold]{title}[/bold]")
        if cases:
            print_accuracies(console, rows, cases, folds, ddof)
            continue
        claimed = positives or counts[0], negatives or counts[1]
        if not all(claimed):
            raise BadOption(
                "Class counts are needed: --positives and --negatives, or --cases for accuracies "
                "alone."
            )
        audits = [
            audit_row(row.label, row.figures, *claimed, most_cases=most_cases) for row in rows
        ]
        print_audits(console, audits)
        if predictions:
            print_thresholds(console, audits, predictions)


def _tables(name: str, decimals: int | None) -> list[tuple[str, list[PrintedRow], tuple[int, int]]]:
    """Title, rows and class counts of every table; counts of 0 where they aren't known."""
    from fusionzoo.evaluation.audit import Printed
    from fusionzoo.evaluation.printed import PrintedRow, read_printed
    from fusionzoo.recipes import load_recipes

    if name.lower().endswith(".csv"):
        return [(Path(name).name, read_printed(name, decimals=decimals), (0, 0))]
    return [
        (
            f"{recipe.name}: {recipe.paper}, {recipe.place}",
            [
                PrintedRow(
                    row.label,
                    {m: Printed(value, recipe.decimals) for m, value in row.published.items()},
                )
                for row in recipe.rows
            ],
            (recipe.test.positives, recipe.test.negatives) if recipe.test else (0, 0),
        )
        for recipe in load_recipes(name)
    ]
