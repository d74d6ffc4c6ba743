"""Figures of a board's rows: from predictions of their runs, or from their records alone."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fusionzoo.evaluation.folds import spread
from fusionzoo.evaluation.plots.calibration import reliability
from fusionzoo.evaluation.pooled import FoldMean, FoldRun, Pool
from fusionzoo.evaluation.weighted import Array
from fusionzoo.leaderboard.cache import BoardCache
from fusionzoo.leaderboard.facts import DIGITS, RunFacts
from fusionzoo.leaderboard.layout import Layout, LayoutRow
from fusionzoo.leaderboard.options import BoardOptions
from fusionzoo.records.store import RunStore
from fusionzoo.schema import canonical, dumps, from_json

#: Bins of a reliability curve, of equal numbers of cases.
_BINS = 10


@dataclass(frozen=True)
class Score:
    """One metric of a row.

    Args:
        value: Mean over folds of the mean over a fold's runs; NaN where undefined.
        low: Lower limit of its interval.
        high: Upper limit.
        sd: Sample standard deviation over folds.
        by_fold: Mean over runs of each test set.
        reason: Why something is undefined, or what to beware of.
    """

    value: float
    low: float
    high: float
    sd: float
    by_fold: dict[str, float]
    reason: str = ""


@dataclass(frozen=True)
class RowScores:
    """All metrics of a row.

    Args:
        scores: By `key(task, metric)`.
        reliability: Per two-class task: mean probability and share of positives per bin.
    """

    scores: dict[str, Score]
    reliability: dict[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class BoardScores:
    """Figures of all rows of a board.

    Args:
        rows: One per row of the layout; None where no run is done.
        drawn: Per row, the ranking metric in each replicate; empty without predictions.
        num_patients: Patients of all test sets; 0 without predictions.
    """

    rows: tuple[RowScores | None, ...]
    drawn: tuple[Array, ...]
    num_patients: int


def key(task: str, metric: str) -> str:
    """Name of a figure: 'malignancy/auroc'."""
    return f"{task}/{metric}"


def scores_from_records(layout: Layout, options: BoardOptions) -> BoardScores:
    """Figures from records alone: nothing is read again.

    The interval of a mean over folds is that of the corrected t-test (Nadeau and Bengio 2003), for
    a model trained anew: mean ± t sqrt((1 / J + n_test / n_train) var). With one fold it is the
    run's own.
    """
    rows = tuple(_from_records(row.runs, options) if row.runs else None for row in layout.rows)
    return BoardScores(rows, tuple(np.empty(0) for _ in rows), 0)


def share_tested(runs: Sequence[RunFacts]) -> float:
    """Mean share of the cases that a run tests."""
    return float(np.mean([run.counts["test"] / sum(run.counts.values()) for run in runs]))


def _from_records(runs: Sequence[RunFacts], options: BoardOptions) -> RowScores:
    share = share_tested(runs)
    found = {}
    for task, metrics in runs[0].scores.items():
        for metric in metrics:
            told = [(run.test_set, _numbers(run.scores[task][metric])) for run in runs]
            found[key(task, metric)] = _over_folds(told, share, options.level)
    return RowScores(found)


def _over_folds(told: Sequence[tuple[str, Array]], share: float, level: float) -> Score:
    """One metric from value, lower and upper limit of each run."""
    from scipy.stats import t as student

    by_fold = {
        fold: float(np.mean([numbers[0] for other, numbers in told if other == fold]))
        for fold in sorted({fold for fold, _ in told})
    }
    over = spread(dict(enumerate(by_fold.values())))
    folds = len(by_fold)
    if folds == 1:
        _, low, high = np.mean([numbers for _, numbers in told], axis=0)
    else:
        scale = 1 / folds + share / (1 - share)
        half = float(student.ppf((1 + level) / 2, folds - 1)) * over.sd * math.sqrt(scale)
        low, high = over.mean - half, over.mean + half
    return _rounded(Score(over.mean, float(low), float(high), over.sd, by_fold, over.reason))


def scores_from_predictions(
    store: RunStore,
    layout: Layout,
    options: BoardOptions,
    cache: BoardCache,
    ranked_by: str,
    names: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BoardScores:
    """Figures from predictions: all patients of all test sets are drawn together, for all rows.

    Args:
        store: Where the predictions are.
        layout: The rows.
        options: Draws and level.
        cache: What was worked out before.
        ranked_by: Key of the figure that rows are compared by.
        names: Metrics that are wanted.
        progress: Called with the number of rows done and the total.

    Raises:
        RunError: Predictions are absent, are not those of their record, or runs of one test set are
            not on the same cases.
    """
    done = [row for row in layout.rows if row.runs]
    measured = _Measuring(store, layout, options, cache, ranked_by, names)
    rows: list[RowScores | None] = []
    drawn: list[Array] = []
    for row in layout.rows:
        scores, draws = measured.row(row) if row.runs else (None, np.empty(0))
        rows.append(scores)
        drawn.append(draws)
        progress(sum(one is not None for one in rows), len(done))
    return BoardScores(tuple(rows), tuple(drawn), measured.num_patients if done else 0)


class _Measuring:
    """Measures rows on one pool, which is only read where something isn't in the cache."""

    def __init__(
        self,
        store: RunStore,
        layout: Layout,
        options: BoardOptions,
        cache: BoardCache,
        ranked_by: str,
        names: Sequence[str],
    ):
        self.store, self.options, self.cache = store, options, cache
        self.ranked_by, self.names = ranked_by, sorted(names)
        self.firsts: dict[str, RunFacts] = {}
        for run in layout.runs:
            self.firsts.setdefault(run.test_set, run)
        self._pool: Pool | None = None

    @property
    def pool(self) -> Pool:
        """The test sets, read at the first use."""
        if self._pool is None:
            runs = [self.read(run) for run in self.firsts.values()]
            binary = next(iter(self.firsts.values())).binary
            self._pool = Pool.of(
                runs,
                replicates=self.options.replicates,
                seed=self.options.seed,
                binary=binary,
            )
        return self._pool

    @property
    def num_patients(self) -> int:
        """Patients of all test sets."""
        name = self._key("patients", [])
        kept = self.cache.scores(name)
        if kept is None:
            self.cache.put_scores(name, str(self.pool.num_patients), b"")
            return self.pool.num_patients
        return int(kept[0])

    def row(self, row: LayoutRow) -> tuple[RowScores, Array]:
        """Scores of a row, and draws of the ranking metric."""
        name = self._key(self.ranked_by, row.runs)
        kept = self.cache.scores(name)
        if kept is not None:
            scores = from_json(RowScores, json.loads(kept[0]), "a row of the board's cache")
            return scores, np.frombuffer(kept[1], dtype="<f8")
        scores, drawn = self._measured(row)
        self.cache.put_scores(name, dumps(scores, indent=None), drawn.astype("<f8").tobytes())
        return scores, drawn

    def read(self, run: RunFacts) -> FoldRun:
        """What a run predicted for its test part."""
        predictions = self.store.verified_predictions(run.run_id, run.predictions_digest)
        tasks = {
            task: predictions.select(part=run.part, task=task, output=run.output)
            for task in run.tasks
        }
        return FoldRun(run.run_id, run.test_set, tasks, run.thresholds)

    def _measured(self, row: LayoutRow) -> tuple[RowScores, Array]:
        runs = [self.read(run) for run in row.runs]
        means = self.pool.measure(runs, self.names)
        scores = {key(*name): self._score(mean) for name, mean in means.items()}
        drawn = {key(*name): mean.drawn for name, mean in means.items()}
        draws = drawn.get(self.ranked_by, np.full(self.options.replicates, math.nan))
        return RowScores(scores, dict(_reliability(runs))), draws

    def _score(self, mean: FoldMean) -> Score:
        interval = mean.interval(self.options.level)
        reason = mean.reason or interval.reason
        return _rounded(
            Score(mean.value, interval.low, interval.high, mean.sd, dict(mean.by_fold), reason)
        )

    def _key(self, what: str, runs: Sequence[RunFacts]) -> str:
        """Hash of all that the result depends on."""
        told = {
            "what": [what, self.names],
            "pool": sorted([f, r.data_digest, r.split_digest] for f, r in self.firsts.items()),
            "runs": [[r.test_set, r.predictions_digest, r.output, r.thresholds] for r in runs],
            "tasks": [[r.part, r.binary, r.tasks] for r in runs],
            "draws": [self.options.replicates, self.options.seed, self.options.level],
        }
        return hashlib.sha256(canonical(told).encode()).hexdigest()


