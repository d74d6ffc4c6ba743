"""Axes and marks of the drawings; colours are the page's, so they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Axis:
    """A scale from values to pixels.

    Args:
        low: Value at `start`.
        high: Value at `end`.
        start: Pixel of the low value.
        end: Pixel of the high value.
        log: Whether the scale is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        low, high, at = (
            (math.log10(self.low), math.log10(self.high), math.log10(value))
            if self.log
            else (self.low, self.high, value)
        )
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values within the scale."""
        return _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high, most)


def padded(values: Sequence[float], share: float = 0.08) -> tuple[float, float]:
    """The range of values with a margin; a range of one value gets one too."""
    low, high = min(values), max(values)
    margin = (high - low) * share or abs(high) * share or 1.0
    return low - margin, high + margin


def padded_log(values: Sequence[float], factor: float = 1.5) -> tuple[float, float]:
    """The range of positive values with a margin, for a logarithmic scale."""
    return min(values) / factor, max(values) * factor


def at(value: float) -> str:
    """A coordinate with one digit: '12.5', '12'."""
    return f"{value:.1f}".removesuffix(".0")


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line; `kind` is its class."""
    return f'<line class="{kind}" x1="{at(x1)}" y1="{at(y1)}" x2="{at(x2)}" y2="{at(y2)}"/>'


def path(points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line through points."""
    told = " ".join(f"{at(x)},{at(y)}" for x, y in points)
    return f'<polyline class="{kind}" points="{told}"/>'


def dot(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """A point, with a text that appears on it."""
    told = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle class="{kind}" cx="{at(x)}" cy="{at(y)}" r="{at(radius)}">{told}</circle>'


def words(x: float, y: float, told: str, kind: str, anchor: str = "middle") -> str:
    """A text."""
    return (
        f'<text class="{kind}" x="{at(x)}" y="{at(y)}" text-anchor="{anchor}">{escape(told)}</text>'
    )


def drawing(width: float, height: float, marks: Sequence[str], label: str) -> str:
    """The whole drawing; `label` is what a screen reader says."""
    return (
        f'<svg viewBox="0 0 {at(width)} {at(height)}" role="img" aria-label="{escape(label)}">'
        f"{''.join(marks)}</svg>"
    )


def short(value: float) -> str:
    """A tick's text: '0.85', '10', '0.001', '1k'."""
    if abs(value) >= 1000 and value % 1000 == 0:
        return f"{value / 1000:,.0f}k"
    return f"{value:.10g}"


def _ticks(low: float, high: float, most: int) -> list[float]:
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1.0, 2.0, 5.0, 10.0) if s * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        found = [s * 10.0**p for p in powers for s in steps if low <= s * 10.0**p <= high]
        if len(found) >= 3:
            break
    return found[:: max(1, len(found) // 8 + (len(found) > 8))]


__all__ = [
    "Axis",
    "at",
    "dot",
    "drawing",
    "line",
    "padded",
    "padded_log",
    "path",
    "short",
    "words",
]
