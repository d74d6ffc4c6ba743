"""`fusionzoo leaderboard` as a person meets it."""

import json
import re

import pytest

from fusionzoo.leaderboard.cache import CACHE
from tests.leaderboard.fake_store import MODELS, edit_record, make_store

QUICK = ("--replicates", "100")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"), MODELS[:3], folds=2, patients=20)


def refused(answer, *words):
    code, _, errors = answer
    assert code == 2, errors
    assert "Traceback" not in errors
    for word in words:
        assert word in errors


def test_a_board_is_printed(call, store):
    code, out, errors = call("leaderboard", store, *QUICK)
    assert (code, errors) == (0, "")
    assert out.startswith("# A paper, Table 1: four ways of fusing")
    assert re.search(r"\|    1 \| MSCA +\| +\*\*0\.\d{3}\*\* ± 0\.\d{3} \(0\.\d{3}-", out)


def test_show_may_be_said(call, store):
    assert call("leaderboard", "show", store, *QUICK) == call("leaderboard", store, *QUICK)


@pytest.mark.parametrize("name", ["board.html", "board.md", "board.csv", "board.tex"])
def test_a_board_is_written_and_holds(call, store, tmp_path, name):
    path = tmp_path / name
    code, out, errors = call("leaderboard", store, "--out", path, *QUICK)
    assert (code, out) == (0, "")
    assert errors == f"{path}: 1 board, 3 rows\n"
    if name != "board.tex":
        code, out, errors = call("leaderboard", "verify", path, "--store", store)
        assert code == 0, out + errors
        assert re.fullmatch(r".* holds: \d+ figures from the predictions of 6 runs\.\n", out)


def test_a_board_that_was_changed_exits_with_one(call, store, tmp_path):
    path = tmp_path / "board.md"
    call("leaderboard", store, "--out", path, *QUICK)
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"\*\*0\.\d{3}\*\*", "**0.999**", text, count=1), encoding="utf-8")
    code, out, errors = call("leaderboard", "verify", path, "--store", store)
    assert code == 1
    assert "MSCA, AUROC: written **0.999**" in out
    assert re.search(
        r"does not hold: 1 of \d+ figures from the predictions of 6 runs differ", errors
    )


def test_it_is_the_same_again_and_without_the_cache(call, store):
    first = call("leaderboard", store, "--format", "html", *QUICK)
    again = call("leaderboard", store, "--format", "html", *QUICK)
    (store / CACHE).unlink()
    assert first == again == call("leaderboard", store, "--format", "html", *QUICK)


def test_options_change_the_board(call, store):
    _, out, _ = call(
        "leaderboard", store, "--metric", "f1", "--test", "folds", "--correction", "bh"
    )
    assert (
        "Ranked by F1. Corrected t-test over folds (Nadeau and Bengio 2003); p-values are " in out
    )
    assert "Benjamini-Hochberg's over all 3 pairs" in out
    _, out, _ = call("leaderboard", store, "--runs", "00-*", "--runs", "01-*", *QUICK)
    assert "- Runs: 4" in out


def test_mistakes_are_told(call, store, tmp_path):
    refused(call("leaderboard", tmp_path / "none"), "There is no folder")
    refused(call("leaderboard", tmp_path), "has no finished run")
    refused(call("leaderboard", store, "--sheet", "x"), "There is no sheet 'x'")
    refused(
        call("leaderboard", store, "--metric", "auc"), "Closest: auroc", "A board can't be made"
    )
    refused(call("leaderboard", store, "--out", "board.pdf"), "doesn't say which format to write")
    refused(call("leaderboard", store, "--format", "pdf"), "Use one of: md, html, csv, latex")
    refused(call("leaderboard", "verify", tmp_path / "x.md"), "Missing option '--store'")
    refused(call("leaderboard", "verify", tmp_path / "x.md", "--store", store), "Can't read the")
    code, out, _ = call("leaderboard", "--help")
    assert code == 0
    assert "verify" in out


def test_a_mixture_is_refused_with_what_differs(call, tmp_path):
    store = make_store(tmp_path / "mixed", MODELS[:2], folds=2, patients=15, replicates=20)
    edit_record(store, "00-fold1-seed0", lambda data: data["data"].update(digest="9" * 64))
    refused(
        call("leaderboard", store),
        "its 4 runs can't stand on one board",
        "data.digest: cdcdcdcdcdcd in 3 runs",
        "999999999999 in 1 run (00-fold1-seed0)",
    )


def test_runs_of_several_kinds_are_several_boards(call, tmp_path):
    store = make_store(tmp_path / "two", MODELS[:2], folds=2, patients=15, replicates=20)
    for run in ("00-fold0-seed0", "01-fold0-seed0"):
        edit_record(store, run, lambda data: data.update(protocol="0"))
    for path in (store / "sheets").iterdir():
        path.unlink()
    code, out, _ = call("leaderboard", store, "--format", "csv", *QUICK)
    assert code == 0
    names = {line.partition(",")[0] for line in out.splitlines()[1:]}
    assert len(names) == 1  # both names begin alike and hold commas
    assert out.count('""runs"": [') == 2
    assert (
        json.loads(re.search(r'"(\{""name.*?\})"\n', out)[1].replace('""', '"'))["sheet"] is False
    )