def _reliability(runs: Sequence[FoldRun]) -> Iterator[tuple[str, tuple[tuple[float, ...], ...]]]:
    """Reliability curves of two-class tasks over the cases of all runs."""
    for task, first in runs[0].tasks.items():
        if first.probs.shape[1] == 2:
            chosen = [run.tasks[task] for run in runs]
            labels = np.concatenate([one.labels for one in chosen])
            probs = np.concatenate([one.probs[:, 1] for one in chosen])
            means, shares = reliability(probs[labels >= 0], labels[labels >= 0] == 1, _BINS)
            yield task, tuple(tuple(np.round(line, 4).tolist()) for line in (means, shares))


def _rounded(score: Score) -> Score:
    return Score(
        value=round(score.value, DIGITS),
        low=round(score.low, DIGITS),
        high=round(score.high, DIGITS),
        sd=round(score.sd, DIGITS),
        by_fold={fold: round(value, DIGITS) for fold, value in score.by_fold.items()},
        reason=score.reason,
    )


def _numbers(told: Sequence[float | None]) -> Array:
    return np.array([math.nan if value is None else value for value in told], dtype=float)


__all__ = [
    "BoardScores",
    "RowScores",
    "Score",
    "key",
    "scores_from_predictions",
    "scores_from_records",
    "share_tested",
]
