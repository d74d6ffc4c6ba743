"""Robustness curves of rows whose runs `fusionzoo stress` has tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fusionzoo.evaluation.metrics import METRICS
from fusionzoo.evaluation.results import MEAN
from fusionzoo.evaluation.robustness import STRESS, read_robustness
from fusionzoo.leaderboard.facts import DIGITS, RunFacts
from fusionzoo.leaderboard.layout import LayoutRow
from fusionzoo.leaderboard.table import Curve, Panel

#: What is done to a modality, by kind of perturbation.
_DONE = {
    "drop": "with {} absent from a share of the cases",
    "cells": "with cells of {} empty",
    "noise": "with noise on {}",
    "shift": "with {} moved",
}
#: Kind of perturbation, modality, unit of its levels.
_Name = tuple[str, str, str]


def robustness_panels(
    root: Path, rows: Sequence[LayoutRow], task: str, metric: str
) -> tuple[Panel, ...]:
    """One panel for each perturbation of each modality that some row was tried with.

    A row's point is the mean over those of its runs that were tried at that level. What was tried
    on other predictions than the record's is left out.

    Args:
        root: The store.
        rows: The rows, in the board's order.
        task: Task of the metric, or the mean over all tasks.
        metric: The ranking metric.

    Raises:
        RunError: A file of results can't be read.
    """
    found: dict[_Name, dict[str, dict[float, list[float]]]] = {}
    for row in rows:
        for run in row.runs:
            for name, level, value in _points(root, run, task, metric):
                levels = found.setdefault(name, {}).setdefault(row.label, {})
                levels.setdefault(level, []).append(value)
    return tuple(_panel(name, own, metric) for name, own in sorted(found.items()))


def _points(
    root: Path, run: RunFacts, task: str, metric: str
) -> Iterator[tuple[_Name, float, float]]:
    """Every level of every perturbation of a run, with the metric there."""
    if not (root / run.run_id / STRESS).is_file():
        return
    tried = read_robustness(root / run.run_id)
    if tried.predictions_digest != run.predictions_digest or tried.output != run.output:
        return
    tasks = run.tasks if task == MEAN else [task]
    values: dict[tuple[_Name, float], list[float]] = {}
    for curve in tried.curves:
        for point in curve.points if curve.task in tasks else ():
            place = (curve.kind, curve.modality, curve.unit), point.level
            if metric in point.metrics:
                values.setdefault(place, []).append(point.metrics[metric].value)
    for (name, level), told in values.items():
        if len(told) == len(tasks):
            yield name, level, float(np.mean(told))


def _panel(name: _Name, rows: dict[str, dict[float, list[float]]], metric: str) -> Panel:
    kind, modality, unit = name
    curves = tuple(
        Curve(
            label,
            tuple(sorted(levels)),
            tuple(round(float(np.mean(levels[level])), DIGITS) for level in sorted(levels)),
        )
        for label, levels in rows.items()
    )
    done = _DONE.get(kind, f"with {kind} of {{}}").format(modality)
    return Panel(kind, f"Robustness: {done}", unit, METRICS[metric].label, curves)


__all__ = ["robustness_panels"]
