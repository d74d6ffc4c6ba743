"""Accuracy against cost: rows as points with intervals, and those that nothing beats on both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fusionzoo.leaderboard.plots import svg
from fusionzoo.leaderboard.plots.svg import Axis
from fusionzoo.leaderboard.render import text
from fusionzoo.leaderboard.table import Column, Row, Table

WIDTH, HEIGHT = 720.0, 380.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 18.0, 14.0, 44.0
#: Up to so many points, all are named; of more, only those of the front.
_NAMED = 16
_LONGEST = 34
#: Where a name may stand beside its point, the best place first.
_PLACES = (
    (9.0, -8.0, "start"),
    (-9.0, -8.0, "end"),
    (11.0, 4.0, "start"),
    (-11.0, 4.0, "end"),
    (9.0, 17.0, "start"),
    (-9.0, 17.0, "end"),
)


@dataclass(frozen=True)
class _Point:
    label: str
    cost: float
    value: float
    low: float
    high: float
    tier: int


def draw_pareto(table: Table, cost: Column) -> str:
    """The drawing of one cost; nothing where fewer than two rows have it.

    Args:
        table: The board.
        cost: A column of its group `cost`.
    """
    ranking = table.column(table.ranked_by)
    points = [p for row in table.rows if (p := _point(row, ranking, cost))]
    if len(points) < 2:
        return ""
    reach = [y for p in points for y in (p.value, p.low, p.high) if not math.isnan(y)]
    x = Axis(*svg.padded_log([p.cost for p in points]), _LEFT, WIDTH - _RIGHT, log=True)
    y = Axis(*svg.padded(reach), HEIGHT - _BOTTOM, _TOP)
    best = front(
        [(p.cost, p.value) for p in points], higher_is_better=ranking.higher_is_better is not False
    )
    marks = [*_axes(x, y, text.heading(cost), ranking.label), _steps(points, best, x, y)]
    for index, point in enumerate(points):
        marks += _marks(point, index in best, x, y, ranking, cost)
    named = range(len(points)) if len(points) <= _NAMED else best
    marks += _labels([points[index] for index in named], points, x, y)
    told = f"{ranking.label} against {text.heading(cost)}, {len(points)} models"
    return svg.drawing(WIDTH, HEIGHT, marks, told)


def front(points: Sequence[tuple[float, float]], *, higher_is_better: bool = True) -> list[int]:
    """Indices of points that no other one beats: as cheap and better, or cheaper and as good.

    Example:
        >>> front([(1.0, 0.7), (2.0, 0.9), (3.0, 0.8), (4.0, 0.95)])
        [0, 1, 3]
    """
    sign = 1 if higher_is_better else -1
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -sign * points[i][1]))
    found: list[int] = []
    for index in order:
        if not found or sign * points[index][1] > sign * points[found[-1]][1]:
            found.append(index)
    return found


def _point(row: Row, ranking: Column, cost: Column) -> _Point | None:
    value, price = row.figures.get(ranking.key), row.figures.get(cost.key)
    if value is None or price is None or not row.tier or not price.value > 0:
        return None
    return _Point(row.label, price.value, value.value, value.low, value.high, row.tier)


def _axes(x: Axis, y: Axis, x_label: str, y_label: str) -> list[str]:
    marks = []
    for value in y.ticks():
        marks.append(svg.line(x.start, y(value), x.end, y(value), "grid"))
        marks.append(svg.words(x.start - 8, y(value) + 4, svg.short(value), "tick", "end"))
    for value in x.ticks():
        marks.append(svg.line(x(value), y.start, x(value), y.start + 4, "axis"))
        marks.append(svg.words(x(value), y.start + 18, svg.short(value), "tick"))
    marks.append(svg.line(x.start, y.start, x.end, y.start, "axis"))
    marks.append(svg.words((x.start + x.end) / 2, HEIGHT - 6, x_label, "label"))
    middle = (y.start + y.end) / 2
    marks.append(
        f'<text class="label" text-anchor="middle" transform="rotate(-90 14 {svg.at(middle)})" '
        f'x="14" y="{svg.at(middle)}">{y_label}</text>'
    )
    return marks


def _steps(points: Sequence[_Point], best: Sequence[int], x: Axis, y: Axis) -> str:
    """The front as steps: what a price buys at most."""
    corners: list[tuple[float, float]] = []
    for index in best:
        here = x(points[index].cost)
        if corners:
            corners.append((here, corners[-1][1]))
        corners.append((here, y(points[index].value)))
    corners.append((x.end, corners[-1][1]))
    return svg.path(corners, "front")


def _marks(
    point: _Point, on_front: bool, x: Axis, y: Axis, ranking: Column, cost: Column
) -> list[str]:
    told = (
        f"{point.label}: {ranking.label} {text.number(point.value, ranking.decimals)}, "
        f"{text.heading(cost)} {text.cost(point.cost)}"
    )
    marks = []
    if not math.isnan(point.low):
        marks.append(svg.line(x(point.cost), y(point.low), x(point.cost), y(point.high), "bar"))
    kind = f"point tier{min(point.tier, 3)}" + (" best" if on_front else "")
    marks.append(svg.dot(x(point.cost), y(point.value), 5.0, kind, told))
    return marks


def _labels(named: Sequence[_Point], points: Sequence[_Point], x: Axis, y: Axis) -> list[str]:
    """Names beside the points, each where it hides nothing, or left out."""
    taken = [(x(p.cost) - 6, y(p.value) - 6, x(p.cost) + 6, y(p.value) + 6) for p in points]
    marks = []
    for point in named:
        told = _clipped(point.label)
        px, py, width = x(point.cost), y(point.value), 6.2 * len(told)
        for dx, dy, anchor in _PLACES:
            left = px + dx if anchor == "start" else px + dx - width
            box = (left, py + dy - 10, left + width, py + dy + 3)
            inside = box[0] > x.start and box[2] < x.end and box[1] > 0 and box[3] < y.start
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                marks.append(svg.words(px + dx, py + dy, told, "name", anchor))
                break
    return marks


def _clipped(label: str) -> str:
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


__all__ = ["draw_pareto", "front"]
