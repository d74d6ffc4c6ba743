"""`fusionzoo card`: a model card of a finished run."""

from __future__ import annotations

import click


@click.command()
@click.argument("run", type=click.Path())
@click.option("--out", type=click.Path(file_okay=False), help="Folder; RUN's own by default.")
@click.option("--intended-use", help="What the model is meant for, and not meant for.")
@click.option("--dataset", help="Where the run's data are now, if they have moved.")
def command(run: str, out: str | None, intended_use: str | None, dataset: str | None) -> None:
    """Write a model card of RUN, as Markdown and as one HTML page.

    Data, metrics with intervals, subgroups, calibration, robustness where 'fusionzoo stress' was
    run, limits and provenance. All of it is read from the run; only what the model is meant for is
    yours to say.
    """
    from fusionzoo.api import open_run
    from fusionzoo.card.page import INTENDED
    from fusionzoo.card.write import write_card

    paths = write_card(open_run(run), out, intended_use=intended_use or INTENDED, dataset=dataset)
    for path in paths:
        click.echo(f"  {path}")
