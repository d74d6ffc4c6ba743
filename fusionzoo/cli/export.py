"""`fusionzoo export`: a finished run's model as a file for other programs."""

from __future__ import annotations

import click


@click.command()
@click.argument("run", type=click.Path())
@click.option(
    "--format",
    "form",
    default="torch-export",
    show_default=True,
    help="torch-export (a .pt2 archive) or onnx.",
)
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="The file to write.")
@click.option("--dataset", help="Where the run's data are now, if they have moved.")
@click.option(
    "--cases",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Test cases to compare on, at most.",
)
@click.option(
    "--tolerance",
    type=float,
    default=1e-4,
    show_default=True,
    help="Largest difference of a probability to the run's own model.",
)
def command(
    run: str, form: str, out: str, dataset: str | None, cases: int, tolerance: float
) -> None:
    """Write RUN's model to a file, compared on test cases with the model of the run.

    The file takes tensors of any batch size and gives probabilities; OUT.json beside it says how
    inputs are prepared. A file that gives other probabilities is not kept.
    """
    from fusionzoo.api import open_run
    from fusionzoo.export.run import export

    found = export(open_run(run), out, form=form, dataset=dataset, cases=cases, tolerance=tolerance)
    click.echo(f"{found.path} ({found.form}, {found.path.stat().st_size / 2**20:.1f} MiB)")
    click.echo(f"{found.sidecar} says how to feed it")
    click.echo(
        f"on {found.cases} test cases, in batches of 1, 3 and 8: probabilities differ by at most "
        f"{found.max_difference:.1e} from the run's own model, {found.max_to_record:.1e} from its "
        f"record"
    )
