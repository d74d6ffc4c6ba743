"""`fusionzoo stress`: what a finished run loses when its inputs get worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from fusionzoo.evaluation.robustness import Robustness


@click.command()
@click.argument("run", type=click.Path())
@click.option(
    "--only",
    "kinds",
    multiple=True,
    help="drop, cells, noise or shift; repeatable; all of them where not given.",
)
@click.option("--dataset", help="Where the run's data are now, if they have moved.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all draws.")
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Draws of each perturbation.",
)
@click.option(
    "--replicates",
    type=click.IntRange(100),
    default=1000,
    show_default=True,
    help="Bootstrap draws of patients.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or mps.")
def command(
    run: str,
    kinds: tuple[str, ...],
    dataset: str | None,
    seed: int,
    draws: int,
    replicates: int,
    device: str,
) -> None:
    """Metrics of RUN's model on perturbed test cases, with intervals and a plot.

    drop: a modality is absent from 0 to 100% of the cases; cells: 0 to 100% of a table's cells are
    empty; noise: on an image, in its own standard deviations; shift: an image is moved by voxels or
    pixels. Written to stress.json and stress.png in RUN's folder; the record stays as it is.
    """
    from rich.console import Console
    from rich.progress import Progress

    from fusionzoo.api import open_run
    from fusionzoo.evaluation.plots import plot_robustness
    from fusionzoo.evaluation.robustness import STRESS, write_robustness
    from fusionzoo.stress.curves import stress
    from fusionzoo.stress.perturbations import LEVELS

    opened = open_run(run)
    console = Console(soft_wrap=True, highlight=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("stress", total=None)
        found = stress(
            opened,
            dataset=dataset,
            kinds=kinds or tuple(LEVELS),
            device=device,
            seed=seed,
            draws=draws,
            replicates=replicates,
            tell=lambda done, total: bars.update(task, completed=done, total=total),
        )
    console.print(f"[bold]{opened.record.spec}[/bold]")
    _print(console, found)
    write_robustness(opened.folder, found)
    console.print(f"\n  {opened.folder / STRESS}")
    tasks = list(dict.fromkeys(curve.task for curve in found.curves))
    for name in tasks:
        suffix = f"-{name}" if len(tasks) > 1 else ""
        path = plot_robustness(opened.folder / f"stress{suffix}.png", found, name)
        console.print(f"  {path}")


def _print(console: Console, found: Robustness) -> None:
    from rich.table import Table

    from fusionzoo.evaluation.metrics import METRICS

    for task in dict.fromkeys(curve.task for curve in found.curves):
        console.print(
            f"\n[bold]{task}[/bold] on test: {found.num_cases} cases of {found.num_patients} "
            f"patients; {found.level:.0%} intervals by patient, {found.draws} draws"
        )
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("", "level"):
            table.add_column(heading, no_wrap=True)
        for heading in ("cases hit", METRICS["auroc"].label, "change"):
            table.add_column(heading, justify="right", no_wrap=True)
        own = [curve for curve in found.curves if curve.task == task]
        for curve in (curve for curve in own if curve.points):
            for number, point in enumerate(curve.points):
                first = f"{curve.kind} {curve.modality}" if number == 0 else ""
                gap = point.changes["auroc"]
                lost = f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})" if number else ""
                hit = f"{point.num_changed:.0f}"
                table.add_row(first, f"{point.level:g}", hit, str(point.metrics["auroc"]), lost)
        console.print(table)
        for curve in own:
            if curve.refused:
                console.print(
                    f"[yellow]{curve.kind} {curve.modality}: refused, {curve.refused}[/yellow]"
                )
