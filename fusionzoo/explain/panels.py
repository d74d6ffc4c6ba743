"""An explanation as one figure: every input with what it added laid over it.

Red speaks for the class and blue against it (Integrated Gradients); yellow over violet is where a
class was seen (Grad-CAM). Colours of a modality reach from 0 to the 99.5th percentile of what there
is in it, so that they compare places of one input, not inputs: the bar of shares does that.
Integrated Gradients are summed over channels and smoothed a little before they are drawn.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter

from fusionzoo.evaluation.plots.canvas import COLOURS, FAINT, save, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure
    from torch import Tensor

    from fusionzoo.explain.case import Explanation

#: Inches: width of the figure, height of the bar of shares, of a row of pictures, of a table's bar.
WIDTH, SHARES, PICTURE, BAR = 9.0, 0.95, 2.0, 0.26
MOST_SLICES, MOST_COLUMNS = 6, 12
FOR, AGAINST = "#D7301F", "#2B8CBE"
_DPI = 160
GRADIENTS = "integrated gradients: red for it, blue against"


@dataclass(frozen=True)
class _Layer:
    """One way of looking at an input: its name, its numbers, and how they are coloured."""

    name: str
    heat: np.ndarray
    signed: bool


def draw(explanation: Explanation, path: str | os.PathLike[str]) -> Path:
    """Write the figure as PNG, whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    parts = [(SHARES, _shares), *_inputs(explanation)]
    heights = [height for height, _ in parts]
    with styled():
        figure = Figure(figsize=(WIDTH, sum(heights) + 0.7), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(_title(explanation), x=0.01, ha="left", fontsize=12)
        boxes = figure.subfigures(len(parts), 1, height_ratios=heights, squeeze=False)[:, 0]
        for box, (_, part) in zip(boxes, parts, strict=True):
            part(box, explanation)
        return save(figure, path)


def _title(explanation: Explanation) -> str:
    score = explanation.score
    part = explanation.facts.get("part")
    where = f" ({part})" if part else ""
    own = "no label" if explanation.label is None else f"labelled {explanation.label}"
    output = "" if score.output == "final" else f", output {score.output}"
    return (
        f"{explanation.case}{where}: {score.task.name} = {score.class_name} with probability "
        f"{explanation.probability:.3f}{output}; {own}"
    )


def _inputs(
    explanation: Explanation,
) -> list[tuple[float, Callable[[SubFigure, Explanation], None]]]:
    """Height and drawing of each input, in the model's order."""
    parts: list[tuple[float, Callable[[SubFigure, Explanation], None]]] = []
    for name, x in explanation.inputs.items():
        layers = _layers(explanation, name)
        if x.ndim == 1:
            columns = explanation.columns(name)
            if columns:
                height = BAR * min(len(columns), MOST_COLUMNS) + 0.75
                parts.append((height, partial(_table, name=name)))
        elif x.ndim == 3:
            parts.append((PICTURE + 0.3, partial(_image, name=name)))
        else:
            parts.append((1.45 * (1 + len(layers)) + 0.35, partial(_volume, name=name)))
    return parts


def _shares(box: SubFigure, explanation: Explanation) -> None:
    """One bar, cut by each modality's share of the decision."""
    axes = box.subplots()
    left = 0.0
    for k, (name, part) in enumerate(explanation.shares.parts.items()):
        told = f"{name} {part:.0%} ({explanation.shares.values[name]:+.2f})"
        axes.barh(0, part, left=left, color=COLOURS[k % len(COLOURS)], label=told)
        left += part
    axes.set(xlim=(0, 1), yticks=[], xticks=[])
    axes.spines[:].set_visible(False)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, 0),
        ncols=len(explanation.shares.parts),
        frameon=False,
        borderaxespad=0,
        borderpad=0.2,
        handlelength=1,
        handleheight=1,
    )
    before, after = explanation.shares.baseline, explanation.shares.score
    axes.set_title(
        f"share of each modality; together they move the log-odds from {before:+.2f} to "
        f"{after:+.2f}",
        loc="left",
        fontsize=10,
    )


def _image(box: SubFigure, explanation: Explanation, name: str) -> None:
    """The picture, and the picture under each layer."""
    layers = _layers(explanation, name)
    picture = _picture(explanation.inputs[name])
    columns = box.subplots(1, max(3, 1 + len(layers)), squeeze=False)[0]
    for axes in columns:
        axes.set_axis_off()
    _show(columns[0], picture, None, name)
    for axes, layer in zip(columns[1:], layers, strict=False):
        _show(axes, picture, layer, layer.name)


