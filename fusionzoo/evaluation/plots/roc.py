"""ROC curves: all outputs of a two-class task, or the classes of one output."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fusionzoo.evaluation.bootstrap import Resampling
from fusionzoo.evaluation.plots.canvas import (
    COLOURS,
    default_title,
    legend,
    look,
    new_figure,
    outputs_of,
    save,
    styled,
    unit_square,
)
from fusionzoo.evaluation.predictions import Predictions
from fusionzoo.evaluation.results import Evaluation
from fusionzoo.evaluation.weighted import Array, ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Where the band is drawn, in 1 - specificity.
GRID = np.linspace(0, 1, 201)
_BAND_REPLICATES = 1000


def plot_roc(
    path: str | os.PathLike[str],
    predictions: Predictions,
    evaluation: Evaluation,
    task: str,
    *,
    title: str = "",
) -> Path:
    """ROC curves of all outputs with AUROC and interval.

    The first has a pointwise bootstrap band, and a dot at its validation threshold.
    For more than two classes: the one-vs-rest curves of the first output's classes.

    Args:
        path: The PNG to write.
        predictions: The predictions.
        evaluation: Their evaluation, whose AUROCs, threshold and draws are shown.
        task: Name of the task.
        title: Shown above; task and counts by default.

    Raises:
        RunError: There are no such predictions, or the file can't be written.
    """
    first = (outputs_of(evaluation, task) or ["fused"])[0]
    with styled():
        figure, axes = new_figure(title or default_title(evaluation, task, first))
        unit_square(axes, "1 - specificity", "Sensitivity")
        draw = _output_curves if predictions.task(task).binary else _class_curves
        draw(axes, predictions, evaluation, task)
        legend(axes, "lower right", f"AUROC ({evaluation.level:.0%} interval)")
        return save(figure, path)


def roc_points(positive: NDArray[np.bool_], scores: Array, weights: Array) -> tuple[Array, Array]:
    """1 - specificity and sensitivity at each distinct score, descending, after the point (0, 0).

    Args:
        positive: Which cases are positive, `cases`.
        scores: `cases`.
        weights: `replicates cases`.

    Returns:
        Two arrays `replicates points`; NaN where a replicate lacks a class.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.r_[scores[order][1:] != scores[order][:-1], True])
    start = np.zeros((len(weights), 1))
    shares = []
    for members in (~positive[order], positive[order]):
        counts = np.cumsum(weights[:, order] * members, axis=1)[:, ends]
        shares.append(
            np.hstack([start, ratio(counts, np.broadcast_to(counts[:, -1:], counts.shape))])
        )
    return shares[0], shares[1]


def roc_band(
    positive: NDArray[np.bool_], scores: Array, weights: Array, level: float
) -> tuple[Array, Array]:
    """Pointwise limits of the sensitivity on `GRID`; arguments as in `roc_points`."""
    fall_out, sensitivity = roc_points(positive, scores, weights)
    curves = [
        np.interp(GRID, x, y)
        for x, y in zip(fall_out, sensitivity, strict=True)
        if np.isfinite(x + y).all()
    ]
    low, high = np.quantile(
        curves or [np.full(GRID.shape, np.nan)], [(1 - level) / 2, (1 + level) / 2], axis=0
    )
    return low, high


def _output_curves(axes: Axes, predictions: Predictions, evaluation: Evaluation, task: str) -> None:
    for index, output in enumerate(outputs_of(evaluation, task)):
        chosen = predictions.select(part=evaluation.part, task=task, output=output)
        known = chosen.labels >= 0
        positive, scores = chosen.labels[known] == 1, chosen.probs[known, 1]
        x, y = roc_points(positive, scores, np.ones((1, len(scores))))
        row = evaluation.row(task, output)
        width = 2.4 if index == 0 else 1.7
        axes.plot(
            x[0],
            y[0],
            linewidth=width,
            label=f"{output}  {row.metrics['auroc']}",
            zorder=5 - index / 10,
            **look(index),
        )
        if index == 0:
            _band(axes, positive, scores, chosen.groups[known], evaluation)
            fall_out, hit = 1 - row.metrics["specificity"].value, row.metrics["sensitivity"].value
            axes.plot(
                fall_out,
                hit,
                "o",
                color=COLOURS[0],
                markeredgecolor="white",
                markersize=8,
                zorder=6,
            )


def _class_curves(axes: Axes, predictions: Predictions, evaluation: Evaluation, task: str) -> None:
    output = outputs_of(evaluation, task)[0]
    chosen = predictions.select(part=evaluation.part, task=task, output=output)
    known = chosen.labels >= 0
    ones = np.ones((1, int(known.sum())))
    for code, name in enumerate(predictions.task(task).classes):
        positive = chosen.labels[known] == code
        x, y = roc_points(positive, chosen.probs[known, code], ones)
        axes.plot(x[0], y[0], linewidth=1.9, label=f"{name}  (n={positive.sum()})", **look(code))
    axes.plot(
        [], [], " ", label=f"{output}, macro  {evaluation.row(task, output).metrics['auroc']}"
    )


def _band(
    axes: Axes,
    positive: NDArray[np.bool_],
    scores: Array,
    patients: NDArray[np.object_],
    evaluation: Evaluation,
) -> None:
    replicates = min(evaluation.replicates, _BAND_REPLICATES)
    resampling = Resampling.draw(patients, replicates=replicates, seed=evaluation.seed)
    low, high = roc_band(positive, scores, resampling.weights(patients), evaluation.level)
    axes.fill_between(GRID, low, high, color=COLOURS[0], alpha=0.14, linewidth=0, zorder=2)
