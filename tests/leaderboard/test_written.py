from dataclasses import replace

import pytest

from fusionzoo.errors import RunError
from fusionzoo.leaderboard.origin import Origin
from fusionzoo.leaderboard.write import write_boards
from fusionzoo.leaderboard.written import READERS


@pytest.mark.parametrize("name", ["html", "md", "csv"])
def test_a_board_says_what_it_is_from_and_shows(table, name):
    written = READERS[f".{name}"](write_boards([table], name), "board")
    assert written.origins == (Origin.of(table),)
    assert len(written.origins[0].runs) == 9
    values = set(written.cells.values())
    figure = table.rows[0].figures[table.ranked_by]
    if name == "csv":
        assert repr(figure.value) in values
    else:
        assert any(f"{figure.value:.3f}" in value for value in values)
    assert len(written.cells) > 60


def test_two_boards_of_one_file(table):
    other = table.__class__(**{**vars(table), "name": "other", "title": "Another"})
    for name in ("html", "md", "csv"):
        written = READERS[f".{name}"](write_boards([table, other], name), "board")
        assert [origin.name for origin in written.origins] == [table.name, "other"]
        assert len({place[0] for place in written.cells}) == 2
        alike = READERS[f".{name}"](
            write_boards([table, replace(other, title=table.title)], name), ""
        )
        assert len(alike.cells) == len(written.cells)


def test_a_bar_within_a_label_stays_within_its_cell(table):
    row = table.rows[0].__class__(**{**vars(table.rows[0]), "label": "a | b"})
    changed = table.__class__(**{**vars(table), "rows": (row, *table.rows[1:])})
    cells = READERS[".md"](write_boards([changed], "md"), "board").cells
    assert cells[table.title, r"a \| b", "rank"] == "1"


@pytest.mark.parametrize("ending", [".html", ".md", ".csv"])
def test_other_files_are_no_boards(ending):
    with pytest.raises(RunError, match="page is no board that 'fusionzoo leaderboard' wrote"):
        READERS[ending]("# a page\n\n| a | b |\n", "page")


def test_a_damaged_origin_is_told(table):
    text = write_boards([table], "md").replace('"boards": [', '"boards": ')
    with pytest.raises(RunError, match="What board says of its runs is damaged"):
        READERS[".md"](text, "board")
