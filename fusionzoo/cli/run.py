"""`fusionzoo run`: train a combo, test it, leave a record."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fusionzoo.cli._options import combo_options, scoring_options, training_settings
from fusionzoo.errors import BadOption


@click.command()
@combo_options
@click.option(
    "--dataset",
    default="lidc",
    show_default=True,
    help="Name with options, or the path of a manifest.",
)
@click.option(
    "--fold", type=int, help="Fold to test on, from 0; without it, the data set's one split."
)
@click.option(
    "--folds",
    type=click.IntRange(2),
    help="Number of folds, where the data come without; 5 unless the data set says otherwise.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of weights, order and dropout.",
)
@click.option("--epochs", type=int, help="Most epochs of image stages and joint training.")
@click.option("--batch-size", type=int, help="Cases a step.")
@click.option("--lr", type=float, help="Peak learning rate of image stages and joint training.")
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other training setting; repeatable.",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="[PART=]PATH",
    help="Weights to begin with, of all parts or of one (vmamba=PATH); repeatable.",
)
@scoring_options
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option(
    "--devices",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes on this machine, each with a device (GPU, or cores) and its part of a batch.",
)
@click.option(
    "--precision",
    default="32-true",
    show_default=True,
    help="32-true, 16-mixed, bf16-mixed or 64-true.",
)
@click.option("--out", default="runs", show_default=True, help="Folder of all runs.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option(
    "--fresh",
    is_flag=True,
    help="Delete what an earlier run of the same settings left, and start again.",
)
@click.option(
    "--logger",
    "loggers",
    multiple=True,
    help="Also log to tensorboard, mlflow or wandb (each an extra); repeatable.",
)
def command(
    spec: str | None,
    system: str | None,
    encoders: tuple[str, ...],
    fusion: str | None,
    head: str | None,
    dataset: str,
    fold: int | None,
    folds: int | None,
    seed: int,
    epochs: int | None,
    batch_size: int | None,
    lr: float | None,
    pairs: tuple[str, ...],
    weights: tuple[str, ...],
    rule: str,
    binary: str,
    device: str,
    devices: int,
    precision: str,
    out: str,
    resume: bool,
    fresh: bool,
    loggers: tuple[str, ...],
) -> None:
    """Train a combo on a data set, test it, and leave a record.

    \b
    fusionzoo run --encoder penet3d --fusion msca
    fusionzoo run --spec "ct=penet3d, table=mlp -> concat -> linear" --fold 0
    fusionzoo run --system iimgf-net:official --weights iimgf.pth --set recipe=untrained
    """
    settings = training_settings(pairs, {"epochs": epochs, "batch_size": batch_size, "lr": lr})
    if resume and fresh:
        raise BadOption("--resume goes on with a run and --fresh deletes it. Give one of them.")

    from rich.console import Console

    from fusionzoo.api import check_ready, execute, open_run, plan_run
    from fusionzoo.cli._devices import check_devices, is_first, is_one_of_several, run_processes
    from fusionzoo.cli._loggers import open_loggers, tell_results
    from fusionzoo.cli._options import chosen_combo
    from fusionzoo.cli._progress import TerminalProgress
    from fusionzoo.cli._results import print_results
    from fusionzoo.data.open import dataset_text, open_dataset
    from fusionzoo.models.weights import filled_from
    from fusionzoo.systems import load_system
    from fusionzoo.training.loggers.logger import Observers

    alone = devices == 1 or is_one_of_several()
    console = Console(soft_wrap=True, quiet=not (alone and is_first()))
    opened = open_dataset(dataset)
    combo = chosen_combo(spec, system, encoders, fusion, head, opened.spec)
    combo = filled_from(combo, weights)
    if system:
        preset = load_system(system)
        settings = {**preset.training, **settings}
        console.print(f"{preset.name}, preset {preset.preset!r} ({preset.paper})", highlight=False)
        for sentence in preset.open:
            console.print(f"[dim]open: {sentence}[/dim]", highlight=False)
    planned = plan_run(
        combo,
        dataset=opened,
        fold=fold,
        num_folds=folds,
        seed=seed,
        precision=precision,
        training=settings,
        threshold_rule=rule,
        binary=binary,
    )
    if not alone:
        check_devices(device, devices)
        check_ready(planned, out=out, resume=resume, fresh=fresh)
        sys.exit(run_processes(devices, sys.argv[1:]))
    planned = planned.reopened_by(dataset_text(dataset))
    console.print(f"[bold]{planned.combo}[/bold]", highlight=False)
    parts = {"train": planned.split.train, "val": planned.split.val, "test": planned.split.test}
    counts = ", ".join(f"{len(rows)} {name}" for name, rows in parts.items())
    console.print(
        f"{opened.spec.name}: {counts} ({planned.split.scheme}), no patient in two parts",
        highlight=False,
    )
    for warning in opened.warnings:
        console.print(f"[yellow]{warning}[/yellow]", highlight=False)
    folder = Path(out) / planned.run_id
    with (
        open_loggers(
            loggers if is_first() else (), folder, planned.run_id, planned.identity
        ) as told,
        TerminalProgress(console) as progress,
    ):
        observer = Observers([progress, *told])
        record = execute(
            planned, device=device, out=out, resume=resume, fresh=fresh, observer=observer
        )
        tell_results(told, record)
    print_results(console, record.evaluation, open_run(folder).main)
    seconds = record.cost.train_seconds or 0
    console.print(
        f"\n{record.cost.parameters:,} parameters, trained in {seconds:.0f} s", highlight=False
    )
    for name in ("record.json", *sorted(path.name for path in folder.glob("*.png"))):
        console.print(f"  {folder / name}", highlight=False)
