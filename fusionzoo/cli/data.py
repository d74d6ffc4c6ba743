"""`fusionzoo data`: look at a data set."""

from __future__ import annotations

import click

from fusionzoo.cli._data_check import check
from fusionzoo.cli._data_import import import_
from fusionzoo.cli._data_init import init
from fusionzoo.cli._doctor import doctor
from fusionzoo.cli._prepare import prepare


@click.group()
def command() -> None:
    """Look at a data set before anything is trained on it."""


@command.command()
@click.argument("dataset")
@click.option(
    "--fold", type=int, help="Show the split of one fold; without it, the data set's one split."
)
@click.option(
    "--folds",
    type=click.IntRange(2),
    help="Number of folds, where the data come without; 5 unless the data set says otherwise.",
)
def show(dataset: str, fold: int | None, folds: int | None) -> None:
    """What DATASET (a name, or the path of a manifest) holds, and how it is split."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from fusionzoo.data.open import open_dataset
    from fusionzoo.data.splits import make_split

    opened = open_dataset(dataset)
    split = make_split(
        opened, fold=fold, num_folds=folds or opened.num_folds, seed=opened.fold_seed
    )
    console = Console(soft_wrap=True)
    patients = len(np.unique(opened.groups))
    console.print(
        f"[bold]{opened.spec.name}[/bold]: {len(opened.cases)} cases of {patients} patients",
        highlight=False,
    )
    for modality in opened.spec.modalities:
        have = int(opened.present(modality.name).sum())
        missing = (
            f", missing in {len(opened.cases) - have} cases" if have < len(opened.cases) else ""
        )
        console.print(
            f"  {modality.name}: {modality.kind} {'x'.join(map(str, modality.shape))}{missing}",
            highlight=False,
        )
        columns = opened.columns.get(modality.name)
        if columns is not None:
            frame = opened.table(modality.name)
            for name in columns.numeric:
                values = frame[name].astype(float)
                console.print(
                    f"    {name}: mean {values.mean():.3g}, from {values.min():.3g} to "
                    f"{values.max():.3g}, "
                    f"{int(values.isna().sum())} missing",
                    highlight=False,
                )
            for name, known in columns.categorical.items():
                counts = frame[name].value_counts()
                told = ", ".join(f"{value} {int(counts.get(value, 0))}" for value in known)
                console.print(
                    f"    {name}: {told}; {int(frame[name].isna().sum())} missing", highlight=False
                )
    parts = {"train": split.train, "val": split.val, "test": split.test}
    console.print(
        f"split: {split.scheme} (digest {split.digest[:12]}), no patient in two parts",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("task")
    table.add_column("class")
    for name, rows in parts.items():
        table.add_column(f"{name} ({len(rows)})", justify="right")
    for task in opened.spec.tasks:
        for code, label in enumerate(task.classes):
            found = [opened.targets[task.name][rows] == code for rows in parts.values()]
            sums = [str(int(mask.sum())) for mask in found]
            table.add_row(task.name if code == 0 else "", label, *sums)
    console.print(table)
    for warning in opened.warnings:
        console.print(f"[yellow]{warning}[/yellow]", highlight=False)
    if opened.about:
        console.print(f"\n{opened.about}", highlight=False, markup=False)


command.add_command(check)
command.add_command(doctor)
command.add_command(init)
command.add_command(import_)
command.add_command(prepare)
