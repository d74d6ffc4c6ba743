import math
import shutil

import numpy as np
import pytest
from scipy import stats

from fusionzoo.errors import RunError
from fusionzoo.evaluation.metrics import compute_metrics
from fusionzoo.leaderboard.cache import BoardCache
from fusionzoo.leaderboard.facts import read_facts
from fusionzoo.leaderboard.layout import grouped_layouts
from fusionzoo.leaderboard.options import BoardOptions
from fusionzoo.leaderboard.scores import (
    scores_from_predictions,
    scores_from_records,
    share_tested,
)
from fusionzoo.records.store import RunStore
from fusionzoo.schema import canonical

KEY = "malignancy/auroc"
QUICK = BoardOptions(replicates=200)


def layout_of(root):
    (layout,) = grouped_layouts(read_facts(RunStore(root), BoardCache()).values())
    return layout


def scored(root, cache=None, options=QUICK, **more):
    names = ["auroc", "f1", "brier"]
    args = (RunStore(root), layout_of(root), options, cache or BoardCache(), KEY, names)
    return scores_from_predictions(*args, **more)


def test_figures_are_those_of_the_predictions(table_store):
    store, layout = RunStore(table_store), layout_of(table_store)
    found = scored(table_store)
    assert found.num_patients == 60
    for row, scores in zip(layout.rows, found.rows, strict=True):
        by_fold = {}
        for run in row.runs:
            chosen = store.read_predictions(run.run_id).select(
                part="test", task="malignancy", output="fused"
            )
            cut = run.thresholds["malignancy"]
            told = compute_metrics(chosen.labels, chosen.probs, threshold=cut)
            by_fold[run.test_set] = told
        for name in ("auroc", "f1", "brier"):
            values = {fold: told[name].value for fold, told in by_fold.items()}
            score = scores.scores[f"malignancy/{name}"]
            assert score.by_fold == pytest.approx(values)
            assert score.value == pytest.approx(np.mean(list(values.values())))
        auroc = scores.scores[KEY]
        assert auroc.low < auroc.value < auroc.high
    assert [len(drawn) for drawn in found.drawn] == [200] * 5


def test_the_cache_gives_the_same_without_predictions(table_store, tmp_path, monkeypatch):
    with BoardCache.of_store(tmp_path) as cache:
        fresh = scored(table_store, cache)
        monkeypatch.setattr(RunStore, "verified_predictions", None)
        again = scored(table_store, cache)
    assert canonical(again.rows) == canonical(fresh.rows)
    assert again.num_patients == fresh.num_patients
    for one, other in zip(fresh.drawn, again.drawn, strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_options_are_worked_out_anew(table_store, tmp_path):
    with BoardCache.of_store(tmp_path) as cache:
        one = scored(table_store, cache)
        other = scored(table_store, cache, BoardOptions(replicates=200, seed=1))
        wider = scored(table_store, cache, BoardOptions(replicates=200, level=0.5))
    low, changed, narrow = (s.rows[0].scores[KEY].low for s in (one, other, wider))
    assert low != changed
    assert narrow > low


def test_progress_counts_rows(table_store):
    told = []
    scored(table_store, progress=lambda done, total: told.append((done, total)))
    assert told == [(k, 5) for k in range(1, 6)]


def test_changed_predictions_are_refused(own_store):
    shutil.copy(
        own_store / "02-fold0-seed0" / "predictions.parquet",
        own_store / "00-fold0-seed0" / "predictions.parquet",
    )
    with pytest.raises(RunError, match="The predictions of run 00-fold0-seed0 have digest"):
        scored(own_store)


def test_reliability_curves_are_of_all_cases(table_store):
    means, shares = scored(table_store).rows[0].reliability["malignancy"]
    assert len(means) == len(shares) == 10
    assert list(means) == sorted(means)
    assert all(0 <= share <= 1 for share in shares)


def test_records_alone_give_means_and_the_corrected_interval(table_store):
    layout = layout_of(table_store)
    found = scores_from_records(layout, QUICK)
    exact = scored(table_store)
    assert share_tested(layout.runs) == pytest.approx(0.2)
    for mine, theirs in zip(found.rows, exact.rows, strict=True):
        one, other = mine.scores[KEY], theirs.scores[KEY]
        assert one.value == pytest.approx(other.value)
        assert one.by_fold == pytest.approx(other.by_fold)
        if len(one.by_fold) == 2:
            half = stats.t.ppf(0.975, 1) * one.sd * math.sqrt(1 / 2 + 1 / 4)
            assert (one.low, one.high) == pytest.approx((one.value - half, one.value + half))


def test_one_split_keeps_the_records_interval(tasks_store):
    layout = layout_of(tasks_store)
    score = scores_from_records(layout, QUICK).rows[0].scores["mean/auroc"]
    lows = [run.scores["mean"]["auroc"][1] for run in layout.rows[0].runs]
    assert score.low == pytest.approx(np.mean(lows))
    assert math.isnan(score.sd)
