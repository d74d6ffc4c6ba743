from dataclasses import replace

import pytest

from fusionzoo.errors import MixedRuns
from fusionzoo.leaderboard.cache import BoardCache
from fusionzoo.leaderboard.comparable import check_comparable
from fusionzoo.leaderboard.facts import read_facts
from fusionzoo.leaderboard.layout import Cell, Layout, LayoutRow
from fusionzoo.records.store import RunStore


@pytest.fixture(scope="module")
def runs(table_store):
    return list(read_facts(RunStore(table_store), BoardCache()).values())


def layout(runs, **about):
    cells = tuple(Cell(run.run_id, run.fold, run.seed, run) for run in runs)
    return Layout("board", True, "", (LayoutRow("row", "", cells),), **about)


def refusal(runs, **about):
    with pytest.raises(MixedRuns) as caught:
        check_comparable(layout(runs, **about))
    return str(caught.value)


def test_runs_of_one_protocol_data_and_split_pass(runs):
    check_comparable(layout(runs, protocol="1", dataset="lidc"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"protocol": "2"}, "protocol: 2 in 1 run (00-fold0-seed0); 1 in 8 runs (00-fold1-seed0, "),
        ({"dataset": "other"}, "data.name: other in 1 run"),
        ({"data_digest": "ee" * 32}, "data.digest: eeeeeeeeeeee in 1 run (00-fold0-seed0); cdcdcd"),
        ({"dataset_options": {"size": "small"}}, 'data.options: {"size":"small"} in 1 run'),
        ({"split_digest": "aa" * 32}, "split.digest of fold 0: aaaaaaaaaaaa in 1 run"),
        ({"split_scheme": "fold 0 of 9 folds"}, "split.scheme: 9 folds in 1 run"),
        ({"threshold_rule": "f1"}, "evaluation.threshold_rule: f1 in 1 run"),
        ({"binary": "macro"}, "evaluation.binary: macro in 1 run"),
        ({"part": "val"}, "evaluation.part: val in 1 run"),
        ({"scores": {"other": {}}}, "tasks: other in 1 run"),
    ],
)
def test_what_differs_is_named_with_the_runs(runs, changes, told):
    message = refusal([replace(runs[0], **changes), *runs[1:]])
    assert told in message
    assert message.startswith("Board 'board': its 9 runs can't stand on one board:\n  - ")
    assert "Run the odd ones again with this version and these data" in message
    assert message.count("\n  - ") == 1


def test_everything_that_differs_is_told_at_once(runs):
    message = refusal([replace(runs[0], protocol="2", data_digest="ee" * 32), *runs[1:]])
    assert message.count("\n  - ") == 2


def test_runs_must_be_what_the_sheet_asks_for(runs):
    told = refusal(runs, protocol="3", dataset="derm7pt")
    assert "protocol: the sheet asks for 3, its runs have 1" in told
    assert "data.name: the sheet asks for derm7pt, its runs have lidc" in told
