"""Evaluate a run: thresholds from validation, intervals on test, the fused output against others.

All outputs and tasks share the same draws of patients, so that differences are paired and means
over tasks are joint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fusionzoo.errors import BadOption, RunError, nearest
from fusionzoo.evaluation.bootstrap import Difference, Resampling, difference, percentile_interval
from fusionzoo.evaluation.comparison import mcnemar
from fusionzoo.evaluation.delong import compare_aurocs
from fusionzoo.evaluation.metrics import (
    Score,
    Scored,
    check_scored,
    compute_metrics,
    confusion_matrix,
)
from fusionzoo.evaluation.predictions import Predictions, Selection
from fusionzoo.evaluation.results import MEAN, Comparison, Estimate, Evaluation, Row
from fusionzoo.evaluation.threshold import RULES, Threshold, choose_threshold
from fusionzoo.evaluation.weighted import Array, Labels

#: What `binary` may be; `auto` is `macro` where a task has more than two classes.
BINARY = ("auto", "macro", "positive")


@dataclass(frozen=True)
class Scoring:
    """What `evaluate` takes of how a run is scored, checked before the run is trained.

    Args:
        threshold_rule: `youden`, `f1` or `0.5`.
        binary: `auto`, `macro` or `positive`.

    Raises:
        BadOption: One of them is unknown.
    """

    threshold_rule: str = "youden"
    binary: str = "auto"

    def __post_init__(self) -> None:
        for name, known in (("threshold_rule", RULES), ("binary", BINARY)):
            value = getattr(self, name)
            if value not in known:
                raise BadOption(
                    f"A run can't be scored with {name}={value!r}. {nearest(value, known)}Use one "
                    f"of: {', '.join(known)}."
                )


@dataclass(frozen=True)
class _Measured:
    """One output's row, with what comparisons and means need beside it."""

    row: Row
    chosen: Selection | None
    drawn: dict[str, Array]


def evaluate(
    predictions: Predictions,
    *,
    threshold_rule: str = "youden",
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    reference: str = "fused",
    part: str = "test",
    binary: str = "auto",
) -> Evaluation:
    """Metrics with patient-level intervals per output, and paired comparisons with the reference.

    With several tasks there is a row of unweighted means over them. Sensitivity and specificity of
    a task with more than two classes are means over its classes, one against the rest; what enters
    the mean over tasks for one with two classes is up to `binary`.

    Args:
        predictions: Predictions of the part `val`, which thresholds are chosen on, and of the part
            to score.
        threshold_rule: `youden`, `f1` or `0.5`; each output has a threshold of its own.
        replicates: Bootstrap draws of patients.
        seed: Their seed.
        level: Confidence of all intervals.
        reference: Output that the others are compared with; without it there are no comparisons.
        part: The part to score.
        binary: Sensitivity and specificity of two-class tasks in the mean over tasks: those of
            class 1 (`positive`); their mean over both classes (`macro`), which makes the two equal;
            `auto` is `macro` where any task has more than two classes.

    Raises:
        BadOption: The rule is unknown, or the numbers are out of range.
        RunError: The part to score is absent, or `val` where the rule needs it.
    """
    if threshold_rule not in RULES or replicates < 1 or not 0 < level < 1:
        raise BadOption(
            f"Evaluation needs a threshold rule of {', '.join(RULES)}, one replicate or more and a "
            f"level between 0 and 1; threshold_rule={threshold_rule!r}, replicates={replicates}, "
            f"level={level} were given."
        )
    _check_parts(predictions, part, threshold_rule)
    averaged = _averaged(binary, predictions)
    frame = predictions.frame
    resampling = Resampling.draw(
        frame.loc[frame["part"] == part, "group"], replicates=replicates, seed=seed
    )
    rows: list[_Measured] = []
    for task in predictions.tasks:
        for output in predictions.outputs:
            if (
                (frame["task"] == task.name) & (frame["output"] == output) & (frame["part"] == part)
            ).any():
                threshold = _threshold(predictions, task.name, output, threshold_rule)
                chosen = predictions.select(part=part, task=task.name, output=output)
                rows.append(_measure(task.name, output, chosen, threshold, resampling, level))
    rows += _means(rows, predictions.outputs, level, averaged)
    comparisons = _comparisons(rows, reference, level)
    results = tuple(measured.row for measured in rows)
    return Evaluation(part, threshold_rule, replicates, seed, level, results, comparisons, averaged)


def _averaged(binary: str, predictions: Predictions) -> Literal["macro", "positive"]:
    if binary not in BINARY:
        raise BadOption(
            f"Two-class tasks can't enter a mean as binary={binary!r}. Use one of: "
            f"{', '.join(BINARY)}."
        )
    mixed = any(not task.binary for task in predictions.tasks)
    return "macro" if binary == "macro" or (binary == "auto" and mixed) else "positive"


def _check_parts(predictions: Predictions, part: str, rule: str) -> None:
    needed = [part] if rule == "0.5" else [part, "val"]
    absent = [name for name in needed if name not in predictions.parts]
    if absent:
        raise RunError(
            f"The predictions have no part {' and no part '.join(absent)}; "
            f"they have {', '.join(predictions.parts)}. "
            "Thresholds are chosen on 'val' only: predict it too, or use the threshold rule 0.5."
        )


