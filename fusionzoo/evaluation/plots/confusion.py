"""The confusion matrix at the threshold that validation chose."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fusionzoo.evaluation.plots.canvas import INK, new_figure, save, styled
from fusionzoo.evaluation.predictions import Predictions
from fusionzoo.evaluation.results import Evaluation
from fusionzoo.evaluation.weighted import Array, ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAME_WIDTH = 14
_MOST_LEVEL_NAMES = 3


def plot_confusion(
    path: str | os.PathLike[str],
    predictions: Predictions,
    evaluation: Evaluation,
    task: str,
    *,
    output: str = "fused",
    title: str = "",
) -> Path:
    """Confusion matrix at the validation threshold: counts, and the share of the true class.

    Args:
        path: The PNG to write.
        predictions: The predictions, for the class names.
        evaluation: Their evaluation.
        task: Name of the task.
        output: Which output.
        title: Shown above; task and output by default.

    Raises:
        RunError: There is no such row, or the file can't be written.
    """
    row = evaluation.row(task, output)
    names = predictions.task(task).classes
    counts = np.array(row.confusion)
    totals = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
    shares = ratio(counts.astype(float), totals.astype(float))
    with styled():
        figure, axes = new_figure(title or f"{task}: {output}", 2.4 + 1.0 * len(names))
        axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1)
        _write_cells(axes, counts, shares)
        _name_axes(axes, names)
        axes.set_ylabel("True class")
        at = f"\n(threshold {row.threshold.value:.3f})" if row.threshold else ""
        axes.set_xlabel(f"Predicted class{at}")
        return save(figure, path)


def _write_cells(axes: Axes, counts: NDArray[np.int64], shares: Array) -> None:
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        ink = "white" if share > 0.55 else INK
        percent = "-" if np.isnan(share) else f"{100 * share:.0f} %"
        axes.text(column, row - 0.08, str(count), ha="center", va="center", color=ink, fontsize=15)
        axes.text(column, row + 0.22, percent, ha="center", va="center", color=ink, fontsize=10)


def _name_axes(axes: Axes, names: tuple[str, ...]) -> None:
    wrapped = [fill(name, _NAME_WIDTH, break_long_words=False) for name in names]
    axes.set_yticks(range(len(names)), wrapped)
    axes.set_xticks(range(len(names)), wrapped)
    if len(names) > _MOST_LEVEL_NAMES:
        axes.tick_params(axis="x", rotation=40)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
