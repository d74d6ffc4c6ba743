"""The look that all figures share, and how they are saved; no state of pyplot is touched."""

from __future__ import annotations

import io
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fusionzoo.evaluation.results import Evaluation
from fusionzoo.storage import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's palette, told apart with any colour vision; the reference output comes first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1.5, 2)), (0, (8, 2)), (0, (3, 3)))
INK, FAINT = "#222222", "#8A8A8A"
_DPI = 160
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.fontsize": 9.5,
    "legend.title_fontsize": 9.5,
}


def styled() -> AbstractContextManager[None]:
    """A context without the user's own matplotlib settings: figures are the same everywhere."""
    import matplotlib

    settings: Any = dict(matplotlib.rcParamsDefault) | _STYLE
    del settings["backend"]
    return matplotlib.rc_context(settings)


def new_figure(title: str, side: float = 5.2) -> tuple[Figure, Axes]:
    """A square figure with one pair of axes; `side` in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(side, side), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", pad=10)
    return figure, axes


def look(index: int) -> dict[str, Any]:
    """Colour and dashes of the curve with this index."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}


def unit_square(axes: Axes, x_label: str, y_label: str) -> None:
    """Both axes from 0 to 1, equally long, with a dashed diagonal."""
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1, zorder=1)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel=x_label, ylabel=y_label)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.grid(color="#E6E6E6", linewidth=0.7)
    axes.set_axisbelow(True)


def legend(axes: Axes, place: Literal["lower right", "upper left"], title: str = "") -> None:
    """A legend on a faint white ground, left-aligned title."""
    box = axes.legend(
        loc=place, framealpha=0.9, edgecolor="none", handlelength=2.6, title=title or None
    )
    box.set_alignment("left")
    box.set_zorder(10)


def default_title(evaluation: Evaluation, task: str, output: str) -> str:
    """Task, cases and patients."""
    row = evaluation.row(task, output)
    return f"{task}  ({row.num_cases} cases, {row.num_patients} patients)"


def outputs_of(evaluation: Evaluation, task: str) -> list[str]:
    """Outputs that were scored for a task, the reference first."""
    return [row.output for row in evaluation.results if row.task == task]


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a PNG, whole or not at all; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return write_atomic(path, buffer.getvalue())