def _threshold(predictions: Predictions, task: str, output: str, rule: str) -> Threshold | None:
    if not predictions.task(task).binary:
        return None
    if rule == "0.5":
        return Threshold(0.5, rule, 0)
    validation = predictions.select(part="val", task=task, output=output)
    return choose_threshold(validation.labels, validation.probs, rule)


def _measure(
    task: str,
    output: str,
    chosen: Selection,
    threshold: Threshold | None,
    resampling: Resampling,
    level: float,
) -> _Measured:
    scored = check_scored(chosen.labels, chosen.probs)
    cut = threshold.value if threshold else 0.5
    patients = chosen.groups[scored.kept]
    values = compute_metrics(chosen.labels, chosen.probs, threshold=cut)
    drawn = resampling.replicates(scored, patients, cut, scored.names)
    row = Row(
        task,
        output,
        threshold,
        {name: _estimate(values[name], drawn[name], level) for name in scored.names},
        len(scored.labels),
        len(set(patients)),
        _class_counts(scored),
        tuple(
            tuple(line)
            for line in confusion_matrix(chosen.labels, chosen.probs, threshold=cut).tolist()
        ),
    )
    return _Measured(row, chosen, drawn)


def _class_counts(scored: Scored) -> tuple[int, ...]:
    return tuple(np.bincount(scored.labels, minlength=scored.num_classes).tolist())


def _estimate(score: Score, drawn: Array, level: float) -> Estimate:
    if math.isnan(score.value):
        return Estimate(math.nan, math.nan, math.nan, score.reason)
    interval = percentile_interval(drawn, level)
    return Estimate(score.value, interval.low, interval.high, interval.reason)


def _means(
    rows: list[_Measured], outputs: tuple[str, ...], level: float, binary: str
) -> list[_Measured]:
    """Per output, the unweighted mean over tasks of the metrics that all its tasks have."""
    tasks = {measured.row.task for measured in rows}
    means = []
    for output in outputs:
        own = [measured for measured in rows if measured.row.output == output]
        if len(tasks) < 2 or len(own) < len(tasks):
            continue
        names = [name for name in own[0].drawn if all(name in measured.drawn for measured in own)]
        sources = {
            name: [averaged_metric(name, len(m.row.class_counts), binary) for m in own]
            for name in names
        }
        drawn = {
            name: np.mean([m.drawn[s] for m, s in zip(own, sources[name], strict=True)], axis=0)
            for name in names
        }
        estimates = {
            name: _estimate(_mean_score(own, sources[name]), drawn[name], level) for name in names
        }
        means.append(_Measured(_mean_row(output, own, estimates), None, drawn))
    return means


def averaged_metric(name: str, num_classes: int, binary: str) -> str:
    """The metric of a task that enters the mean of `name` over tasks.

    Over both classes of two, one's sensitivity is the other's specificity, so that the macro means
    of both are the balanced accuracy.

    Args:
        name: The metric that is averaged.
        num_classes: Classes of the task.
        binary: `macro` or `positive`, as in an `Evaluation`.
    """
    both = binary == "macro" and num_classes == 2
    return "balanced_accuracy" if both and name in ("sensitivity", "specificity") else name


def _mean_score(own: list[_Measured], sources: list[str]) -> Score:
    values = [m.row.metrics[source].value for m, source in zip(own, sources, strict=True)]
    undefined = [m.row.task for m, value in zip(own, values, strict=True) if math.isnan(value)]
    if undefined:
        return Score(math.nan, f"undefined for task {', '.join(undefined)}")
    return Score(float(np.mean(values)))


def _mean_row(output: str, own: list[_Measured], estimates: dict[str, Estimate]) -> Row:
    cases, patients = set(), set()
    for measured in own:
        assert measured.chosen is not None
        known = measured.chosen.labels >= 0
        cases |= set(measured.chosen.cases[known])
        patients |= set(measured.chosen.groups[known])
    return Row(MEAN, output, None, estimates, len(cases), len(patients), (), ())


def _comparisons(rows: list[_Measured], reference: str, level: float) -> tuple[Comparison, ...]:
    references = {
        measured.row.task: measured for measured in rows if measured.row.output == reference
    }
    return tuple(
        _compare(references[other.row.task], other, level)
        for other in rows
        if other.row.output != reference and other.row.task in references
    )


def _compare(first: _Measured, second: _Measured, level: float) -> Comparison:
    row, other = first.row, second.row
    differences: dict[str, Difference] = {
        name: difference(
            row.metrics[name].value,
            other.metrics[name].value,
            first.drawn[name],
            second.drawn[name],
            level,
        )
        for name in row.metrics
    }
    delong = exact = None
    a, b = first.chosen, second.chosen
    if a is not None and b is not None:
        if row.threshold and other.threshold:
            delong = compare_aurocs(a.labels, a.probs, b.probs, a.groups, level=level)
        if row.num_patients == row.num_cases:
            exact = mcnemar(a.labels, _called(a, row.threshold), _called(b, other.threshold))
    return Comparison(row.task, row.output, other.output, differences, delong, exact)


def _called(chosen: Selection, threshold: Threshold | None) -> Labels:
    if threshold is None:
        return np.asarray(chosen.probs.argmax(axis=1), dtype=np.int64)
    return (chosen.probs[:, 1] >= threshold.value).astype(np.int64)
