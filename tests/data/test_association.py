import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fusionzoo.data.association import one_to_one, separation


def test_numbers_are_their_own_score():
    rng = np.random.default_rng(0)
    positive = rng.random(60) < 0.4
    values = np.round(rng.normal(size=60) - positive, 1)
    values[[3, 10]] = np.nan
    known = ~np.isnan(values)
    area = roc_auc_score(positive[known], values[known])
    assert area < 0.5
    assert separation(pd.Series(values), positive) == pytest.approx(1 - area)


def test_categories_score_by_their_share_of_positives():
    values = pd.Series(["a"] * 10 + ["b"] * 10 + ["c"] * 10 + [None], dtype=object)
    positive = np.array([True] * 9 + [False] * 11 + [True] * 5 + [False] * 5 + [True])
    share = [0.9] * 10 + [0.0] * 10 + [0.5] * 10
    assert separation(values, positive) == pytest.approx(roc_auc_score(positive[:30], share))


@pytest.mark.parametrize("size", [8, 16, 17, 40])
def test_what_chance_could_do_is_not_judged(size):
    positive = np.arange(size) % 2 == 0
    area = separation(pd.Series(positive.astype(float)), positive)
    assert area == (1.0 if size >= 17 else None)


def test_one_class_and_many_categories_are_not_judged():
    assert separation(pd.Series(np.arange(40.0)), np.ones(40, dtype=bool)) is None
    names = pd.Series([f"n{i}" for i in range(40)], dtype=object)
    assert separation(names, np.arange(40) % 2 == 0) is None


@pytest.mark.parametrize(
    ("values", "codes", "wanted"),
    [
        (["x", "y", "x", None], [1, 0, 1, 0], True),
        (["x", "y", "x", "z"], [1, 0, 1, -1], True),
        (["x", "y", "z", "z"], [1, 0, 1, 1], False),
        (["x", "y", "x", "x"], [1, 0, 1, 0], False),
        (["x", "x", "x", "x"], [1, 1, 1, 1], False),
    ],
)
def test_one_to_one(values, codes, wanted):
    assert one_to_one(pd.Series(values, dtype=object), np.array(codes)) is wanted
