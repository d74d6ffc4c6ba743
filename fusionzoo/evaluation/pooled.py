"""One model's metrics over several folds and seeds, with draws of patients that models share.

A model's value is the mean over folds of the mean over a fold's runs (seeds). Probabilities of
different folds come from different trained models, so they are never put into one curve. For the
interval, the patients of all folds together are drawn with replacement, each with all cases, and
every fold is scored on those of its cases that were drawn: one draw for all folds, runs, tasks,
metrics and models. So differences between models are paired, and a patient whose cases are tested
more than once counts as one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fusionzoo.errors import RunError
from fusionzoo.evaluation.bootstrap import Interval, Resampling, percentile_interval
from fusionzoo.evaluation.folds import spread
from fusionzoo.evaluation.metrics import Scored, check_scored, why_undefined
from fusionzoo.evaluation.predictions import Selection
from fusionzoo.evaluation.report import averaged_metric
from fusionzoo.evaluation.results import MEAN
from fusionzoo.evaluation.weighted import Array

#: Metrics whose replicates lie above the value, since patients drawn twice make bins rougher: they
#: are shifted back by the difference of means.
BIASED = ("ece",)
#: Case weights of folds are kept for the next run while they are fewer values than this.
_KEPT_VALUES = 16_000_000


@dataclass(frozen=True)
class FoldRun:
    """What one run predicted for the cases of its test part.

    Args:
        name: What errors call the run.
        fold: Name of the test set; runs of one fold are on the same cases.
        tasks: Predictions per task.
        thresholds: Threshold of each two-class task, chosen on validation data.
    """

    name: str
    fold: str
    tasks: Mapping[str, Selection]
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class FoldMean:
    """A metric over folds.

    Args:
        value: Mean over folds of the mean over a fold's runs; NaN with a reason where undefined.
        by_fold: The mean over runs of each fold.
        drawn: The value in each replicate.
        reason: Why it has no value.
    """

    value: float
    by_fold: Mapping[str, float]
    drawn: Array
    reason: str = ""

    @property
    def sd(self) -> float:
        """Sample standard deviation over folds (n - 1); NaN with fewer than two."""
        return spread(dict(enumerate(self.by_fold.values()))).sd

    def interval(self, level: float = 0.95) -> Interval:
        """Percentile interval of the value."""
        if math.isnan(self.value):
            return Interval(math.nan, math.nan, self.reason)
        return percentile_interval(self.drawn, level)


@dataclass
class Pool:
    """The test sets of all folds, and draws of their patients.

    Args:
        folds: Per fold, a run whose cases all others of the fold must have.
        resampling: Draws of the patients of all folds together.
        binary: What sensitivity and specificity of a two-class task are in the mean over tasks:
            `positive` or `macro`, as in an `Evaluation`.
    """

    folds: Mapping[str, FoldRun]
    resampling: Resampling
    binary: str = "positive"
    _weights: dict[tuple[str, str], Array] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        runs: Iterable[FoldRun],
        *,
        replicates: int = 2000,
        seed: int = 0,
        binary: str = "positive",
    ) -> Pool:
        """A pool of the folds that some runs are on.

        Args:
            runs: One run of each fold at least; the first of a fold says what its cases are.
            replicates: Draws of patients.
            seed: Their seed.
            binary: As for the class.
        """
        folds: dict[str, FoldRun] = {}
        for run in runs:
            folds.setdefault(run.fold, run)
        groups = [chosen.groups for run in folds.values() for chosen in run.tasks.values()]
        drawn = Resampling.draw(np.concatenate(groups), replicates=replicates, seed=seed)
        return cls(dict(sorted(folds.items())), drawn, binary)

    @property
    def num_patients(self) -> int:
        """Patients of all folds."""
        return len(self.resampling.patients)

    def measure(
        self, runs: Sequence[FoldRun], names: Sequence[str] | None = None
    ) -> dict[tuple[str, str], FoldMean]:
        """Metrics of one model by task and metric, and of their mean over several tasks.

        Args:
            runs: The model's runs, one a fold and seed, on folds of this pool.
            names: Which metrics; all that every task has by default.

        Raises:
            RunError: A run is on other cases than the pool's, or on a fold that it doesn't have.
        """
        found: dict[tuple[str, str], list[tuple[str, float, Array, str]]] = {}
        needed = None if names is None else self._needed(names)
        for run in runs:
            self._check(run)
            for task, chosen in run.tasks.items():
                for name, told in self._scores(run, task, chosen, needed).items():
                    found.setdefault((task, name), []).append((run.fold, *told))
        means = {
            (task, name): _fold_mean(told, biased=name in BIASED)
            for (task, name), told in found.items()
        }
        means |= self._task_means(means)
        return {key: mean for key, mean in means.items() if names is None or key[1] in names}

    def _needed(self, names: Sequence[str]) -> set[str]:
        """The metrics themselves, and those that their means over tasks are made of."""
        return {*names, *(averaged_metric(name, 2, self.binary) for name in names)}

    def _scores(
        self, run: FoldRun, task: str, chosen: Selection, names: Collection[str] | None
    ) -> dict[str, tuple[float, Array, str]]:
        """Value, replicates and reason of each metric of one run."""
        scored = check_scored(chosen.labels, chosen.probs)
        cut = run.thresholds.get(task, 0.5)
        wanted = [name for name in scored.names if names is None or name in names]
        exact = scored.replicates(np.ones((1, len(scored.labels))), cut, wanted)
        drawn = self._replicates(run.fold, task, scored, chosen, cut, wanted)
        told = {}
        for name in wanted:
            value = float(exact[name][0])
            reason = "" if math.isfinite(value) else why_undefined(name, scored, cut)
            told[name] = (value, drawn[name], reason)
        return told

    def _replicates(
        self,
        fold: str,
        task: str,
        scored: Scored,
        chosen: Selection,
        cut: float,
        names: Sequence[str],
    ) -> dict[str, Array]:
        patients = chosen.groups[scored.kept]
        if (fold, task) not in self._weights:
            size = len(self.resampling.counts) * len(patients)
            if sum(kept.size for kept in self._weights.values()) + size > _KEPT_VALUES:
                return self.resampling.replicates(scored, patients, cut, names)
            self._weights[fold, task] = self.resampling.weights(patients)
        return scored.replicates(self._weights[fold, task], cut, names)

    def _task_means(
        self, means: Mapping[tuple[str, str], FoldMean]
    ) -> dict[tuple[str, str], FoldMean]:
        """The unweighted mean over tasks of every metric that all of several tasks have."""
        first = next(iter(self.folds.values()))
        classes = {task: chosen.probs.shape[1] for task, chosen in first.tasks.items()}
        if len(classes) < 2:
            return {}
        found = {}
        for name in dict.fromkeys(name for _, name in means):
            sources = [(t, averaged_metric(name, n, self.binary)) for t, n in classes.items()]
            if all((task, name) in means and (task, of) in means for task, of in sources):
                found[MEAN, name] = _mean_over_tasks(
                    {task: means[task, of] for task, of in sources}
                )
        return found

    def _check(self, run: FoldRun) -> None:
        first = self.folds.get(run.fold)
        if first is None:
            raise RunError(
                f"Run {run.name} is on fold {run.fold}, which is not compared here; these are: "
                f"{', '.join(self.folds)}."
            )
        if run.tasks.keys() != first.tasks.keys():
            raise RunError(
                f"Run {run.name} has tasks {', '.join(run.tasks)}, run {first.name} has "
                f"{', '.join(first.tasks)}. Compare runs of the same tasks."
            )
        for task, chosen in run.tasks.items():
            why = _unlike(chosen, first.tasks[task])
            if why:
                raise RunError(
                    f"Runs {first.name} and {run.name} of fold {run.fold} were not tested on the "
                    f"same cases: task {task!r}: {why}. Compare runs of the same data and split."
                )


@dataclass(frozen=True)
class PairedDifference:
    """Difference of one metric between two models on the same cases, first minus second.

    Args:
        value: The difference.
        low: Lower limit of its interval, value - t se.
        high: Upper limit.
        se: Bootstrap standard error, times sqrt(n / (n - 1)) for n patients.
        p: Two-sided p-value of value / se under Student's t.
        df: Its degrees of freedom, n - 1.
        reason: Why something of it is undefined.
    """

    value: float
    low: float
    high: float
    se: float
    p: float
    df: int
    reason: str = ""

    def detectable(self, *, power: float = 0.8, alpha: float = 0.05) -> float:
        """The smallest true difference that this comparison finds with a chance of `power`."""
        return detectable_from_se(self.se, self.df, power=power, alpha=alpha)


def paired_difference(
    first: FoldMean, second: FoldMean, num_patients: int, *, level: float = 0.95
) -> PairedDifference:
    """The paired bootstrap of two models' metric over the same folds.

    The standard error is that of the replicates' differences. It gives interval and p-value by
    Student's t, so that both say the same, and so that many comparisons can be corrected: a count
    of replicates can't give p-values below one over their number.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 12.

    Args:
        first: The first model's metric.
        second: The second model's, from the same pool.
        num_patients: Patients of the pool.
        level: Confidence of the interval.

    Raises:
        RunError: The two are over different folds.
    """
    from scipy.stats import t as student

    if first.by_fold.keys() != second.by_fold.keys():
        raise RunError(
            f"One model has folds {', '.join(first.by_fold)}, the other {', '.join(second.by_fold)}"
            ". Compare them over the folds that both have."
        )
    df = max(num_patients - 1, 1)
    gap = first.value - second.value
    se, reason = _standard_error(first, second, num_patients)
    if reason:
        return PairedDifference(gap, math.nan, math.nan, se, math.nan, df, reason)
    if se == 0:
        return PairedDifference(0.0, 0.0, 0.0, 0.0, 1.0, df, "the same in every replicate")
    margin = float(student.ppf((1 + level) / 2, df)) * se
    p = float(2 * student.sf(abs(gap) / se, df))
    return PairedDifference(gap, gap - margin, gap + margin, se, p, df)


def detectable_from_se(se: float, df: int, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest true difference that a two-sided t-test finds: (t_(1 - alpha/2) + t_power) se."""
    from scipy.stats import t as student

    return float(student.ppf(1 - alpha / 2, df) + student.ppf(power, df)) * se


