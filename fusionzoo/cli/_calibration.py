"""What temperature scaling changed, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from fusionzoo.api import FinishedRun
    from fusionzoo.evaluation.results import Evaluation

#: Metrics that read probabilities as probabilities.
METRICS = ("log_loss", "brier", "ece")


def print_calibration(
    console: Console, run: FinishedRun, before: Evaluation, after: Evaluation
) -> None:
    """Each task's temperature, and how honest probabilities were as trained and are at it."""
    from fusionzoo.evaluation.calibration import CALIBRATION, load_or_fit
    from fusionzoo.evaluation.metrics import METRICS as KNOWN

    calibration = load_or_fit(run.folder, run.predictions())
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "temperature", "", "as trained", "at the temperature"):
        table.add_column(heading, justify="left" if heading == "" else "right", no_wrap=True)
    for row in (r for r in after.results if r.class_counts):
        found = calibration.of(row.task, row.output)
        for number, name in enumerate(n for n in METRICS if n in row.metrics):
            first = (f"{row.task} {row.output}", f"{found.value:.3f}") if not number else ("", "")
            trained = str(before.row(row.task, row.output).metrics[name])
            table.add_row(*first, KNOWN[name].label, trained, str(row.metrics[name]))
        if found.reason:
            console.print(
                f"[yellow]{row.task} {row.output}: {found.reason}[/yellow]", highlight=False
            )
    console.print()
    console.print(table)
    console.print(
        f"[dim]temperatures: fitted on validation, in {run.folder / CALIBRATION}; the record keeps "
        "its numbers[/dim]",
        highlight=False,
    )
