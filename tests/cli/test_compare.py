"""`fusionzoo compare` as a person meets it."""

import re

import pytest

from tests.leaderboard.fake_store import MODELS, edit_record, make_store

QUICK = ("--replicates", "200")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"), MODELS[:3], folds=3, patients=20)


def refused(answer, *words):
    code, _, errors = answer
    assert code == 2, errors
    assert "Traceback" not in errors
    for word in words:
        assert word in errors


def test_two_runs(call, store):
    code, out, _ = call("compare", store / "01-fold0-seed0", store / "00-fold0-seed0", *QUICK)
    assert code == 0
    assert "A  ct=penet3d, table=kan -> msca -> linear  1 run: fold 0; seed 0" in out
    assert re.search(r"A against B on the same 40 cases of 20 patients, \d+ positive", out)
    assert re.search(r"AUROC +0\.\d{3} +0\.\d{3} +\+0\.\d{3} \([+-]0\.\d{3} to [+-]0\.\d{3}\)", out)
    assert "paired bootstrap by patient, 200 draws" in out
    assert "DeLong's test, clustered by patient (Obuchowski 1997)  p " in out
    assert re.search(r"corrected t-test over folds +no p-value  there is one test set only", out)
    assert re.search(
        r"With these cases, a true difference of 0\.\d{3} is found four times in f", out
    )


def test_folds_by_lists_by_flag_and_by_sheet_are_the_same(call, store):
    def runs(model):
        return ",".join(str(store / f"{model:02d}-fold{fold}-seed0") for fold in range(3))

    listed = call("compare", runs(1), runs(2), *QUICK)
    flagged = call("compare", "--folds", store / "01-fold2-seed0", store / "02-fold0-seed0", *QUICK)
    named = call("compare", "--sheet", "paper/table1", "--store", store, "MSCA", "CT alone", *QUICK)
    assert listed == flagged
    assert listed[1].splitlines()[2:] == named[1].splitlines()[2:]
    assert "A  MSCA  3 runs: fold 0, fold 1, fold 2; seed 0" in named[1]
    assert "Wilcoxon's signed-rank test over 3 folds" in named[1]
    assert "3 folds can't give less than p = 0.250" in named[1]
    assert "mean over 3 folds" in named[1]


def test_several_are_corrected(call, store):
    sheet = ("--sheet", "paper/table1", "--store", store)
    code, out, _ = call("compare", *sheet, "MSCA", "Concat", "CT alone", *QUICK)
    assert code == 0
    assert out.count("corrected for 2 comparisons (Holm): p") == 2
    assert "A against C on the same 120 cases of 60 patients" in out


def test_accuracy_has_mcnemar_where_it_applies(call, store):
    pair = store / "01-fold0-seed0", store / "00-fold0-seed0"
    _, out, _ = call("compare", *pair, "--metric", "accuracy", *QUICK)
    told = re.search(r"McNemar's exact test +no p-value  patients have several cases, which", out)
    assert told


def test_mistakes_are_told(call, store, tmp_path):
    run = store / "01-fold0-seed0"
    refused(call("compare", run), "needs two models or more")
    refused(call("compare", run, store / "none"), "Run none does not exist")
    refused(
        call("compare", run, store / "00-fold1-seed0"), "tested on fold 0,", "no test set is the"
    )
    refused(call("compare", f"{run},{store / '00-fold1-seed0'}", run), "names runs of 2 specs")
    refused(call("compare", "--sheet", "x", run, run), "--sheet needs --store")
    refused(call("compare", "--store", store, run, run), "--store goes with --sheet")
    sheet = ("--sheet", "paper/table1", "--store", store)
    refused(call("compare", *sheet, "MSCA", "Concta"), "has no row 'Concta'. Closest: Concat.")
    refused(call("compare", run, run, "--metric", "auc", *QUICK), "no malignancy/auc to compare")
    refused(call("compare", run, run, "--level", "95"), "--level lies between 0 and 1; 95.0 was")


def test_what_differs_is_refused(call, tmp_path):
    store = make_store(tmp_path / "mixed", MODELS[:2], folds=2, patients=15, replicates=20)
    edit_record(store, "00-fold0-seed0", lambda data: data.update(protocol="7"))
    answer = call("compare", store / "00-fold0-seed0", store / "01-fold0-seed0")
    refused(answer, "protocol: 7 in 1 run (00-fold0-seed0); 1 in 1 run (01-fold0-seed0)")
