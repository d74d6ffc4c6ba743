import math
from dataclasses import replace

import numpy as np
import pytest

from fusionzoo.leaderboard.layout import Cell, Layout, LayoutRow
from fusionzoo.leaderboard.options import BoardOptions
from fusionzoo.leaderboard.rank import UNRANKED, complete_rows, marks, rank_rows
from fusionzoo.leaderboard.scores import BoardScores, RowScores, Score

KEY = "t/auroc"


@pytest.fixture
def board(table_store):
    """Three rows with given values in two folds, and a fourth that lacks one."""
    from fusionzoo.leaderboard.cache import BoardCache
    from fusionzoo.leaderboard.facts import read_facts
    from fusionzoo.records.store import RunStore

    facts = read_facts(RunStore(table_store), BoardCache())
    folds = [facts["00-fold0-seed0"], facts["00-fold1-seed0"]]
    cells = tuple(Cell(run.run_id, run.fold, 0, run) for run in folds)
    rows = [LayoutRow(name, "", cells) for name in ("a", "b", "c")]
    layout = Layout("board", True, "", (*rows, LayoutRow("d", "", cells[:1])))
    rng = np.random.default_rng(0)
    shared = rng.normal(size=400) * 0.02
    values = {"a": 0.80, "b": 0.95, "c": 0.94, "d": 0.99}
    scores, drawn = [], []
    for name, value in values.items():
        by_fold = {"fold 0": value + 0.01, "fold 1": value - 0.01}
        if name == "d":
            by_fold.pop("fold 1")
        scores.append(RowScores({KEY: Score(value, 0.0, 1.0, 0.01, by_fold)}))
        drawn.append(value + shared + rng.normal(size=400) * 0.01)
    return layout, BoardScores(tuple(scores), tuple(drawn), 100)


def ranked(board, *, higher_is_better=True, **options):
    told = BoardOptions(replicates=400, **options)
    return rank_rows(*board, told, KEY, higher_is_better=higher_is_better)


def test_rows_share_tiers_and_know_their_gap(board):
    standings, comparisons = ranked(board)
    assert [one.tier for one in standings] == [2, 1, 1, 0]
    a, b, c, d = standings
    assert d is UNRANKED or d == UNRANKED
    assert (a.gap, b.gap, c.gap) == pytest.approx((-0.15, 0.0, -0.01))
    assert a.low < a.gap < a.high < 0
    assert c.low < 0 < c.high
    assert a.p < 0.05 < c.p
    assert math.isnan(b.p)
    assert comparisons.count == 3
    assert (comparisons.method, comparisons.correction) == ("paired bootstrap by patient", "Holm")
    assert 0.02 < comparisons.detectable < comparisons.detectable_corrected


def test_lower_can_be_better(board):
    standings, _ = ranked(board, higher_is_better=False)
    assert [one.tier for one in standings] == [1, 2, 2, 0]
    assert standings[1].gap == pytest.approx(0.15)


def test_folds_and_other_corrections(board):
    standings, comparisons = ranked(board, test="folds", correction="bh")
    # Every fold has the same differences, so that there is no variance to test with.
    assert [one.tier for one in standings] == [1, 1, 1, 0]
    assert comparisons.method.startswith("corrected t-test over folds")
    assert comparisons.correction == "Benjamini-Hochberg"


def test_only_rows_on_all_test_sets_are_complete(board):
    layout, scores = board
    assert complete_rows(layout, scores, KEY) == [0, 1, 2]
    undefined = Score(math.nan, 0.0, 1.0, 0.1, {"fold 0": 0.5, "fold 1": math.nan}, "why")
    spoilt = replace(scores, rows=(RowScores({KEY: undefined}), None, *scores.rows[2:]))
    assert complete_rows(layout, spoilt, KEY) == [2]


def test_nothing_to_rank(board):
    layout, scores = board
    empty = replace(scores, rows=(None,) * 4)
    standings, comparisons = rank_rows(layout, empty, BoardOptions(), KEY, higher_is_better=True)
    assert set(standings) == {UNRANKED}
    assert comparisons.count == 0
    assert math.isnan(comparisons.detectable)


@pytest.mark.parametrize(
    ("values", "higher", "told"),
    [
        ({0: 0.91, 1: 0.95, 2: 0.93}, True, {1: "best", 2: "second"}),
        ({0: 0.91, 1: 0.95, 2: 0.93}, False, {0: "best", 2: "second"}),
        # What prints alike is marked alike.
        ({0: 0.9504, 1: 0.9501, 2: 0.93, 3: 0.9302}, True, dict.fromkeys((0, 1), "best")),
        ({0: math.nan, 1: 0.5}, True, {1: "best"}),
        ({}, True, {}),
    ],
)
def test_marks_are_those_of_the_papers(values, higher, told):
    found = marks(values, 3, higher)
    assert told.items() <= found.items()
    assert list(found.values()).count("second") == (2 if len(values) == 4 else len(told) == 2)
