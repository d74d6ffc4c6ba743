"""How a board is made: what it is ranked by, and how rows are compared."""

from __future__ import annotations

from dataclasses import dataclass

from fusionzoo.errors import BadOption, nearest
from fusionzoo.evaluation.metrics import METRICS
from fusionzoo.evaluation.pairs import CORRECTIONS

#: What rows are compared on: the patients they were tested on, with the models as they are, or the
#: folds, for methods trained anew.
TESTS = ("cases", "folds")


@dataclass(frozen=True)
class BoardOptions:
    """How a board is made; equal options and records give an equal board.

    Args:
        metric: Metric that rows are ranked by.
        task: Task that it is of; empty for the only one, or the mean over several.
        test: One of `TESTS`.
        correction: `holm` or `bh`, over all pairs of rows.
        level: Confidence of intervals; rows are told apart below 1 - level.
        margin: A published number is reproduced where the gap is within this for certain.
        replicates: Draws of patients.
        seed: Their seed.

    Raises:
        BadOption: All that is wrong with the values.
    """

    metric: str = "auroc"
    task: str = ""
    test: str = "cases"
    correction: str = "holm"
    level: float = 0.95
    margin: float = 0.05
    replicates: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if self.metric not in METRICS:
            problems.append(
                f"no metric is called {self.metric!r}. {nearest(self.metric, METRICS)}"
                f"There are: {', '.join(METRICS)}"
            )
        for name, value, known in (
            ("test", self.test, TESTS),
            ("correction", self.correction, CORRECTIONS),
        ):
            if value not in known:
                problems.append(f"{name} must be {' or '.join(known)}, is {value!r}")
        if not 0 < self.level < 1:
            problems.append(f"level must lie between 0 and 1, is {self.level}")
        if not 0 < self.margin < 1:
            problems.append(f"margin must lie between 0 and 1, is {self.margin}")
        if self.replicates < 100:
            problems.append(f"replicates must be 100 or more, is {self.replicates}")
        if problems:
            raise BadOption(f"A board can't be made so: {'; '.join(problems)}.")

    @property
    def alpha(self) -> float:
        """Rows are told apart where the corrected p-value is below this."""
        return round(1 - self.level, 12)


__all__ = ["TESTS", "BoardOptions"]
