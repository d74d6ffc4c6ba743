"""Small multiples: one little square for each row's curve, all on the same axes."""

from __future__ import annotations

import math

from fusionzoo.leaderboard.plots import svg
from fusionzoo.leaderboard.plots.svg import Axis
from fusionzoo.leaderboard.table import Curve, Panel

SIDE = 132.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 22.0, 6.0, 6.0, 18.0


def draw_curve(curve: Curve, panel: Panel) -> str:
    """One row's square.

    Args:
        curve: The row's line.
        panel: The panel that it is in; its other curves set the range of the axes.
    """
    across = _range([value for one in panel.curves for value in one.x], panel)
    upright = _range([value for one in panel.curves for value in one.y], panel)
    x = Axis(*across, _LEFT, SIDE - _RIGHT)
    y = Axis(*upright, SIDE - _BOTTOM, _TOP)
    marks = [svg.line(x.start, y(v), x.end, y(v), "grid") for v in upright]
    if panel.kind == "calibration":
        marks.append(svg.line(x(0.0), y(0.0), x(1.0), y(1.0), "ideal"))
    marks += [svg.words(x.start - 4, y(v) + 3, svg.short(v), "tick", "end") for v in upright]
    marks += [
        svg.words(x(v), SIDE - 5, svg.short(v), "tick", anchor)
        for v, anchor in zip(across, ("start", "end"), strict=True)
    ]
    points = [(x(a), y(b)) for a, b in zip(curve.x, curve.y, strict=True)]
    marks.append(svg.path(points, "curve"))
    marks += [svg.dot(a, b, 2.2, "knot") for a, b in points]
    return svg.drawing(SIDE, SIDE, marks, f"{panel.y_label} by {panel.x_label}: {curve.label}")


def _range(values: list[float], panel: Panel) -> tuple[float, float]:
    """0 to 1 for shares; elsewhere the tenths (of the power of ten) that hold all values."""
    if panel.kind == "calibration" or not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    step = 10.0 ** math.floor(math.log10(max(abs(low), abs(high), 1e-9)))
    step = step if step >= 1 else 0.1
    edges = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return round(edges[0], 9), round(max(edges[1], edges[0] + step), 9)


__all__ = ["draw_curve"]
