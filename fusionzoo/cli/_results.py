"""The table that a run ends with."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from fusionzoo.evaluation.delong import CLUSTERED
from fusionzoo.evaluation.metrics import METRICS
from fusionzoo.evaluation.results import MEAN, Comparison, Evaluation, Row

#: Metrics in the order of the papers' tables.
BINARY = ("auroc", "accuracy", "f1", "specificity", "sensitivity", "ppv", "npv")
MULTICLASS = ("auroc", "accuracy", "f1", "specificity", "sensitivity", "balanced_accuracy")


def print_results(console: Console, evaluation: Evaluation, main: str) -> None:
    """Every task's metrics, one column an output, and what fusing gained."""
    tasks = list(dict.fromkeys(row.task for row in evaluation.results))
    for task in tasks:
        rows = {row.output: row for row in evaluation.results if row.task == task}
        outputs = [main, *(name for name in rows if name != main)]
        first = rows[main]
        positive = f", {first.num_positive} positive" if first.num_positive is not None else ""
        console.print(
            f"\n[bold]{task}[/bold] on {evaluation.part}: {first.num_cases} cases of "
            f"{first.num_patients} patients"
            f"{positive}; {round(100 * evaluation.level)}% intervals by patient",
            highlight=False,
        )
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("", no_wrap=True)
        for output in outputs:
            table.add_column(
                output if output == main else f"{output} alone", justify="right", no_wrap=True
            )
        for name in shown_metrics(first):
            table.add_row(
                METRICS[name].label, *(str(rows[output].metrics[name]) for output in outputs)
            )
        if any(rows[output].threshold for output in outputs):
            cuts = [rows[output].threshold for output in outputs]
            table.add_row(
                "[dim]threshold[/dim]", *(f"[dim]{c.value:.3f}[/dim]" if c else "" for c in cuts)
            )
        console.print(table)
        if any(rows[output].threshold for output in outputs) and evaluation.threshold_rule != "0.5":
            console.print(
                f"[dim]threshold: by {evaluation.threshold_rule} on validation data[/dim]",
                highlight=False,
            )
        if task == MEAN:
            console.print(how_averaged(evaluation), highlight=False)
        for comparison in evaluation.comparisons:
            if comparison.task == task:
                console.print(_gain(comparison), highlight=False)


def shown_metrics(row: Row) -> list[str]:
    """Names of the metrics that a row's table shows, in order."""
    shown = BINARY if row.num_positive is not None else MULTICLASS
    return [name for name in shown if name in row.metrics]


def how_averaged(evaluation: Evaluation) -> str:
    """What the mean over tasks takes of two-class tasks."""
    words = {"macro": "means over both classes", "positive": "those of the positive class"}
    return (
        f"[dim]mean over tasks; sensitivity and specificity of two-class tasks are "
        f"{words[evaluation.binary]}[/dim]"
    )


def _gain(comparison: Comparison) -> str:
    """'fused against ct alone: AUROC +0.031 (+0.012 to +0.052), p = 0.002 (paired DeLong)'."""
    from fusionzoo.evaluation.results import format_p

    gap = comparison.differences["auroc"]
    p = format_p(comparison.p)
    how = "bootstrap"
    if comparison.delong:
        clustered = comparison.delong.method == CLUSTERED
        how = "DeLong, clustered by patient" if clustered else "DeLong"
    return (
        f"{comparison.output} against {comparison.other} alone: AUROC {gap.value:+.3f} "
        f"({gap.low:+.3f} to {gap.high:+.3f}), p {p if p.startswith('<') else '= ' + p} (paired "
        f"{how})"
    )
