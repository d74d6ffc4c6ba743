"""What an evaluation found, as plain values that go into a record and come back unchanged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from fusionzoo.errors import RunError
from fusionzoo.evaluation.bootstrap import Difference
from fusionzoo.evaluation.comparison import McNemar
from fusionzoo.evaluation.delong import AurocComparison
from fusionzoo.evaluation.metrics import METRICS
from fusionzoo.evaluation.threshold import Threshold
from fusionzoo.schema import added, from_json, to_json

#: The row that averages a metric over all tasks.
MEAN = "mean"


@dataclass(frozen=True)
class Estimate:
    """A metric with its interval; NaN where undefined, with the reason.

    Args:
        value: The metric on all cases.
        low: Lower limit.
        high: Upper limit.
        reason: Why value or interval is undefined, or what to beware of.
    """

    value: float
    low: float
    high: float
    reason: str = ""

    def __str__(self) -> str:
        return format_estimate(self.value, self.low, self.high)


@dataclass(frozen=True)
class Row:
    """One output's results for one task.

    Args:
        task: The task, or `MEAN`.
        output: The output.
        threshold: The threshold; None for more than two classes and for the mean.
        metrics: Each metric of the task.
        num_cases: Labelled cases.
        num_patients: Patients that they are of.
        class_counts: Cases of each class; empty for the mean.
        confusion: Cases by true class and called class; empty for the mean.
    """

    task: str
    output: str
    threshold: Threshold | None
    metrics: dict[str, Estimate]
    num_cases: int
    num_patients: int
    class_counts: tuple[int, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def num_positive(self) -> int | None:
        """Cases of class 1 of a two-class task, None for other rows."""
        return self.class_counts[1] if len(self.class_counts) == 2 else None


@dataclass(frozen=True)
class Comparison:
    """The reference output against another one, on the same cases; reference minus other.

    Args:
        task: The task, or `MEAN`.
        output: The reference.
        other: The other output.
        differences: Per metric, the paired patient-level bootstrap.
        delong: The paired test of AUROCs, for two classes.
        mcnemar: The exact test of accuracies at both thresholds, where every patient has one case.
    """

    task: str
    output: str
    other: str
    differences: dict[str, Difference]
    delong: AurocComparison | None
    mcnemar: McNemar | None

    @property
    def p(self) -> float:
        """P-value of the AUROC difference: DeLong's where there is one, else the bootstrap's."""
        return self.delong.p if self.delong else self.differences["auroc"].p


@dataclass(frozen=True)
class Evaluation:
    """All results of one run on one part.

    Args:
        part: The part that was scored.
        threshold_rule: How thresholds were chosen, on `val`.
        replicates: Bootstrap draws.
        seed: Their seed.
        level: Confidence of all intervals.
        results: One row per task and output, and one per output for the mean over several tasks.
        comparisons: The reference output against each other one.
        binary: What sensitivity and specificity of a two-class task are in the mean over tasks:
            those of class 1 (`positive`), or the mean over both classes (`macro`).
    """

    part: str
    threshold_rule: str
    replicates: int
    seed: int
    level: float
    results: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    binary: Literal["macro", "positive"] = added("positive")

    @property
    def main(self) -> str:
        """The run's own output, which others are compared with."""
        return (self.comparisons or self.results)[0].output

    def row(self, task: str, output: str) -> Row:
        """One row.

        Raises:
            RunError: There is none; says which there are.
        """
        for row in self.results:
            if (row.task, row.output) == (task, output):
                return row
        known = ", ".join(f"{row.task}/{row.output}" for row in self.results)
        raise RunError(f"The evaluation has no row {task}/{output}; it has {known}.")

    def rows(self, metrics: tuple[str, ...] | None = None) -> list[dict[str, str]]:
        """The table as text, one mapping per row.

        Intervals are as in '0.941 (0.905-0.970)', undefined values '-'.
        Keys: `task`, `output`, `cases`, `patients`, `threshold`, each metric's name, and `p` of the
            AUROC difference to
        the reference output.

        Args:
            metrics: Which metrics; all by default.
        """
        p_values = {(c.task, c.other): format_p(c.p) for c in self.comparisons}
        names = metrics or tuple(
            name for name in METRICS if any(name in row.metrics for row in self.results)
        )
        return [
            {
                "task": row.task,
                "output": row.output,
                "cases": str(row.num_cases),
                "patients": str(row.num_patients),
                "threshold": f"{row.threshold.value:.3f}" if row.threshold else "",
                **{name: str(row.metrics[name]) if name in row.metrics else "" for name in names},
                "p": p_values.get((row.task, row.output), ""),
            }
            for row in self.results
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN as null."""
        return dict(to_json(self))

    @classmethod
    def from_json(cls, data: Any, source: str = "the evaluation") -> Evaluation:
        """The inverse of `to_json`.

        Raises:
            RunError: Keys are missing, unknown or of the wrong type.
        """
        return from_json(cls, data, source)


def format_estimate(value: float, low: float, high: float) -> str:
    """'0.941 (0.905-0.970)', '0.941' without an interval, '-' without a value."""
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f} ({low:.3f}-{high:.3f})"


def format_p(p: float) -> str:
    """'0.034', '<0.001', or '-' where there is none."""
    if math.isnan(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
