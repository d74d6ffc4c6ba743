"""One model against another over the folds and seeds that both have: every test that applies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusionzoo.errors import BadOption, MixedRuns
from fusionzoo.evaluation.comparison import (
    McNemar,
    corrected_t_test,
    mcnemar,
    wilcoxon_folds,
)
from fusionzoo.evaluation.delong import CLUSTERED, AurocComparison, compare_aurocs, mean_over_folds
from fusionzoo.evaluation.pooled import FoldMean, FoldRun, PairedDifference, Pool, paired_difference
from fusionzoo.evaluation.results import MEAN, format_p
from fusionzoo.leaderboard.comparable import check_comparable
from fusionzoo.leaderboard.facts import RunFacts
from fusionzoo.leaderboard.layout import Cell, Layout, LayoutRow
from fusionzoo.leaderboard.scores import share_tested
from fusionzoo.leaderboard.sides import Side
from fusionzoo.records.store import RunStore


@dataclass(frozen=True)
class Gap:
    """One metric of both models.

    Args:
        task: The task, or the mean over several.
        metric: Its name.
        first: The first model's value.
        second: The second model's.
        paired: First minus second, by the paired bootstrap.
    """

    task: str
    metric: str
    first: float
    second: float
    paired: PairedDifference


@dataclass(frozen=True)
class Test:
    """One test of the chosen metric.

    Args:
        name: What it is.
        asks: What it asks.
        p: P-value; NaN where it can't be made.
        remark: What to beware of, or why there is none.
    """

    __test__ = False  # for pytest, which takes the name for a test's

    name: str
    asks: str
    p: float
    remark: str = ""


@dataclass(frozen=True)
class Versus:
    """Two models compared.

    Args:
        first: What the first is called.
        second: What the second is called.
        metric: The metric that the tests are of.
        task: Its task.
        test_sets: The test sets that both have.
        left_out: Test sets that one of them lacks.
        tested: Cases and patients of the test sets, and positive cases where there are two classes.
        gaps: Every metric.
        tests: Every test of the metric.
        detectable: The smallest true difference of the metric that the paired bootstrap finds with
            80% power.
        level: Confidence of the intervals.
    """

    first: str
    second: str
    metric: str
    task: str
    test_sets: tuple[str, ...]
    left_out: tuple[str, ...]
    tested: tuple[int, int, int | None]
    gaps: tuple[Gap, ...]
    tests: tuple[Test, ...]
    detectable: float
    level: float

    @property
    def main(self) -> Gap:
        """The chosen metric."""
        return next(g for g in self.gaps if (g.task, g.metric) == (self.task, self.metric))


def compare_sides(
    first: Side,
    second: Side,
    *,
    metric: str = "auroc",
    task: str = "",
    level: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Versus:
    """Compare two models on the test sets that both have.

    Args:
        first: Runs of the first.
        second: Runs of the second.
        metric: Metric that is tested.
        task: Its task; empty for the only one, or the mean over several.
        level: Confidence of intervals.
        replicates: Draws of patients.
        seed: Their seed.

    Raises:
        MixedRuns: The runs differ in protocol, data or split, or have no test set in common.
        BadOption: They have no such task or metric.
        RunError: Predictions can't be read or are not those of their record.
    """
    _check(first, second)
    test_sets, left_out = _shared(first, second)
    own, other = (
        [_read(side.store, run) for run in side.runs if run.test_set in test_sets]
        for side in (first, second)
    )
    binary = first.runs[0].binary
    pool = Pool.of(own, replicates=replicates, seed=seed, binary=binary)
    a, b = pool.measure(own), pool.measure(other)
    chosen = task or (MEAN if (MEAN, metric) in a else next(iter(a))[0])
    if (chosen, metric) not in a:
        known = ", ".join(dict.fromkeys(f"{t}/{m}" for t, m in a))
        raise BadOption(f"The runs have no {chosen}/{metric} to compare. They have: {known}.")
    gaps = tuple(
        Gap(
            t,
            m,
            a[t, m].value,
            b[t, m].value,
            paired_difference(a[t, m], b[t, m], pool.num_patients, level=level),
        )
        for t, m in a
    )
    main = next(gap for gap in gaps if (gap.task, gap.metric) == (chosen, metric))
    return Versus(
        first=first.label,
        second=second.label,
        metric=metric,
        task=chosen,
        test_sets=test_sets,
        left_out=left_out,
        tested=_tested(first.runs, test_sets, chosen, pool.num_patients),
        gaps=gaps,
        tests=(
            _bootstrap(main.paired, replicates),
            *_on_cases(own, other, chosen, metric, level),
            *_over_folds(a[chosen, metric], b[chosen, metric], first.runs),
        ),
        detectable=main.paired.detectable(alpha=1 - level),
        level=level,
    )


def _check(first: Side, second: Side) -> None:
    rows = tuple(
        LayoutRow(side.label, "", tuple(Cell(r.run_id, r.fold, r.seed, r) for r in side.runs))
        for side in (first, second)
    )
    check_comparable(Layout(f"{first.label} against {second.label}", False, "", rows))


def _shared(first: Side, second: Side) -> tuple[tuple[str, ...], tuple[str, ...]]:
    own, other = ({run.test_set for run in side.runs} for side in (first, second))
    shared = tuple(sorted(own & other))
    if not shared:
        raise MixedRuns(
            f"{first.label} was tested on {', '.join(sorted(own))}, {second.label} on "
            f"{', '.join(sorted(other))}: no test set is the same. Run both on the same folds."
        )
    return shared, tuple(sorted(own ^ other))


def _read(store: RunStore, run: RunFacts) -> FoldRun:
    predictions = store.verified_predictions(run.run_id, run.predictions_digest)
    tasks = {
        task: predictions.select(part=run.part, task=task, output=run.output) for task in run.tasks
    }
    return FoldRun(run.run_id, run.test_set, tasks, run.thresholds)


def _tested(
    runs: Sequence[RunFacts], test_sets: Sequence[str], task: str, patients: int
) -> tuple[int, int, int | None]:
    firsts = {run.test_set: run.tested[task] for run in reversed(runs) if run.test_set in test_sets}
    positives = [told[2] for told in firsts.values()]
    known = None if None in positives else sum(positives)
    return sum(told[0] for told in firsts.values()), patients, known


def _bootstrap(paired: PairedDifference, replicates: int) -> Test:
    return Test(
        f"paired bootstrap by patient, {replicates} draws",
        "do these trained models differ",
        paired.p,
        paired.reason,
    )


def _on_cases(
    first: Sequence[FoldRun], second: Sequence[FoldRun], task: str, metric: str, level: float
) -> list[Test]:
    """DeLong's test and McNemar's, where each fold has one run of each model."""
    one_each = all(len({run.fold for run in own}) == len(own) for own in (first, second))
    if not one_each or task == MEAN or first[0].tasks[task].probs.shape[1] > 2:
        return []
    pairs = [(a, next(b for b in second if b.fold == a.fold)) for a in first]
    if metric == "auroc":
        return [_delong(pairs, task, level)]
    return [_mcnemar(pairs, task)] if metric == "accuracy" else []


def _delong(pairs: Sequence[tuple[FoldRun, FoldRun]], task: str, level: float) -> Test:
    found = mean_over_folds([_aurocs(a, b, task) for a, b in pairs], level=level)
    over = f", mean over {len(pairs)} folds" if len(pairs) > 1 else ""
    asks = "do these trained models differ"
    clustered = ", clustered by patient (Obuchowski 1997)" if found.method == CLUSTERED else ""
    return Test(f"DeLong's test{clustered}{over}", asks, found.p, found.reason)


def _aurocs(a: FoldRun, b: FoldRun, task: str) -> AurocComparison:
    one, other = a.tasks[task], b.tasks[task]
    return compare_aurocs(one.labels, one.probs[:, 1], other.probs[:, 1], one.groups)


def _mcnemar(pairs: Sequence[tuple[FoldRun, FoldRun]], task: str) -> Test:
    name, asks = "McNemar's exact test", "are these trained models right equally often"
    groups = np.concatenate([a.tasks[task].groups for a, _ in pairs])
    if len(set(groups)) < len(groups):
        return Test(name, asks, math.nan, "patients have several cases, which it can't take")
    found = _right(pairs, task)
    remark = f"only one is right in {found.only_a} and {found.only_b} cases"
    return Test(name, asks, found.p, remark)


def _right(pairs: Sequence[tuple[FoldRun, FoldRun]], task: str) -> McNemar:
    labels = np.concatenate([a.tasks[task].labels for a, _ in pairs])
    called = [
        np.concatenate([(r.tasks[task].probs[:, 1] >= r.thresholds[task]).astype(int) for r in own])
        for own in zip(*pairs, strict=True)
    ]
    return mcnemar(labels, *called)


def _over_folds(first: FoldMean, second: FoldMean, runs: Sequence[RunFacts]) -> list[Test]:
    """Tests of the methods, trained anew."""
    folds = len(first.by_fold)
    asks = "would they differ if trained anew"
    if folds < 2:
        return [Test("corrected t-test over folds", asks, math.nan, "there is one test set only")]
    values = list(first.by_fold.values()), list(second.by_fold.values())
    if not np.isfinite(values).all():
        return [Test("tests over folds", asks, math.nan, "undefined in a fold")]
    wins = sum(a > b for a, b in zip(*values, strict=True))
    t_test = corrected_t_test(*values, test_share=share_tested(runs))
    ranks = wilcoxon_folds(*values)
    return [
        Test(
            f"corrected t-test over {folds} folds",
            asks,
            t_test.p,
            t_test.reason or f"the first is higher in {wins} of {folds}",
        ),
        Test(
            f"Wilcoxon's signed-rank test over {folds} folds",
            asks,
            ranks.p,
            f"{folds} folds can't give less than p = {format_p(ranks.smallest_p)}",
        ),
    ]


__all__ = ["Gap", "Test", "Versus", "compare_sides"]
