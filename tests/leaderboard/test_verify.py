import json
import re

import pytest

from fusionzoo.errors import BadOption, RunError
from fusionzoo.evaluation.predictions import Predictions, read_predictions, write_predictions
from fusionzoo.leaderboard.build import build_boards
from fusionzoo.leaderboard.options import BoardOptions
from fusionzoo.leaderboard.verify import verify_board
from fusionzoo.leaderboard.write import write_boards
from tests.leaderboard.conftest import QUICK
from tests.leaderboard.fake_store import edit_record


def written(tables, path):
    path.write_text(write_boards(tables, path.suffix[1:]), encoding="utf-8")
    return path


def changed(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("name", ["board.html", "board.md", "board.csv"])
def test_a_board_as_it_was_written_holds(table, table_store, tmp_path, name):
    report = verify_board(written([table], tmp_path / name), table_store)
    assert report.differences == ()
    assert report.cells > 60
    assert report.runs == 9
    assert report.summary.endswith(f"holds: {report.cells} figures from the predictions of 9 runs.")


def test_boards_of_groups_and_folds_hold_too(tasks_store, tmp_path):
    for number, options in enumerate((QUICK, BoardOptions(test="folds"))):
        tables = build_boards(tasks_store, options)
        path = written(tables, tmp_path / f"{number}.html")
        assert verify_board(path, tasks_store).differences == ()


def test_each_changed_cell_is_named(table, table_store, tmp_path):
    figure = table.rows[0].figures[table.ranked_by]
    value = f"{figure.value:.3f}"
    path = written([table], tmp_path / "board.md")
    changed(path, f"**{value}**", "**0.999**")
    (told,) = verify_board(path, table_store).differences
    assert told.where == (table.title, "MSCA", "AUROC")
    assert told.written.startswith("**0.999**")
    assert told.found.startswith(f"**{value}**")
    assert str(told).startswith("A paper, Table 1: four ways of fusing, MSCA, AUROC: written **0.9")
    path = written([table], tmp_path / "board.csv")
    changed(path, repr(figure.value), "0.999")
    (told,) = verify_board(path, table_store).differences
    assert told.where == (table.name, "MSCA", "malignancy", "auroc", "value")


def test_a_page_is_checked_in_what_it_holds_and_in_what_it_shows(table, table_store, tmp_path):
    figure = table.rows[0].figures[table.ranked_by]
    path = written([table], tmp_path / "shown.html")
    changed(path, f"<span class=v>{figure.value:.3f}</span>", "<span class=v>0.999</span>")
    (told,) = verify_board(path, table_store).differences
    assert told.where == (table.title, "MSCA", "malignancy/auroc")
    assert "0.999" in told.written
    path = written([table], tmp_path / "held.html")
    changed(path, f'"value":{figure.value!r}', '"value":0.999')
    where = [one.where for one in verify_board(path, table_store).differences]
    assert (table.title, "MSCA", "AUROC", "value") in where
    assert (table.title, "MSCA", "malignancy/auroc") in where


def test_a_record_that_its_predictions_do_not_give_is_named(own_store, tmp_path):
    def flatter(data):
        data["evaluation"]["results"][0]["metrics"]["auroc"]["value"] = 0.999
        data["evaluation"]["results"][0]["threshold"]["value"] = 0.123

    edit_record(own_store, "01-fold0-seed0", flatter)
    path = written(build_boards(own_store, QUICK, cached=False), tmp_path / "board.csv")
    told = {one.where: one for one in verify_board(path, own_store).differences}
    record = told["record", "01-fold0-seed0", "scores", "malignancy", "auroc", "0"]
    assert record.written == "0.999"
    assert ("record", "01-fold0-seed0", "thresholds", "malignancy") in told
    # The board was made with that threshold, so that its accuracy doesn't hold either.
    assert any(where[1:4] == ("MSCA", "malignancy", "accuracy") for where in told)
    assert not any(where[1:4] == ("MSCA", "malignancy", "auroc") for where in told)


def test_changed_predictions_are_refused(own_store, tmp_path):
    path = written(build_boards(own_store, QUICK, cached=False), tmp_path / "board.md")
    file = own_store / "00-fold0-seed0" / "predictions.parquet"
    predictions = read_predictions(file)
    frame = predictions.frame.assign(p0=predictions.frame["p1"], p1=predictions.frame["p0"])
    write_predictions(file, Predictions(frame, predictions.tasks))
    with pytest.raises(RunError, match="The predictions of run 00-fold0-seed0 have digest"):
        verify_board(path, own_store)


def test_what_has_happened_since_is_no_difference(own_store, tmp_path):
    """A failed run has been forgotten, and another one has come; the board's figures hold."""
    path = written(build_boards(own_store, QUICK, cached=False), tmp_path / "board.html")
    for file in (own_store / "failures").glob("*.json"):
        file.unlink()
    (own_store / "new-run").mkdir()
    record = json.loads((own_store / "00-fold0-seed0" / "record.json").read_text())
    (own_store / "new-run" / "record.json").write_text(json.dumps({**record, "run_id": "new-run"}))
    assert verify_board(path, own_store).differences == ()


def test_what_cannot_be_verified_is_told(table, table_store, tasks_store, tmp_path):
    with pytest.raises(BadOption, match=r"board.tex' can't be verified. Give a board that was"):
        verify_board(tmp_path / "board.tex", table_store)
    with pytest.raises(RunError, match=r"Can't read the board .*absent\.md'"):
        verify_board(tmp_path / "absent.md", table_store)
    path = written([table], tmp_path / "board.md")
    with pytest.raises(RunError) as caught:
        verify_board(path, tasks_store)
    told = str(caught.value)
    assert "9 of the board's 9 runs are not in" in told
    assert "(00-fold0-seed0, 00-fold1-seed0, 01-fold0-seed0, ...)" in told
    assert re.search(r"Name the store that the board was made from\.$", told)
