"""Calibration: what share of cases was positive among those given about the same probability."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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
from fusionzoo.evaluation.weighted import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CASES_PER_BIN = 10


def plot_calibration(
    path: str | os.PathLike[str],
    predictions: Predictions,
    evaluation: Evaluation,
    task: str,
    *,
    num_bins: int = 8,
    title: str = "",
) -> Path:
    """Share of positives against mean probability, over a histogram of the first output.

    Bins hold equal numbers of cases.
    For more than two classes: the share of right calls against the probability of the called class.

    Args:
        path: The PNG to write.
        predictions: The predictions.
        evaluation: Their evaluation, whose ECE is shown.
        task: Name of the task.
        num_bins: Bins at most; fewer where there are less than ten cases a bin.
        title: Shown above; task and counts by default.

    Raises:
        RunError: There are no such predictions, or the file can't be written.
    """
    outputs = outputs_of(evaluation, task)
    binary = predictions.task(task).binary
    with styled():
        figure, axes = new_figure(
            title or default_title(evaluation, task, (outputs or ["fused"])[0])
        )
        unit_square(
            axes,
            "Predicted probability" if binary else "Probability of the predicted class",
            "Share of positives" if binary else "Share of right predictions",
        )
        for index, output in enumerate(outputs):
            probs, happened = _events(predictions, evaluation.part, task, output)
            means, shares = reliability(probs, happened, num_bins)
            ece = f"  {evaluation.row(task, output).metrics['ece']}" if binary else ""
            axes.plot(
                means,
                shares,
                marker="o",
                markersize=5,
                linewidth=1.8,
                label=output + ece,
                zorder=4 - index / 10,
                **look(index),
            )
            if index == 0:
                _histogram(axes, probs)
        legend(axes, "upper left", f"ECE ({evaluation.level:.0%} interval)" if binary else "")
        return save(figure, path)


def reliability(probs: Array, happened: NDArray[np.bool_], num_bins: int) -> tuple[Array, Array]:
    """Mean probability and share of events in bins of equal numbers of cases, ascending."""
    order = np.argsort(probs, kind="stable")
    bins = np.array_split(order, max(1, min(num_bins, len(probs) // _CASES_PER_BIN)))
    filled = [members for members in bins if len(members)]
    means = [probs[members].mean() for members in filled]
    return np.array(means), np.array([happened[members].mean() for members in filled])


def _events(
    predictions: Predictions, part: str, task: str, output: str
) -> tuple[Array, NDArray[np.bool_]]:
    chosen = predictions.select(part=part, task=task, output=output)
    known = chosen.labels >= 0
    labels, probs = chosen.labels[known], chosen.probs[known]
    if predictions.task(task).binary:
        return probs[:, 1], labels == 1
    return probs.max(axis=1), probs.argmax(axis=1) == labels


def _histogram(axes: Axes, probs: Array) -> None:
    counts, edges = np.histogram(probs, bins=20, range=(0, 1))
    heights = 0.12 * counts / max(counts.max(), 1)
    axes.bar(
        edges[:-1],
        heights,
        width=0.05,
        align="edge",
        color=COLOURS[0],
        alpha=0.18,
        linewidth=0,
        zorder=0,
    )
