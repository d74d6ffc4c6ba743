import math
import subprocess
import sys
from dataclasses import replace

import pytest

from fusionzoo.errors import BadOption, MixedRuns, RunError
from fusionzoo.leaderboard.build import build_boards
from fusionzoo.leaderboard.options import BoardOptions
from fusionzoo.records.sheet import read_sheets
from fusionzoo.schema import canonical
from tests.leaderboard.conftest import QUICK
from tests.leaderboard.fake_store import MODELS, edit_record, make_store


def test_a_board_has_all_that_was_asked_of_it(table):
    rows = {row.label: row for row in table.rows}
    ranked = {row.label: row.tier for row in table.rows if row.tier}
    assert ranked == {"MSCA": 1, "Concat": 2, "CT alone": 2, "Table alone": 3}
    assert [row.tier for row in table.rows] == [1, 2, 2, 3, 0, 0]
    figure = rows["MSCA"].figures[table.ranked_by]
    assert table.ranked_by == "malignancy/auroc"
    assert figure.mark == "best"
    assert rows["CT alone"].figures[table.ranked_by].mark == "second"
    assert figure.low < figure.value < figure.high
    assert len(figure.by_fold) == 2
    assert figure.published.value == 0.786
    assert figure.published.verdict == "not testable here"
    assert figure.published.reason == "measured on lung_pet_ct_dx"
    assert rows["CT alone"].figures[table.ranked_by].published is None
    assert rows["MSCA"].figures["cost/parameters"].value == 3.4
    assert rows["MSCA"].figures["cost/train_seconds"].value == 67
    assert {fact.label: fact.value for fact in table.facts}["Test cases"].startswith("120 of 60 pa")
    assert [panel.kind for panel in table.panels] == ["calibration"]
    assert len(table.panels[0].curves) == 5
    assert "on it, no gain over the best printed AUROC of 0.786 can be told" in table.notes[1]


def test_what_is_missing_is_shown_with_its_reason(table):
    rows = {row.label: row for row in table.rows}
    late = rows["Late"]
    assert (late.state, late.tier) == ("partial", 0)
    assert late.remark == "1 of 2 runs; not ranked, fold 1 missing"
    (missing,) = late.missing
    assert (missing.place, missing.kind) == ("fold 1, seed 0", "memory")
    assert missing.reason == "The run was killed for memory: it was given 2048 MiB. (tried 2 times)"
    assert late.figures[table.ranked_by].mark == ""
    assert math.isnan(late.p)
    clip = rows["CLIP"]
    assert (clip.state, clip.remark, clip.figures) == ("refused", "'clip' needs two vectors.", {})


def test_the_same_records_give_the_same_board(table, table_store):
    (cached,) = build_boards(table_store, QUICK)
    (fresh,) = build_boards(table_store, QUICK, cached=False)
    assert canonical(cached) == canonical(fresh) == canonical(table)


def test_nothing_but_the_cache_is_written(own_store):
    before = {path: path.read_bytes() for path in own_store.rglob("*") if path.is_file()}
    build_boards(own_store, QUICK, cached=False)
    assert {path: path.read_bytes() for path in own_store.rglob("*") if path.is_file()} == before
    build_boards(own_store, QUICK)
    new = {path.name for path in own_store.rglob("*") if path.is_file()} - {p.name for p in before}
    assert new <= {"board.sqlite"}


def test_several_tasks_are_ranked_by_their_mean(tasks_store):
    (board,) = build_boards(tasks_store, QUICK)
    assert board.ranked_by == "mean/auroc"
    groups = {group: [c.label for c in columns] for group, columns in board.groups().items()}
    assert groups["metrics"] == ["AUROC", "ACC", "F1", "Specificity", "Sensitivity"]
    assert groups["tasks"] == ["AUROC malignancy", "AUROC grade"]
    assert "calibration" in groups
    for row in board.rows:
        each = [row.figures[f"{task}/auroc"].value for task in ("malignancy", "grade")]
        assert row.figures["mean/auroc"].value == pytest.approx(sum(each) / 2)
    assert board.panels == ()
    (other,) = build_boards(tasks_store, BoardOptions(task="grade", metric="f1", replicates=200))
    assert other.ranked_by == "grade/f1"