def _standard_error(first: FoldMean, second: FoldMean, num_patients: int) -> tuple[float, str]:
    if math.isnan(first.value) or math.isnan(second.value):
        return math.nan, first.reason or second.reason
    gaps = first.drawn - second.drawn
    limits = percentile_interval(gaps)
    if math.isnan(limits.low):
        return math.nan, limits.reason
    if num_patients < 2:
        return math.nan, "one patient only"
    spread = float(np.nanstd(gaps, ddof=1)) if np.nanmax(gaps) > np.nanmin(gaps) else 0.0
    if spread == 0 and first.value != second.value:
        return 0.0, "the difference has no variance"
    return spread * math.sqrt(num_patients / (num_patients - 1)), ""


def _fold_mean(told: list[tuple[str, float, Array, str]], *, biased: bool) -> FoldMean:
    """Mean over runs within each fold, then over folds."""
    folds = sorted({fold for fold, *_ in told})
    by_fold, drawn, reasons = {}, [], []
    for fold in folds:
        own = [run for run in told if run[0] == fold]
        by_fold[fold] = float(np.mean([value for _, value, _, _ in own]))
        drawn.append(np.mean([draws for _, _, draws, _ in own], axis=0))
        reasons += [f"fold {fold}: {why}" for *_, why in own if why]
    value = float(np.mean(list(by_fold.values())))
    replicates = np.mean(drawn, axis=0)
    if biased:
        replicates = np.maximum(replicates - (replicates.mean() - value), 0.0)
    return FoldMean(value, by_fold, replicates, "; ".join(dict.fromkeys(reasons)))


