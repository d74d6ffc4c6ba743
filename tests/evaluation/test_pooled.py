import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fusionzoo.errors import RunError
from fusionzoo.evaluation.bootstrap import bootstrap_intervals
from fusionzoo.evaluation.delong import compare_aurocs
from fusionzoo.evaluation.pooled import (
    FoldMean,
    FoldRun,
    Pool,
    detectable_from_se,
    paired_difference,
)
from fusionzoo.evaluation.predictions import Selection
from fusionzoo.evaluation.report import evaluate
from fusionzoo.evaluation.results import MEAN
from tests.evaluation.folds import draw_models


@pytest.fixture(scope="module")
def models():
    return draw_models(np.random.default_rng(0), models=2, folds=3, seeds=2)


@pytest.fixture(scope="module")
def pool(models):
    return Pool.of(models[0], replicates=400)


def test_a_value_is_the_mean_over_folds_of_the_mean_over_seeds(models, pool):
    found = pool.measure(models[0])["t", "auroc"]
    per_run = {}
    for run in models[0]:
        chosen = run.tasks["t"]
        per_run.setdefault(run.fold, []).append(roc_auc_score(chosen.labels, chosen.probs[:, 1]))
    by_fold = {fold: np.mean(values) for fold, values in per_run.items()}
    assert found.by_fold == pytest.approx(by_fold)
    assert found.value == pytest.approx(np.mean(list(by_fold.values())))
    assert found.sd == pytest.approx(np.std(list(by_fold.values()), ddof=1))
    assert found.drawn.shape == (400,)
    assert pool.num_patients == 72


def test_one_run_has_the_interval_that_it_has_alone(models):
    run = models[0][0]
    chosen = run.tasks["t"]
    found = Pool.of([run], replicates=300, seed=4).measure([run])
    alone = bootstrap_intervals(
        chosen.labels,
        chosen.probs,
        chosen.groups,
        threshold=run.thresholds["t"],
        replicates=300,
        seed=4,
    )
    ours = {name: mean.interval() for (_, name), mean in found.items()}
    assert {name: told for name, told in ours.items() if name != "ece"} == {
        name: told for name, told in alone.items() if name != "ece"
    }
    assert math.isnan(found["t", "auroc"].sd)


def test_the_interval_of_a_calibration_error_holds_its_value(models, pool):
    """Drawing patients twice makes an ECE larger, so that plain percentiles lie above it."""
    found = pool.measure(models[0])["t", "ece"]
    chosen = models[0][0].tasks["t"]
    plain = bootstrap_intervals(chosen.labels, chosen.probs, chosen.groups, names=["ece"])["ece"]
    alone = Pool.of(models[0][:1]).measure(models[0][:1], ["ece"])["t", "ece"]
    assert alone.interval().low < alone.value < alone.interval().high
    assert found.interval().low < found.value < found.interval().high
    assert alone.interval().high < plain.high
    assert found.drawn.min() >= 0


def test_draws_follow_the_patient_through_folds():
    """Repeated folds: a patient drawn twice counts twice in every fold that tests it."""
    (runs,) = draw_models(np.random.default_rng(1), folds=1)
    again = [replace(run, fold="repeat 2") for run in runs]
    once = Pool.of(runs, replicates=100)
    twice = Pool.of([*runs, *again], replicates=100)
    assert twice.num_patients == once.num_patients
    np.testing.assert_allclose(
        twice.measure([*runs, *again])["t", "auroc"].drawn, once.measure(runs)["t", "auroc"].drawn
    )


def test_weights_that_are_too_many_to_keep_give_the_same(models, pool, monkeypatch):
    monkeypatch.setattr("fusionzoo.evaluation.pooled._KEPT_VALUES", 0)
    fresh = Pool.of(models[0], replicates=400)
    kept, anew = pool.measure(models[1]), fresh.measure(models[1])
    for key, mean in kept.items():
        np.testing.assert_array_equal(mean.drawn, anew[key].drawn)


