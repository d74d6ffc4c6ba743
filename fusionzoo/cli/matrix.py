"""`fusionzoo matrix`: which encoders, fusions and heads go together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from fusionzoo.models.matrix import Cell


@click.command()
@click.option(
    "--encoder", "encoders", multiple=True, help="Image encoder; repeatable. All of them."
)
@click.option("--fusion", "fusions", multiple=True, help="Fusion; repeatable. All of them.")
@click.option("--head", "heads", multiple=True, help="Head; repeatable. All of them.")
@click.option(
    "--dataset", help="Read the modalities of a data set instead of the smallest there are."
)
@click.option("--specs", is_flag=True, help="Print the allowed combinations as spec strings.")
def command(
    encoders: tuple[str, ...],
    fusions: tuple[str, ...],
    heads: tuple[str, ...],
    dataset: str | None,
    specs: bool,
) -> None:
    """Every image encoder with every fusion and head, and the reason for each refusal.

    Each is tried on image and table, two images, and two images and table, at the smallest size,
    without reading data. Tables go through an MLP.
    """
    from rich.console import Console

    from fusionzoo.models.matrix import walk, walk_data

    chosen = {"encoders": encoders, "fusions": fusions, "heads": heads}
    named = {key: list(value) for key, value in chosen.items() if value}
    if dataset:
        from fusionzoo.data.open import open_dataset

        cells = list(walk_data(open_dataset(dataset).spec, **named))
    else:
        cells = [cell for cell, _ in walk(**named)]
    if specs:
        for cell in cells:
            if cell.allowed:
                click.echo(cell.spec)
        return
    console = Console(soft_wrap=True, highlight=False)
    for setting in dict.fromkeys(cell.setting for cell in cells):
        _print(console, setting, [cell for cell in cells if cell.setting == setting])
    allowed = sum(cell.allowed for cell in cells)
    console.print(f"{allowed} of {len(cells)} combinations are allowed.")


def _print(console: Console, setting: str, cells: list[Cell]) -> None:
    """One setting: fusions by encoders, and numbered reasons."""
    from rich.table import Table

    columns = _unique(cell.encoder for cell in cells)
    heads = _unique(cell.head for cell in cells)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"fusion (heads: {', '.join(heads)})")
    for name in columns:
        table.add_column(name)
    reasons: dict[str, int] = {}
    for fusion in _unique(cell.fusion for cell in cells):
        row = []
        for encoder in columns:
            here = [cell for cell in cells if (cell.fusion, cell.encoder) == (fusion, encoder)]
            refused = [cell for cell in here if not cell.allowed]
            numbers = {reasons.setdefault(cell.refusal, len(reasons) + 1) for cell in refused}
            said = ", ".join(map(str, sorted(numbers)))
            passed = [cell.head for cell in here if cell.allowed]
            row.append(
                f"no ({said})" if not passed else "yes" if not refused else ", ".join(passed)
            )
        table.add_row(fusion, *row)
    console.print(f"[bold]{setting}[/bold]")
    console.print(table)
    for reason, number in reasons.items():
        console.print(f"  [dim]({number}) {reason}[/dim]")
    console.print()


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
