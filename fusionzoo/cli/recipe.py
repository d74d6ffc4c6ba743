"""`fusionzoo recipe`: published tables that can be rebuilt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fusionzoo.recipes import Row, TestCases


@click.group()
def command() -> None:
    """Published tables as data: what each row is here, and the numbers that were printed."""


@command.command(name="list")
def list_() -> None:
    """Every recipe, with one line about it."""
    from fusionzoo.recipes import load_recipe, recipe_names

    names = recipe_names()
    width = max(map(len, names))
    for name in names:
        recipe = load_recipe(name)
        click.echo(f"  {name:<{width}}  {len(recipe.rows):>2} rows  {recipe.summary}")


@command.command()
@click.argument("name")
def show(name: str) -> None:
    """Rows of NAME (a table, a paper or a TOML file): specs, printed numbers, doubts."""
    from rich.console import Console
    from rich.table import Table

    from fusionzoo.evaluation.metrics import METRICS
    from fusionzoo.recipes import load_recipes

    console = Console(soft_wrap=True)
    for recipe in load_recipes(name):
        console.print(f"[bold]{recipe.name}[/bold]: {recipe.summary}", highlight=False)
        console.print(f"{recipe.paper}, {recipe.place}", highlight=False)
        tested = recipe.test
        if tested:
            console.print(
                f"test set: {tested.positives} positive ({tested.positive}), "
                f"{tested.negatives} negative",
                highlight=False,
            )
        if recipe.cases:
            console.print(_tested(recipe.cases), highlight=False)
        metrics = list(dict.fromkeys(metric for row in recipe.rows for metric in row.published))
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("row")
        for metric in metrics:
            table.add_column(METRICS[metric].label, justify="right")
        for row in recipe.rows:
            table.add_row(row.label, *(_number(row, m, recipe.decimals) for m in metrics))
        console.print(table)
        for row in recipe.rows:
            kind = f"{row.category}, {row.basis}" if row.category else row.basis
            console.print(f"\n[bold]{row.label}[/bold] ({kind})  {row.spec}", highlight=False)
            told = [" ".join(row.note.split())] if row.note else []
            told += [f"training: {key}={value}" for key, value in row.training.items()]
            for line in told:
                console.print(f"  [dim]{line}[/dim]", highlight=False)
        if recipe.note:
            console.print(f"\n{' '.join(recipe.note.split())}\n", highlight=False)


def _tested(cases: TestCases) -> str:
    """Test cases, folds and tasks in a line."""
    folds = f" in each of {cases.folds} folds" if cases.folds > 1 else ""
    tasks = f"; numbers are means over {cases.tasks} tasks" if cases.tasks > 1 else ""
    return f"test cases: {cases.test}{folds}{tasks}"


def _number(row: Row, metric: str, decimals: int) -> str:
    """A printed number with its deviation; empty where there is none."""
    if metric not in row.published:
        return ""
    deviation = row.published_sd.get(metric)
    told = f"{row.published[metric]:.{decimals}f}"
    return told if deviation is None else f"{told} ± {deviation:.{decimals}f}"


@command.command()
@click.argument("name", required=False)
@click.option(
    "--dataset",
    help="Data set whose shapes to assemble for; by default a recipe's stand-in, in the package.",
)
def check(name: str | None, dataset: str | None) -> None:
    """Assemble every row of NAME, or of all recipes, without reading any data."""
    from fusionzoo.data.open import open_dataset
    from fusionzoo.errors import FusionZooError, LayoutMismatch
    from fusionzoo.models.assemble import plan
    from fusionzoo.recipes import load_recipes, recipe_names

    failed = 0
    for recipe in (r for n in ([name] if name else recipe_names()) for r in load_recipes(n)):
        data = open_dataset(dataset or recipe.stand_in or recipe.dataset).spec
        for row in recipe.rows:
            try:
                total = sum(stage.parameters for stage in plan(row.spec, data).stages)
                told = f"{total:>12,} parameters"
            except FusionZooError as error:
                failed += 1
                told = f"refused: {error}"
            click.echo(f"{recipe.name}  {row.label:<20} {told}")
    if failed:
        raise LayoutMismatch(
            f"{failed} rows can't be assembled for {dataset or 'their stand-ins'}; the reasons are "
            "above."
        )
