"""Metrics of a run within groups of its test cases: categories, thirds of numbers, absences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fusionzoo.evaluation.bootstrap import bootstrap_intervals
from fusionzoo.evaluation.metrics import compute_metrics
from fusionzoo.evaluation.results import Estimate
from fusionzoo.reopen import Reopened

#: Below so many cases, or cases of one class, a group says little.
FEW_CASES, FEW_OF_A_CLASS = 30, 10
BINARY = ("auroc", "sensitivity", "specificity")
MULTICLASS = ("auroc", "accuracy")


@dataclass(frozen=True)
class Subgroup:
    """One group of test cases.

    Args:
        column: What they are grouped by.
        name: What they have in common.
        num_cases: Labelled cases.
        num_patients: Patients that they are of.
        counts: Cases of each class.
        metrics: Metrics with intervals, at the run's threshold.
    """

    column: str
    name: str
    num_cases: int
    num_patients: int
    counts: tuple[int, ...]
    metrics: Mapping[str, Estimate]

    @property
    def warning(self) -> str:
        """Why its numbers say little; empty where they can be read."""
        if self.num_cases < FEW_CASES:
            return f"fewer than {FEW_CASES} cases"
        if min(self.counts) < FEW_OF_A_CLASS:
            return f"fewer than {FEW_OF_A_CLASS} cases of a class"
        return ""


def subgroups(
    opened: Reopened, task: str, *, replicates: int = 500, level: float = 0.95
) -> tuple[Subgroup, ...]:
    """Every group of the test part, by every column of every table and by absent modalities.

    Numbers are cut into thirds at quantiles of the training part. The probabilities are those that
    the record was made from.

    Args:
        opened: The run with its data.
        task: Name of the task.
        replicates: Bootstrap draws of patients.
        level: Confidence of the intervals.
    """
    run = opened.run
    chosen = run.predictions().select(part="test", task=task, output=run.main)
    place = {case: k for k, case in enumerate(opened.dataset.cases)}
    rows = np.array([place[case] for case in chosen.cases])
    threshold = run.record.evaluation.row(task, run.main).threshold
    cut = threshold.value if threshold else 0.5
    names = BINARY if threshold else MULTICLASS
    found = []
    for column, name, members in _groups(opened, rows):
        labels = np.where(members, chosen.labels, -1)
        known = labels >= 0
        if not known.any():
            continue
        counts = np.bincount(labels[known], minlength=chosen.probs.shape[1])
        scores = compute_metrics(labels, chosen.probs, threshold=cut, names=names)
        intervals = bootstrap_intervals(
            labels,
            chosen.probs,
            chosen.groups,
            threshold=cut,
            names=names,
            replicates=replicates,
            seed=run.record.seed,
            level=level,
        )
        metrics = {
            n: Estimate(scores[n].value, intervals[n].low, intervals[n].high, intervals[n].reason)
            for n in names
        }
        patients = len(set(chosen.groups[known]))
        sizes = int(known.sum()), patients, tuple(counts.tolist())
        found.append(Subgroup(column, name, *sizes, metrics))
    return tuple(found)


def _groups(opened: Reopened, rows: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """Column, name and membership of the cases `rows`; a column with one group is left out."""
    dataset = opened.dataset
    for table, columns in dataset.columns.items():
        frame = dataset.table(table)
        for column, values in columns.categorical.items():
            cells = frame[column].iloc[rows]
            yield from _several(column, {value: _is(cells, value) for value in values}, cells)
        for column in columns.numeric:
            numbers = frame[column].astype(float)
            cells = numbers.iloc[rows]
            yield from _several(column, _thirds(numbers.iloc[opened.split.train], cells), cells)
    for modality in dataset.spec.modalities:
        there = dataset.present(modality.name)[rows]
        if not there.all():
            yield modality.name, "present", there
            yield modality.name, "absent", ~there


def _several(
    column: str, masks: Mapping[str, np.ndarray], cells: pd.Series
) -> Iterator[tuple[str, str, np.ndarray]]:
    empty = cells.isna().to_numpy()
    filled = {name: mask for name, mask in masks.items() if mask.any()}
    if empty.any():
        filled["(empty)"] = empty
    if len(filled) > 1:
        for name, mask in filled.items():
            yield column, name, mask


def _is(cells: pd.Series, value: str) -> np.ndarray:
    return (cells.astype(str) == value).to_numpy() & cells.notna().to_numpy()


def _thirds(train: pd.Series, cells: pd.Series) -> dict[str, np.ndarray]:
    """Up to three ranges, cut at the training part's thirds; each value of few different ones."""
    different = sorted(set(train.dropna()))
    if len(different) <= 3:
        return {f"{value:g}": (cells == value).to_numpy() for value in different}
    low, high = np.quantile(train.dropna(), [1 / 3, 2 / 3])
    if low == high:
        return {
            f"up to {low:.3g}": (cells <= low).to_numpy(),
            f"above {low:.3g}": (cells > low).to_numpy(),
        }
    return {
        f"up to {low:.3g}": (cells <= low).to_numpy(),
        f"{low:.3g} to {high:.3g}": ((cells > low) & (cells <= high)).to_numpy(),
        f"above {high:.3g}": (cells > high).to_numpy(),
    }
