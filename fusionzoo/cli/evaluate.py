"""`fusionzoo evaluate`: score finished runs again from their saved predictions."""

from __future__ import annotations

import click

from fusionzoo.cli._options import scoring_options


@click.command()
@click.argument("runs", type=click.Path(), nargs=-1, required=True, metavar="RUN...")
@scoring_options
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
    "--per-case",
    type=click.Choice(["max", "mean"]),
    help="Score cases that have parts (windows, pairs): the max or mean of these.",
)
@click.option(
    "--replicates",
    type=click.IntRange(100),
    default=2000,
    show_default=True,
    help="Bootstrap draws.",
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Score probabilities at the temperature that fits the validation cases best.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    runs: tuple[str, ...],
    rule: str,
    part: str,
    per_patient: str | None,
    per_case: str | None,
    replicates: int,
    binary: str,
    calibrate: bool,
    as_json: bool,
) -> None:
    """Metrics of RUN (a run's folder) with intervals, recomputed from its predictions.

    Of several runs, the folds of one spec: mean and standard deviation over the folds.
    """
    import json

    from rich.console import Console

    from fusionzoo.api import FinishedRun, open_run
    from fusionzoo.cli._calibration import print_calibration
    from fusionzoo.cli._folds import by_fold, folds_of, print_folds, without_store_files
    from fusionzoo.cli._results import print_results
    from fusionzoo.evaluation.aggregate import aggregate
    from fusionzoo.evaluation.calibration import calibrated, load_or_fit
    from fusionzoo.evaluation.folds import over_folds
    from fusionzoo.evaluation.report import evaluate
    from fusionzoo.evaluation.results import Evaluation
    from fusionzoo.schema import to_json

    def scored(opened: FinishedRun, at_temperature: bool) -> Evaluation:
        predictions = opened.predictions()
        if at_temperature:
            predictions = calibrated(predictions, load_or_fit(opened.folder, predictions))
        if per_case:
            predictions = aggregate(predictions, per_case, by="case")
        if per_patient:
            predictions = aggregate(predictions, per_patient)
        return evaluate(
            predictions,
            threshold_rule=rule,
            replicates=replicates,
            seed=opened.record.seed,
            reference=opened.main,
            part=part,
            binary=binary,
        )

    console = Console(soft_wrap=True)
    if len(runs) == 1:
        opened = open_run(runs[0])
        evaluation = scored(opened, calibrate)
        if as_json:
            click.echo(json.dumps(evaluation.to_json(), indent=2))
            return
        console.print(f"[bold]{opened.record.spec}[/bold]", highlight=False)
        print_results(console, evaluation, opened.main)
        if calibrate:
            print_calibration(console, opened, scored(opened, False), evaluation)
        return
    folds = by_fold([open_run(run) for run in without_store_files(runs)])
    evaluations = {fold: scored(opened, calibrate) for fold, opened in folds.items()}
    rows, first = over_folds(evaluations), next(iter(folds.values()))
    if as_json:
        click.echo(json.dumps(to_json(rows), indent=2))
        return
    console.print(f"[bold]{first.record.spec}[/bold]", highlight=False)
    console.print(
        f"{first.record.data.name}: folds {', '.join(map(str, folds))} of "
        f"{folds_of(first.record)}; runs with seed {first.record.seed}",
        highlight=False,
    )
    print_folds(console, rows, next(iter(evaluations.values())), first.main)
