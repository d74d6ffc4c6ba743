import json

import pytest

from fusionzoo.errors import RunError
from fusionzoo.leaderboard.build import build_boards
from fusionzoo.leaderboard.embedded import dumps_boards, loads_boards
from fusionzoo.schema import canonical
from tests.leaderboard.conftest import QUICK


def test_boards_are_read_back_as_they_were(table, tasks_store):
    tables = [table, *build_boards(tasks_store, QUICK)]
    again = loads_boards(dumps_boards(tables), "the page")
    assert canonical(again) == canonical(tables)


def test_what_runs_share_is_written_once(table):
    told = json.loads(dumps_boards([table, table]))
    assert len(told["runs"]) == 9
    assert len(told["shared"]) == 5  # one per spec
    assert dumps_boards([table]).count("selective_scan") == 5


def test_nothing_in_it_ends_a_script(table):
    row = table.rows[0]
    bad = row.__class__(**{**vars(row), "label": "</script><b>"})
    text = dumps_boards([table.__class__(**{**vars(table), "rows": (bad,)})])
    assert "<" not in text
    assert loads_boards(text, "the page")[0].rows[0].label == "</script><b>"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text[:-30], "The boards in the page are damaged"),
        (lambda text: text.replace('"schema":1', '"schema":7', 1), "boards of schema 7; this"),
        (lambda text: text.replace('"ranked_by"', '"other"', 1), "ranked_by is missing"),
        (
            lambda text: '{"boards": [{"schema": 1, "runs": ["x"]}], "runs": {}, "shared": []}',
            "'x'",
        ),
    ],
)
def test_damage_is_told(table, spoil, told):
    with pytest.raises(RunError) as caught:
        loads_boards(spoil(dumps_boards([table])), "the page")
    assert told in str(caught.value)
