"""How a comparison of models is printed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from fusionzoo.evaluation.comparison import holm
from fusionzoo.evaluation.metrics import METRICS
from fusionzoo.evaluation.results import format_p
from fusionzoo.leaderboard.sides import Side
from fusionzoo.leaderboard.versus import Gap, Versus

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def print_versus(console: Console, found: Sequence[Versus], sides: Sequence[Side]) -> None:
    """Who is compared, then each comparison: metrics, tests, and what could have been found."""
    for letter, side in zip(_LETTERS, sides, strict=False):
        console.print(f"[bold]{letter}[/bold]  {side.label}  [dim]{_runs(side)}[/dim]")
    adjusted = holm([versus.main.paired.p for versus in found])
    for number, versus in enumerate(found, 1):
        _print_one(console, versus, _LETTERS[number])
        if len(found) > 1:
            console.print(
                f"corrected for {len(found)} comparisons (Holm): {_p(float(adjusted[number - 1]))}"
            )


def _runs(side: Side) -> str:
    folds = sorted({run.test_set for run in side.runs})
    seeds = sorted({run.seed for run in side.runs})
    return (
        f"{len(side.runs)} run{'s' * (len(side.runs) > 1)}: {', '.join(folds)}; "
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    )


def _print_one(console: Console, versus: Versus, other: str) -> None:
    cases, patients, positives = versus.tested
    known = f", {positives} positive" if positives is not None else ""
    console.print(
        f"\n[bold]A against {other}[/bold] on the same {cases} cases of {patients} patients{known}"
    )
    if versus.left_out:
        console.print(
            f"[yellow]left out, one of them lacks it: {', '.join(versus.left_out)}[/yellow]"
        )
    _print_gaps(console, versus, other)
    _print_tests(console, versus)
    console.print(_verdict(versus, other))


def _print_gaps(console: Console, versus: Versus, other: str) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(versus.task, no_wrap=True)
    for name in ("A", other, f"A - {other} ({100 * versus.level:g}% interval)", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for gap in versus.gaps:
        if gap.task == versus.task:
            table.add_row(*_line(gap, METRICS[gap.metric].label))
    for gap in versus.gaps:
        if gap.task != versus.task and gap.metric == versus.metric:
            table.add_row(*_line(gap, f"[dim]{METRICS[gap.metric].label} {gap.task}[/dim]"))
    console.print(table)


def _line(gap: Gap, label: str) -> tuple[str, ...]:
    paired = gap.paired
    values = (f"{v:.3f}" if not math.isnan(v) else "-" for v in (gap.first, gap.second))
    told = f"[dim]{paired.reason or 'undefined'}[/dim]"
    if not math.isnan(paired.low):
        told = f"{paired.value:+.3f} ({paired.low:+.3f} to {paired.high:+.3f})"
    return (label, *values, told, format_p(paired.p))


def _print_tests(console: Console, versus: Versus) -> None:
    console.print(f"\ntests of {METRICS[versus.metric].label}")
    width = max(len(test.name) for test in versus.tests)
    asked = ""
    for test in versus.tests:
        if test.asks != asked:
            console.print(f"[dim]{test.asks}?[/dim]")
            asked = test.asks
        remark = f"  [dim]{test.remark}[/dim]" if test.remark else ""
        console.print(f"  {test.name:<{width}}  {_p(test.p)}{remark}")


def _verdict(versus: Versus, other: str) -> str:
    """What it comes to, in one sentence."""
    label, paired = METRICS[versus.metric].label, versus.main.paired
    if math.isnan(paired.p):
        return f"\n{label} of the two can't be compared: {paired.reason}."
    least = (
        f"With these cases, a true difference of {versus.detectable:.3f} is found four times in "
        "five."
    )
    if paired.p >= round(1 - versus.level, 12):
        alike = (
            f"These models can't be told apart in {label}, which is no proof that they are equal"
        )
        return f"\n{alike}. {least}"
    first_is_better = (paired.value > 0) == METRICS[versus.metric].higher_is_better
    better = "A" if first_is_better else other
    return f"\nThese models differ in {label}, and {better} is better. {least}"


def _p(p: float) -> str:
    told = format_p(p)
    return "no p-value" if told == "-" else f"p {told}" if told.startswith("<") else f"p = {told}"