def _volume(box: SubFigure, explanation: Explanation, name: str) -> None:
    """Some slices in order: as they are, and under each layer."""
    layers = _layers(explanation, name)
    volume = explanation.inputs[name]
    chosen = _slices(volume, layers)
    rows = box.subplots(1 + len(layers), MOST_SLICES, squeeze=False)
    for axes in rows.flat:
        axes.set_axis_off()
    low, high = _range(volume)
    for column, index in enumerate(chosen):
        picture = _picture(volume[:, index], low, high)
        _show(
            rows[0, column], picture, None, f"{name}, slice {index}" if not column else f"{index}"
        )
        for row, layer in enumerate(layers, start=1):
            part = _Layer(layer.name, layer.heat[index], layer.signed)
            _show(rows[row, column], picture, part, "" if column else layer.name)


def _table(box: SubFigure, explanation: Explanation, name: str) -> None:
    """What each column added, the largest on top."""
    columns = list(explanation.columns(name).items())
    shown, cells = columns[:MOST_COLUMNS], explanation.tables[name].cells
    axes = box.subplots()
    values = [value for _, value in shown]
    axes.barh(range(len(shown)), values, color=[FOR if v > 0 else AGAINST for v in values])
    axes.axvline(0, color=FAINT, linewidth=0.8)
    axes.set_yticks(range(len(shown)), [f"{column} = {cells[column]}" for column, _ in shown])
    axes.invert_yaxis()
    axes.tick_params(length=0, labelsize=9)
    axes.spines["left"].set_visible(False)
    rest = sum(value for _, value in columns[MOST_COLUMNS:])
    more = (
        f"; {len(columns) - len(shown)} more add {rest:+.2f}" if len(columns) > len(shown) else ""
    )
    axes.set_title(f"{name}: what each column adds to the log-odds{more}", loc="left", fontsize=10)


def _layers(explanation: Explanation, name: str) -> list[_Layer]:
    """What there is to lay over an image or volume, each scaled to 1."""
    layers = []
    if explanation.attributions is not None and explanation.inputs[name].ndim > 1:
        summed = explanation.attributions.values[name].sum(dim=0).cpu().numpy()
        smooth = gaussian_filter(summed, [max(n / 64, 0.4) for n in summed.shape])
        layers.append(_Layer(GRADIENTS, _scaled(smooth), signed=True))
    if explanation.cams is not None and name in explanation.cams:
        heat = explanation.cams[name].heat.cpu().numpy()
        told = "Grad-CAM" if heat.any() else "Grad-CAM: nowhere"
        layers.append(_Layer(told, _scaled(heat), signed=False))
    return layers


def _scaled(heat: np.ndarray) -> np.ndarray:
    """Divided by the 99.5th percentile of its size, cut at 1."""
    top = float(np.percentile(np.abs(heat), 99.5))
    return np.clip(heat / top, -1, 1) if top > 0 else np.zeros_like(heat)


def _slices(volume: Tensor, layers: Sequence[_Layer]) -> list[int]:
    """The slices where most is seen, in order; all where there are few."""
    depth = volume.shape[1]
    if depth <= MOST_SLICES or not layers:
        return sorted({round(i) for i in np.linspace(0, depth - 1, min(depth, MOST_SLICES))})
    seen = sum(np.abs(layer.heat).mean(axis=(1, 2)) for layer in layers)
    return sorted(np.argsort(-np.asarray(seen), kind="stable")[:MOST_SLICES].tolist())


def _range(x: Tensor) -> tuple[float, float]:
    """What is drawn black and what white."""
    low, high = np.percentile(x.cpu().numpy(), (0.5, 99.5))
    return float(low), float(high)


def _picture(x: Tensor, low: float | None = None, high: float | None = None) -> np.ndarray:
    """`channels height width` as colours where there are three, as grey otherwise."""
    if low is None or high is None:
        low, high = _range(x)
    scaled = np.clip((x.cpu().numpy() - low) / max(high - low, 1e-12), 0, 1)
    if len(scaled) == 3:
        return scaled.transpose(1, 2, 0)
    return np.repeat(scaled.mean(axis=0)[..., None], 3, axis=2)


def _show(axes: Axes, picture: np.ndarray, layer: _Layer | None, title: str) -> None:
    """A picture, with a layer over it that hides it where there is most to see."""
    axes.imshow(picture, interpolation="nearest")
    if layer is not None:
        axes.imshow(_coloured(layer), interpolation="bilinear")
    axes.set_title(title, fontsize=9, loc="left", pad=3)


def _coloured(layer: _Layer) -> np.ndarray:
    """A layer as red, green, blue and opacity, clear where there is nothing to see."""
    import matplotlib
    from matplotlib.colors import to_rgb

    shown = np.empty((*layer.heat.shape, 4))
    if layer.signed:
        shown[..., :3] = np.where(layer.heat[..., None] > 0, to_rgb(FOR), to_rgb(AGAINST))
    else:
        colours: Any = matplotlib.colormaps["plasma"]
        shown[..., :3] = colours(layer.heat)[..., :3]
    shown[..., 3] = 0.85 * np.abs(layer.heat) ** 0.7
    return shown


__all__ = ["draw"]
