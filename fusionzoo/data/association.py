"""How well one column alone tells two groups of cases apart, and whether chance could do it."""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd

#: A perfect separation that random labels reach with a larger probability says nothing.
CHANCE = 1e-4


def separation(column: pd.Series, positive: np.ndarray) -> float | None:
    """Area under the ROC curve of one column, in the better direction, over its known cells.

    A numeric column is its own score; a value of another column has the share of positive cases
    with this value as its score, which flatters columns of many values. So a column with more than
    one value per ten cases is not judged.

    Args:
        column: float64, or objects with None where the cell is empty.
        positive: Boolean, one entry a row.

    Returns:
        0.5 to 1; None where there are too few cases: even a perfect separation of this many cases,
        of probability 2 / C(n, positives), has a probability of `CHANCE` or more.
    """
    known = column.notna().to_numpy()
    labels = positive[known]
    num_positive, num_cases = int(labels.sum()), len(labels)
    if 2 / comb(num_cases, num_positive) >= CHANCE:
        return None
    scores = column[known]
    if not pd.api.types.is_numeric_dtype(scores):
        if scores.nunique() * 10 > num_cases:
            return None
        scores = (
            pd.Series(labels.astype(float), index=scores.index).groupby(scores).transform("mean")
        )
    ranks = scores.rank().to_numpy()
    pairs = num_positive * (num_cases - num_positive)
    area = float((ranks[labels].sum() - num_positive * (num_positive + 1) / 2) / pairs)
    return max(area, 1 - area)


def one_to_one(column: pd.Series, codes: np.ndarray) -> bool:
    """Whether each value goes with one class and each class with one value, of two or more."""
    known = column.notna().to_numpy() & (codes >= 0)
    pairs = pd.DataFrame(
        {"value": column[known].to_numpy(), "code": codes[known]}
    ).drop_duplicates()
    return len(pairs) > 1 and pairs["value"].is_unique and pairs["code"].is_unique
