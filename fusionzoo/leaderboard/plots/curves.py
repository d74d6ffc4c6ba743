"""Small multiples: one little square for each row's curve, all on the same axes."""

from __future__ import annotations

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
    across = _range([value for one in panel.curves for value in one.x])
    upright = _range([value for one in panel.curves for value in one.y])
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


def _range(values: list[float]) -> tuple[float, float]:
    """0 to 1, and as much more as the values need."""
    low, high = min([*values, 0.0]), max([*values, 1.0])
    return low, high


__all__ = ["draw_curve"]
