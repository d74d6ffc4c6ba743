"""`fusionzoo compare`: models against each other, by every paired test that applies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fusionzoo.errors import BadOption

if TYPE_CHECKING:
    from fusionzoo.leaderboard.sides import Side


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--folds", is_flag=True, help="Take every fold and seed of each run's spec.")
@click.option("--sheet", help="MODELS are rows of this sheet, by their labels.")
@click.option("--store", type=click.Path(), help="Folder of runs that the sheet is in.")
@click.option("--metric", default="auroc", show_default=True, help="Metric that is tested.")
@click.option("--task", default="", help="Its task; the only one, or the mean over several.")
@click.option(
    "--level", type=float, default=0.95, show_default=True, help="Confidence of intervals."
)
@click.option(
    "--replicates",
    type=click.IntRange(100),
    default=2000,
    show_default=True,
    help="Draws of the patients.",
)
def command(
    models: tuple[str, ...],
    folds: bool,
    sheet: str | None,
    store: str | None,
    metric: str,
    task: str,
    level: float,
    replicates: int,
) -> None:
    """The first of MODELS against each other one, on the same cases.

    A model is a run's folder, or its folds and seeds with commas between them:

    \b
      fusionzoo compare runs/A runs/B
      fusionzoo compare runs/A-fold0,runs/A-fold1 runs/B-fold0,runs/B-fold1
      fusionzoo compare --folds runs/A-fold0 runs/B-fold0
      fusionzoo compare --sheet mmcaf_net/table1 --store runs MMCAF-Net DAFT
    """
    from rich.console import Console

    from fusionzoo.cli._versus import print_versus
    from fusionzoo.leaderboard.versus import compare_sides

    if not 0 < level < 1:
        raise BadOption(f"--level lies between 0 and 1; {level} was given.")
    sides = _sides(models, folds, sheet, store)
    found = [
        compare_sides(sides[0], other, metric=metric, task=task, level=level, replicates=replicates)
        for other in sides[1:]
    ]
    print_versus(Console(soft_wrap=True, highlight=False), found, sides)


def _sides(
    models: tuple[str, ...], folds: bool, sheet: str | None, store: str | None
) -> list[Side]:
    from fusionzoo.leaderboard.sides import row_side, run_side

    if len(models) < 2:
        raise BadOption(f"A comparison needs two models or more; given: {', '.join(models)}.")
    if sheet is None:
        if store:
            raise BadOption("--store goes with --sheet; runs are named by their folders.")
        return [run_side(model, folds=folds) for model in models]
    if store is None:
        raise BadOption("--sheet needs --store, the folder of runs that it is in.")
    return [row_side(store, sheet, model) for model in models]
