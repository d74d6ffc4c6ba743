import pytest

from fusionzoo.errors import BadOption
from fusionzoo.leaderboard.write import FORMATS, format_of, write_boards


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/board.html", "html"), ("b.md", "md"), ("b.CSV", "csv"), ("b.tex", "latex")],
)
def test_the_ending_says_the_format(path, name):
    assert format_of(path) == name


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_board_gives_the_same_bytes(table, name):
    assert write_boards([table], name) == write_boards([table], name)


def test_other_formats_are_refused(table):
    with pytest.raises(
        BadOption, match=r"'board.png' doesn't say which format to write. Give --fo"
    ):
        format_of("board.png")
    with pytest.raises(BadOption, match=r"no format 'pdf'. Use one of: md, html, csv, latex"):
        write_boards([table], "pdf")
