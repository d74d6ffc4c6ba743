"""The parts of a card that hold results: metrics, subgroups, calibration and robustness."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fusionzoo.api import FinishedRun
from fusionzoo.card.blocks import Block, Bullets, Picture, Table, Text
from fusionzoo.card.subgroups import FEW_CASES, FEW_OF_A_CLASS, Subgroup, subgroups
from fusionzoo.evaluation.calibration import Calibration, calibrated
from fusionzoo.evaluation.metrics import METRICS
from fusionzoo.evaluation.plots import plot_calibration, plot_confusion, plot_robustness, plot_roc
from fusionzoo.evaluation.report import evaluate
from fusionzoo.evaluation.results import MEAN, Row, format_p
from fusionzoo.evaluation.robustness import Robustness
from fusionzoo.reopen import Reopened


def main_rows(run: FinishedRun) -> list[Row]:
    """The main output's row of each task."""
    rows = run.record.evaluation.results
    return [row for row in rows if row.output == run.main and row.task != MEAN]


def performance(run: FinishedRun) -> Iterator[Block]:
    """Every metric of every output, what fusing gained, and the two curves that show it."""
    evaluation, predictions = run.record.evaluation, run.predictions()
    for row in main_rows(run):
        rows = [r for r in evaluation.results if r.task == row.task]
        rows.sort(key=lambda r: r.output != run.main)
        header = (row.task, *(_named(run, r.output) for r in rows))
        cells = [
            (METRICS[name].label, *(str(r.metrics[name]) for r in rows)) for name in row.metrics
        ]
        if row.threshold:
            cuts = [f"{r.threshold.value:.3f}" if r.threshold else "" for r in rows]
            cells.append((f"threshold, by {evaluation.threshold_rule} on validation", *cuts))
        yield Table(header, tuple(cells))
        gains = [c for c in evaluation.comparisons if c.task == row.task]
        if gains:
            yield Bullets(tuple(_gain(run, c) for c in gains))
        suffix = f"-{row.task}" if len(main_rows(run)) > 1 else ""
        yield _figure(
            f"card-roc{suffix}.png",
            f"ROC curves of {row.task}",
            lambda path, task=row.task: plot_roc(path, predictions, evaluation, task),
        )
        yield _figure(
            f"card-confusion{suffix}.png",
            f"Confusion matrix of {row.task}",
            lambda path, task=row.task: plot_confusion(
                path, predictions, evaluation, task, output=run.main
            ),
        )


def _named(run: FinishedRun, output: str) -> str:
    return output if output == run.main else f"{output} alone"


def _gain(run: FinishedRun, comparison: Any) -> str:
    gap = comparison.differences["auroc"]
    p = format_p(comparison.p)
    return (
        f"{comparison.output} against {comparison.other} alone: AUROC {gap.value:+.3f} "
        f"({gap.low:+.3f} to {gap.high:+.3f}), p {p if p.startswith('<') else f'= {p}'}, paired."
    )


def by_subgroup(run: FinishedRun, opened: Reopened | None, why: str) -> Iterator[Block]:
    """Metrics within groups of test cases; `why` says why the data aren't there."""
    if opened is None:
        yield Text(f"Not available, since the data could not be opened: {why}")
        return
    for row in main_rows(run):
        found = subgroups(opened, row.task, level=run.record.evaluation.level)
        if not found:
            yield Text(f"{row.task}: the data have no column with several groups of test cases.")
            continue
        names = list(found[0].metrics)
        classes = run.predictions().task(row.task).classes
        header = (row.task, "cases", "patients", " / ".join(classes))
        labels = (*(METRICS[name].label for name in names), "beware")
        rows = tuple(_group_row(group, names) for group in found)
        yield Table((*header, *labels), rows, words=(len(header) + len(names),))
    yield Text(
        f"Intervals are by patient. A group with fewer than {FEW_CASES} cases, or fewer than "
        f"{FEW_OF_A_CLASS} of a class, says little; and of many groups some differ by chance."
    )


def _group_row(group: Subgroup, names: list[str]) -> tuple[str, ...]:
    sizes = (str(group.num_cases), str(group.num_patients), " / ".join(map(str, group.counts)))
    metrics = (str(group.metrics[name]) for name in names)
    return (f"{group.column}: {group.name}", *sizes, *metrics, group.warning)


def calibration_of(run: FinishedRun, calibration: Calibration) -> Iterator[Block]:
    """Whether probabilities mean what they say, as trained and at a temperature."""
    evaluation, predictions = run.record.evaluation, run.predictions()
    after = evaluate(
        calibrated(predictions, calibration),
        threshold_rule="0.5",
        replicates=min(500, evaluation.replicates),
        seed=evaluation.seed,
        level=evaluation.level,
        reference=run.main,
        binary=evaluation.binary,
    )
    for row in main_rows(run):
        suffix = f"-{row.task}" if len(main_rows(run)) > 1 else ""
        yield _figure(
            f"card-calibration{suffix}.png",
            f"Calibration of {row.task}",
            lambda path, task=row.task: plot_calibration(path, predictions, evaluation, task),
        )
        found = calibration.of(row.task, run.main)
        scaled = after.row(row.task, run.main)
        names = [name for name in ("ece", "brier", "log_loss") if name in row.metrics]
        rows = tuple(
            (METRICS[name].label, str(row.metrics[name]), str(scaled.metrics[name]))
            for name in names
        )
        yield Table((row.task, "as trained", f"at temperature {found.value:.3f}"), rows)
        beware = f" Beware: {found.reason}." if found.reason else ""
        yield Text(
            f"The temperature was fitted on {found.num_cases} validation cases; on the test cases "
            f"it changes no call and no AUROC. 'fusionzoo predict --calibrate' applies it.{beware}"
        )


def stress_of(found: Robustness | None, told: str) -> Iterator[Block]:
    """What worse inputs cost; `told` says why that wasn't tested."""
    if found is None:
        yield Text(told)
        return
    tasks = list(dict.fromkeys(curve.task for curve in found.curves))
    for task in tasks:
        suffix = f"-{task}" if len(tasks) > 1 else ""
        own = [curve for curve in found.curves if curve.task == task]
        yield _figure(
            f"card-stress{suffix}.png",
            f"AUROC of {task} on perturbed test cases",
            lambda path, task=task: plot_robustness(path, found, task),
            wide=True,
        )
        rows = []
        for curve in (curve for curve in own if curve.points):
            last, gap = curve.points[-1], curve.points[-1].changes["auroc"]
            change = f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
            name = f"{curve.kind} {curve.modality}"
            rows.append((name, f"{last.level:g}", str(last.metrics["auroc"]), change))
        yield Table((task, "at its strongest", "AUROC", "change"), tuple(rows))
        refused = tuple(f"{c.kind} {c.modality}: {c.refused}." for c in own if c.refused)
        if refused:
            yield Bullets(refused)


def _figure(name: str, alt: str, draw: Any, *, wide: bool = False) -> Picture:
    """A figure that is drawn into a file and taken from there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        draw(path)
        return Picture(name, alt, path.read_bytes(), wide)