def _mean_over_tasks(own: Mapping[str, FoldMean]) -> FoldMean:
    folds = next(iter(own.values())).by_fold
    by_fold = {fold: float(np.mean([one.by_fold[fold] for one in own.values()])) for fold in folds}
    undefined = [task for task, one in own.items() if math.isnan(one.value)]
    reason = f"undefined for task {', '.join(undefined)}" if undefined else ""
    drawn = np.mean([one.drawn for one in own.values()], axis=0)
    return FoldMean(float(np.mean([one.value for one in own.values()])), by_fold, drawn, reason)


def _unlike(chosen: Selection, other: Selection) -> str:
    """How two selections' cases differ; empty where they don't."""
    if not np.array_equal(chosen.cases, other.cases):
        return _unlike_cases(chosen.cases, other.cases)
    for what, mine, theirs in (
        ("patient", chosen.groups, other.groups),
        ("label", chosen.labels, other.labels),
    ):
        where = np.flatnonzero(mine != theirs)
        if len(where):
            case, one, another = (values[where[0]] for values in (chosen.cases, theirs, mine))
            return f"case {case} has {what} {one} in one, {another} in another"
    return ""


def _unlike_cases(mine: NDArray[np.object_], theirs: NDArray[np.object_]) -> str:
    lost, new = sorted(set(theirs) - set(mine)), sorted(set(mine) - set(theirs))
    counts = f"{len(theirs)} cases and {len(mine)}"
    return f"{counts}; only one has {', '.join((lost + new)[:3])}"


__all__ = [
    "FoldMean",
    "FoldRun",
    "PairedDifference",
    "Pool",
    "detectable_from_se",
    "paired_difference",
]
