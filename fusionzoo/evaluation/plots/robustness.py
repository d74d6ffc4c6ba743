"""A metric against the strength of each perturbation, one panel a kind, one line a modality."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fusionzoo.evaluation.metrics import METRICS
from fusionzoo.evaluation.plots.canvas import FAINT, look, save, styled
from fusionzoo.evaluation.robustness import Curve, Robustness

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "drop": "Modality dropped",
    "cells": "Table cells missing",
    "noise": "Image noise",
    "shift": "Image shifted",
}
_PANEL = 3.1
_DPI = 160


def plot_robustness(
    path: str | os.PathLike[str], found: Robustness, task: str, *, metric: str = "auroc"
) -> Path:
    """Curves with intervals; the faint line is the value of the untouched inputs.

    Args:
        path: The PNG to write.
        found: The curves.
        task: Name of the task.
        metric: What is drawn.

    Raises:
        RunError: The file can't be written.
    """
    curves = [c for c in found.curves if c.task == task and c.points]
    kinds = [kind for kind in TITLES if any(c.kind == kind for c in curves)]
    modalities = list(dict.fromkeys(c.modality for c in curves))
    with styled():
        figure, panels = _panels(max(1, len(kinds)))
        for axes, kind in zip(panels, kinds, strict=False):
            own = [c for c in curves if c.kind == kind]
            _draw(axes, own, modalities, metric)
            axes.set_title(TITLES[kind], loc="left", fontsize=10.5)
            axes.set_xlabel(own[0].unit)
        panels[0].set_ylabel(f"{METRICS[metric].label} ({found.level:.0%} interval)")
        figure.suptitle(
            f"{task}: {found.num_cases} test cases, {found.num_patients} patients",
            x=0.01,
            ha="left",
            fontsize=12,
        )
        return save(figure, path)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.8 + _PANEL * count, 3.6), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, count, sharey=True, squeeze=False)
    return figure, list(panels[0])


def _draw(axes: Axes, curves: list[Curve], modalities: list[str], metric: str) -> None:
    for curve in curves:
        style = look(modalities.index(curve.modality))
        levels = [point.level for point in curve.points]
        values = [point.metrics[metric] for point in curve.points]
        axes.plot(
            levels,
            [v.value for v in values],
            marker="o",
            markersize=4,
            linewidth=1.8,
            label=curve.modality,
            **style,
        )
        axes.fill_between(
            levels,
            [v.low for v in values],
            [v.high for v in values],
            color=style["color"],
            alpha=0.15,
            linewidth=0,
        )
        axes.axhline(values[0].value, color=FAINT, linewidth=0.8, linestyle=":", zorder=0)
    axes.grid(color="#E6E6E6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(loc="lower left", framealpha=0.9, edgecolor="none")
