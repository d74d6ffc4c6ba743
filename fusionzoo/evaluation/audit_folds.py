"""Whether a mean accuracy and its deviation can come from folds of equal size.

An accuracy of one fold is a count over its cases, so only some pairs of a mean and a standard
deviation over folds are possible. How many rows of a table fit tells how large the folds were, and
which deviation was taken: the wrong size fits a row only by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from fusionzoo.errors import BadOption
from fusionzoo.evaluation.audit import Printed


@dataclass(frozen=True)
class FoldFit:
    """Which rows of a table can come from folds of one size.

    Args:
        cases: Test cases of each fold.
        ddof: What is taken from the number of folds in the deviation: 1 for the sample's, 0 for the
            population's.
        totals: Per row, the totals of right answers that give it; empty where none does.
    """

    cases: int
    ddof: int
    totals: Mapping[str, tuple[int, ...]]

    @property
    def fitting(self) -> int:
        """Rows that some total gives."""
        return sum(map(bool, self.totals.values()))


def folds_fit(
    mean: Printed, deviation: Printed, *, folds: int, cases: int, ddof: int = 1
) -> tuple[int, ...]:
    """Totals of right answers for which fold accuracies have this mean and standard deviation.

    Every fold tests `cases` cases. A total is possible where counts k_1 ... k_folds exist that sum
    to it and whose standard deviation (with `ddof` taken from the number of folds) is printed so.

    Raises:
        BadOption: So many folds or cases have no deviation.
    """
    if folds <= ddof or cases < 1:
        raise BadOption(
            f"{folds} folds of {cases} cases have no standard deviation with ddof={ddof}."
        )
    totals = np.arange(folds * cases + 1)
    wanted = totals[mean.fits(totals / (folds * cases))]
    found = []
    for total in map(int, wanted):
        squares = np.array(_sums_of_squares(folds, cases, total), float)
        spread = np.maximum(squares - total**2 / folds, 0) / (folds - ddof)
        if deviation.fits(np.sqrt(spread) / cases).any():
            found.append(total)
    return tuple(found)


def fold_sizes(
    rows: Mapping[str, tuple[Printed, Printed]],
    *,
    folds: int,
    sizes: Iterable[int],
    ddofs: Iterable[int] = (1, 0),
) -> list[FoldFit]:
    """How many rows fit folds of each size, under each deviation; most first, then as given.

    Args:
        rows: Printed mean and deviation of each row.
        folds: Number of folds.
        sizes: Test cases of a fold, each tried.
        ddofs: Deviations, each tried.
    """
    tried = [
        FoldFit(
            cases,
            ddof,
            {
                label: folds_fit(mean, deviation, folds=folds, cases=cases, ddof=ddof)
                for label, (mean, deviation) in rows.items()
            },
        )
        for cases in sizes
        for ddof in ddofs
    ]
    return sorted(tried, key=lambda fit: -fit.fitting)


def _sums_of_squares(folds: int, cases: int, total: int) -> list[int]:
    """Every sum of squares of `folds` counts from 0 to `cases` that add up to `total`."""
    mask = _reachable(folds, cases)[total]
    return [i for i, bit in enumerate(reversed(f"{mask:b}")) if bit == "1"]


@cache
def _reachable(folds: int, cases: int) -> tuple[int, ...]:
    """Per total, a number whose bit q says whether counts with that total have squares of sum q."""
    before = [1] + [0] * (folds * cases)
    for _ in range(folds):
        after = [0] * len(before)
        for total, mask in enumerate(before):
            for count in range(min(cases, len(before) - 1 - total) + 1 if mask else 0):
                after[total + count] |= mask << (count * count)
        before = after
    return tuple(before)


__all__ = ["FoldFit", "fold_sizes", "folds_fit"]
