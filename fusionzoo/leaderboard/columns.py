"""Which columns a board has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fusionzoo.errors import BadOption
from fusionzoo.evaluation.metrics import METRICS
from fusionzoo.evaluation.results import MEAN
from fusionzoo.leaderboard.facts import RunFacts
from fusionzoo.leaderboard.layout import Layout
from fusionzoo.leaderboard.options import BoardOptions
from fusionzoo.leaderboard.scores import key
from fusionzoo.leaderboard.table import Column, Group

#: Metrics of a board, in the order of the papers' tables.
SHOWN = (
    "auroc",
    "accuracy",
    "f1",
    "specificity",
    "sensitivity",
    "ppv",
    "npv",
    "balanced_accuracy",
    "auprc",
)
CALIBRATION = ("ece", "brier", "log_loss")
_EXTRA = ("balanced_accuracy", "auprc")

#: Heading, unit, factor and meaning of each cost.
COSTS: Mapping[str, tuple[str, str, float, str]] = {
    "parameters": ("Params", "M", 1e-6, "trainable and frozen parameters, millions"),
    "flops": ("FLOPs", "G", 1e-9, "floating-point operations of one case's prediction, 10^9"),
    "peak_memory_mib": ("Memory", "MiB", 1.0, "largest memory while training; median over runs"),
    "latency_ms": ("Latency", "ms", 1.0, "median time of one case's prediction; median over runs"),
    "train_seconds": ("Training", "s", 1.0, "wall time of training one run; median over runs"),
}


def ranking_task(layout: Layout, options: BoardOptions) -> str:
    """The task that rows are ranked by: the one asked for, the only one, or the mean.

    Raises:
        BadOption: The runs have no such task, or it has no such metric.
    """
    scores = layout.runs[0].scores
    task = options.task or (MEAN if MEAN in scores else next(iter(scores)))
    if task not in scores:
        raise BadOption(
            f"Board {layout.name!r} has no task {task!r}. Its runs have: {', '.join(scores)}."
        )
    if options.metric not in scores[task]:
        raise BadOption(
            f"Board {layout.name!r} can't be ranked by {options.metric!r}: task {task!r} has "
            f"{', '.join(scores[task])}."
        )
    return task


def board_columns(layout: Layout, options: BoardOptions) -> tuple[Column, ...]:
    """The columns of a board: metrics of the ranking task, of each task, calibration and cost."""
    task = ranking_task(layout, options)
    run = layout.runs[0]
    has = run.scores[task]
    printed = dict.fromkeys(name for row in layout.rows for name in row.published)
    wanted = [n for n in SHOWN if n not in _EXTRA or n in printed or n == options.metric]
    shown = [n for n in dict.fromkeys([*wanted, *printed, options.metric]) if n in has]
    others = [t for t, scores in run.scores.items() if t != task and options.metric in scores]
    chosen: list[tuple[str, str, Group]] = [(task, name, "metrics") for name in shown]
    chosen += [(other, options.metric, "tasks") for other in others]
    chosen += [(task, n, "calibration") for n in CALIBRATION if n in has and n not in shown]
    found = [_metric(run, task, name, group, layout.decimals) for task, name, group in chosen]
    return (*found, *_costs(layout.runs))


def _metric(run: RunFacts, task: str, name: str, group: Group, decimals: int) -> Column:
    metric = METRICS[name]
    label = metric.label if group != "tasks" else f"{metric.label} {task}"
    two_classes = run.tested[task][2] is not None
    formula = metric.binary if two_classes or not metric.multiclass else metric.multiclass
    about = "unweighted mean over tasks" if task == MEAN else f"{task}: {formula}"
    return Column(
        key=key(task, name),
        label=label,
        group=group,
        about=about,
        task=task,
        metric=name,
        decimals=decimals,
        higher_is_better=metric.higher_is_better,
    )


def _costs(runs: Sequence[RunFacts]) -> list[Column]:
    measured = [name for name in COSTS if any(run.cost.get(name) is not None for run in runs)]
    return [
        Column(
            key=f"cost/{name}",
            label=COSTS[name][0],
            group="cost",
            about=COSTS[name][3],
            unit=COSTS[name][1],
            higher_is_better=False,
        )
        for name in measured
    ]


__all__ = ["CALIBRATION", "COSTS", "SHOWN", "board_columns", "ranking_task"]