def test_boards_over_folds_read_no_predictions(own_store):
    for path in own_store.glob("*/predictions.parquet"):
        path.unlink()
    (board,) = build_boards(own_store, BoardOptions(test="folds"))
    assert board.comparisons.method.startswith("corrected t-test")
    assert board.rows[0].label == "MSCA"
    with pytest.raises(RunError, match="Can't read predictions"):
        build_boards(own_store, BoardOptions(replicates=150))


def test_a_model_of_reduced_size_reproduces_nothing(tmp_path):
    models = [MODELS[1].__class__(**{**vars(MODELS[1]), "published": {"auroc": 0.95}}), MODELS[3]]
    same = {"published_dataset": "lidc", "test": None}
    make_store(tmp_path / "small", models, folds=2, patients=25, size="tiny", **same)
    (board,) = build_boards(tmp_path / "small", QUICK)
    told = board.rows[0].figures["malignancy/auroc"].published
    assert told.reason == "these models have size tiny, the paper's have full size"
    make_store(tmp_path / "full", models, folds=2, patients=25, **same)
    (board,) = build_boards(tmp_path / "full", BoardOptions(replicates=200, margin=0.2))
    assert board.rows[0].figures["malignancy/auroc"].published.verdict == "reproduced"


def test_a_sheet_without_a_finished_run_is_told(own_store, tmp_path, caplog):
    lost = [replace(MODELS[0], absent={(0, 0): "timeout", (1, 0): "waiting"})]
    make_store(own_store, lost, folds=2, prefix="lost-", name="paper/table9")
    told = "is left out: none of its 2 runs is finished, 1 failed. Concat, fold 0, seed 0: The run"
    assert len(build_boards(own_store, QUICK)) == 1
    assert told in caplog.text
    make_store(tmp_path, lost, folds=2)
    with pytest.raises(RunError) as caught:
        build_boards(tmp_path)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data.update(protocol="0"), "protocol: 0 in 1 run (00-fold0-seed0); 1 in 8"),
        (lambda data: data["data"].update(digest="f" * 64), "data.digest: ffffffffffff in 1 run"),
        (lambda data: data["split"].update(digest="f" * 64), "split.digest of fold 0: fffffff"),
    ],
)
def test_mixtures_are_refused(own_store, change, told):
    edit_record(own_store, "00-fold0-seed0", change)
    with pytest.raises(MixedRuns) as caught:
        build_boards(own_store)
    assert told in str(caught.value)


def test_runs_can_be_chosen(own_store):
    edit_record(own_store, "00-fold0-seed0", lambda data: data.update(protocol="0"))
    (board,) = build_boards(own_store, QUICK, runs=["01-*", "02-*"])
    assert [row.label for row in board.rows if row.tier] == ["MSCA", "CT alone"]
    with pytest.raises(RunError, match=r"has no finished run of runs zz\*\. Sheet"):
        build_boards(own_store, runs=["zz*"])


def test_sheets_are_named_by_slug_or_name(table_store):
    (sheet,) = read_sheets(table_store)
    for name in (sheet.slug, "paper/table1"):
        (board,) = build_boards(table_store, sheets=[name])
        assert board.name == sheet.slug
    with pytest.raises(RunError) as caught:
        build_boards(table_store, sheets=["paper/table2"])
    assert f"There is no sheet 'paper/table2'. Closest: {sheet.slug}." in str(caught.value)


def test_what_is_not_there_is_told(tmp_path, tasks_store):
    with pytest.raises(RunError, match="There is no folder"):
        build_boards(tmp_path / "nowhere")
    with pytest.raises(RunError, match="has no finished run"):
        build_boards(tmp_path)
    with pytest.raises(
        BadOption, match=r"has no task 'other'\. Its runs have: malignancy, grade, "
    ):
        build_boards(tasks_store, BoardOptions(task="other"))
    with pytest.raises(BadOption, match=r"can't be ranked by 'ppv': task 'grade' has auroc, accu"):
        build_boards(tasks_store, BoardOptions(task="grade", metric="ppv"))


def test_torch_is_never_imported(table_store):
    code = (
        "import sys\n"
        "from fusionzoo.cli import main\n"
        "store = sys.argv[1]\n"
        "main(['leaderboard', store, '--format', 'html', '--replicates', '100'])\n"
        "main(['compare', store + '/00-fold0-seed0', store + '/01-fold0-seed0'])\n"
        "assert 'pandas' in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, table_store], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "A against B" in done.stdout
