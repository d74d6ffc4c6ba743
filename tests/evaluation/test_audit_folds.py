"""Means and deviations over folds: by their equation, and what one paper's tell of its folds."""

import itertools

import numpy as np
import pytest

from fusionzoo.errors import BadOption
from fusionzoo.evaluation.audit import Printed
from fusionzoo.evaluation.audit_folds import fold_sizes, folds_fit

#: Mean and deviation over five folds, in percent, of another paper's fifteen models.
ROWS = (
    ("82.0", "3.8"),
    ("80.7", "1.5"),
    ("82.0", "1.8"),
    ("84.0", "3.7"),
    ("82.7", "4.4"),
    ("84.7", "4.5"),
    ("84.0", "1.5"),
    ("84.0", "4.4"),
    ("85.3", "6.5"),
    ("87.3", "4.4"),
    ("86.7", "4.1"),
    ("86.0", "2.8"),
    ("91.3", "5.1"),
    ("88.7", "3.0"),
    ("87.3", "2.8"),
)

FOLDS = {f"{mean} {deviation} {i}": (mean, deviation) for i, (mean, deviation) in enumerate(ROWS)}
PRINTED = {
    label: tuple(Printed(float(figure) / 100, 3) for figure in figures)
    for label, figures in FOLDS.items()
}


def test_equation():
    counts = np.array([21, 25, 19, 28, 24])
    mean, deviation = counts.mean() / 30, counts.std(ddof=1) / 30
    printed = Printed(round(mean, 4), 4), Printed(round(deviation, 4), 4)
    assert folds_fit(*printed, folds=5, cases=30) == (counts.sum(),)
    with pytest.raises(BadOption, match="1 folds of 30 cases have no standard deviation"):
        folds_fit(*printed, folds=1, cases=30)


@pytest.mark.parametrize("ddof", [0, 1])
def test_every_possible_pair_is_found_and_no_other(ddof):
    possible = {
        (sum(counts), round(np.std(counts, ddof=ddof) / 4, 2))
        for counts in itertools.product(range(5), repeat=3)
    }
    for total, deviation in itertools.product(range(13), np.arange(0, 0.7, 0.01).round(2)):
        printed = Printed(total / 12, 6), Printed(float(deviation), 2)
        found = folds_fit(*printed, folds=3, cases=4, ddof=ddof)
        assert (found == (total,)) == ((total, deviation) in possible)


def test_deviations_tell_the_size_of_the_folds():
    best, second, *_ = fold_sizes(PRINTED, folds=5, sizes=range(24, 41))
    assert (best.cases, best.ddof, best.fitting) == (30, 1, 12)
    assert (second.cases, second.ddof, second.fitting) == (30, 0, 5)
    assert {FOLDS[label][1] for label, totals in best.totals.items() if not totals} == {"4.4"}
    (claimed,) = fold_sizes(PRINTED, folds=5, sizes=[32], ddofs=[1])
    assert claimed.fitting <= 1