def test_several_tasks_have_a_mean(models):
    def with_two_tasks(run):
        flipped = replace(run.tasks["t"], probs=run.tasks["t"].probs[:, ::-1])
        return replace(
            run, tasks={**run.tasks, "u": flipped}, thresholds={**run.thresholds, "u": 0.5}
        )

    runs = [with_two_tasks(run) for run in models[0]]
    found = Pool.of(runs, replicates=50).measure(runs, ["auroc", "f1"])
    assert set(found) == {(task, name) for task in ("t", "u", MEAN) for name in ("auroc", "f1")}
    assert found[MEAN, "auroc"].value == pytest.approx(0.5)  # one is the other's complement
    drawn = found[MEAN, "auroc"].drawn
    np.testing.assert_allclose(drawn[np.isfinite(drawn)], 0.5)
    assert found[MEAN, "f1"].by_fold["1"] == pytest.approx(
        (found["t", "f1"].by_fold["1"] + found["u", "f1"].by_fold["1"]) / 2
    )


def test_means_over_tasks_are_those_of_an_evaluation(predictions):
    """One run of two tasks, one with three classes: the same means as the run's own evaluation."""
    evaluation = evaluate(predictions, replicates=60, seed=3)
    rows = {task: evaluation.row(task, "fused") for task in ("malignancy", "grade")}
    run = FoldRun(
        "run",
        "0",
        {t: predictions.select(part="test", task=t, output="fused") for t in rows},
        {t: row.threshold.value for t, row in rows.items() if row.threshold},
    )
    pool = Pool.of([run], replicates=60, seed=3, binary=evaluation.binary)
    mean = evaluation.row(MEAN, "fused")
    found = pool.measure([run])
    assert {name for task, name in found if task == MEAN} == set(mean.metrics)
    for name, told in mean.metrics.items():
        assert name != "ece"
        assert found[MEAN, name].value == pytest.approx(told.value)
        interval = found[MEAN, name].interval()
        assert (interval.low, interval.high) == pytest.approx((told.low, told.high))
    few = pool.measure([run], ["sensitivity"])
    assert {name for _, name in few} == {"sensitivity"}
    assert few[MEAN, "sensitivity"].value == pytest.approx(mean.metrics["sensitivity"].value)


def test_a_metric_without_a_value_says_why(models):
    run = models[0][0]
    chosen = run.tasks["t"]
    blind = replace(run, thresholds={"t": 1.1})
    found = Pool.of([blind], replicates=50).measure([blind])["t", "ppv"]
    assert math.isnan(found.value)
    assert found.reason == "fold 0: no case is called positive"
    assert found.interval().reason == found.reason
    same = Pool.of([run], replicates=50).measure([run])["t", "ppv"]
    told = paired_difference(same, found, 24)
    assert math.isnan(told.p)
    assert told.reason == found.reason
    assert len(chosen.cases) == 48


def test_the_paired_bootstrap_agrees_with_delong():
    first, second = draw_models(
        np.random.default_rng(5), models=2, folds=1, patients=300, cases_per_patient=2
    )
    pool = Pool.of(first, replicates=4000)
    ours = paired_difference(
        pool.measure(first, ["auroc"])["t", "auroc"],
        pool.measure(second, ["auroc"])["t", "auroc"],
        pool.num_patients,
    )
    a, b = first[0].tasks["t"], second[0].tasks["t"]
    theirs = compare_aurocs(a.labels, a.probs, b.probs, a.groups)
    assert ours.value == pytest.approx(theirs.difference)
    assert ours.se == pytest.approx(theirs.se, rel=0.05)
    assert ours.p == pytest.approx(theirs.p, abs=0.03)
    assert ours.detectable() == pytest.approx(theirs.detectable(), rel=0.06)


