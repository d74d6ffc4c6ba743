"""`fusionzoo evaluate`: score a finished run again from its saved predictions."""

from __future__ import annotations

import click


@click.command()
@click.argument("run", type=click.Path())
@click.option(
    "--threshold",
    "rule",
    default="youden",
    show_default=True,
    help="Rule on validation data: youden, f1 or 0.5.",
)
@click.option(
    "--part",
    type=click.Choice(["test", "val"]),
    default="test",
    show_default=True,
    help="Part to score.",
)
@click.option(
    "--per-patient",
    type=click.Choice(["max", "mean"]),
    help="Score patients: the max or mean of their cases.",
)
@click.option(
    "--replicates",
    type=click.IntRange(100),
    default=2000,
    show_default=True,
    help="Bootstrap draws.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    run: str, rule: str, part: str, per_patient: str | None, replicates: int, as_json: bool
) -> None:
    """Metrics of RUN (a run's folder) with intervals, recomputed from its predictions."""
    import json

    from rich.console import Console

    from fusionzoo.api import open_run
    from fusionzoo.cli._results import print_results
    from fusionzoo.evaluation.aggregate import aggregate
    from fusionzoo.evaluation.report import evaluate

    opened = open_run(run)
    predictions = opened.predictions()
    if per_patient:
        predictions = aggregate(predictions, per_patient)
    evaluation = evaluate(
        predictions,
        threshold_rule=rule,
        replicates=replicates,
        seed=opened.record.seed,
        reference=opened.main,
        part=part,
    )
    if as_json:
        click.echo(json.dumps(evaluation.to_json(), indent=2))
        return
    console = Console(soft_wrap=True)
    console.print(f"[bold]{opened.record.spec}[/bold]", highlight=False)
    print_results(console, evaluation, opened.main)