def test_the_paired_bootstrap_agrees_with_scipys():
    """One case a patient: the accuracy difference is a mean of paired differences."""
    first, second = draw_models(
        np.random.default_rng(6), models=2, folds=1, patients=120, cases_per_patient=1
    )
    pool = Pool.of(first, replicates=4000)
    measured = [pool.measure(runs, ["accuracy"])["t", "accuracy"] for runs in (first, second)]
    ours = paired_difference(*measured, pool.num_patients)
    right = [
        (run.tasks["t"].probs[:, 1] >= run.thresholds["t"]) == run.tasks["t"].labels
        for (run,) in (first, second)
    ]
    gaps = np.subtract(*right, dtype=float)
    theirs = stats.bootstrap((gaps,), np.mean, n_resamples=4000, rng=np.random.default_rng(0))
    assert ours.value == pytest.approx(gaps.mean())
    assert ours.se == pytest.approx(theirs.standard_error, rel=0.05)
    # And with the t-test of the mean, which has the same degrees of freedom.
    plain = stats.ttest_1samp(gaps, 0)
    assert ours.df == plain.df == 119
    assert ours.p == pytest.approx(plain.pvalue, abs=0.02)
    assert (ours.low, ours.high) == pytest.approx(plain.confidence_interval(), abs=0.01)


def test_interval_and_p_value_say_the_same(models, pool):
    a, b = (pool.measure(runs, ["auroc"])["t", "auroc"] for runs in models)
    p = paired_difference(a, b, pool.num_patients).p
    for level in (1 - p - 0.01, 1 - p + 0.01):
        told = paired_difference(a, b, pool.num_patients, level=level)
        assert (told.low <= 0 <= told.high) == (p > 1 - level)


def test_equal_models_do_not_differ(models, pool):
    a = pool.measure(models[0], ["auroc"])["t", "auroc"]
    same = paired_difference(a, a, pool.num_patients)
    assert (same.value, same.se, same.p) == (0, 0, 1)
    always = FoldMean(0.4, a.by_fold, np.full(400, 0.4))
    other = FoldMean(0.3, a.by_fold, np.full(400, 0.3))
    told = paired_difference(always, other, pool.num_patients)
    assert math.isnan(told.p)
    assert told.reason == "the difference has no variance"
    assert paired_difference(a, always, 1).reason == "one patient only"


def test_detectable_differences_are_found_as_often_as_they_say():
    """Student's t at the detectable difference rejects with the power asked for."""
    least = detectable_from_se(0.02, 60, power=0.8)
    shifted = stats.nct(60, least / 0.02)
    assert shifted.sf(stats.t.ppf(0.975, 60)) == pytest.approx(0.8, abs=0.005)


def test_other_cases_are_refused(models, pool):
    run = models[1][0]
    chosen = run.tasks["t"]

    def refusal(**changes):
        changed = replace(run, tasks={"t": replace(chosen, **changes)})
        with pytest.raises(RunError) as caught:
            pool.measure([changed])
        return str(caught.value)

    labels = chosen.labels.copy()
    labels[3] = 1 - labels[3]
    told = refusal(labels=labels)
    assert "Runs model0 fold0 seed0 and model1 fold0 seed0 of fold 0" in told
    assert f"case 0-0003 has label {1 - labels[3]} in one, {labels[3]} in another" in told
    groups = chosen.groups.copy()
    groups[0] = "somebody"
    assert "case 0-0000 has patient 0-0 in one, somebody in another" in refusal(groups=groups)
    fewer = Selection(chosen.cases[1:], chosen.groups[1:], chosen.labels[1:], chosen.probs[1:])
    with pytest.raises(RunError, match="48 cases and 47; only one has 0-0000"):
        pool.measure([replace(run, tasks={"t": fewer})])
    with pytest.raises(RunError, match="on fold 9, which is not compared here; these are: 0, 1, 2"):
        pool.measure([replace(run, fold="9")])
    with pytest.raises(RunError, match="seed0 has tasks u, run model0 fold0 seed0 has t"):
        pool.measure([replace(run, tasks={"u": chosen})])


def test_other_folds_are_refused(models, pool):
    both = pool.measure(models[0])["t", "auroc"]
    one = pool.measure(models[1][:2])["t", "auroc"]
    with pytest.raises(RunError, match=r"has folds 0, 1, 2, the other 0\. Compare them over"):
        paired_difference(both, one, pool.num_patients)
