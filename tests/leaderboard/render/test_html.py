import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from fusionzoo.leaderboard.build import build_boards
from fusionzoo.leaderboard.render.html import render
from fusionzoo.leaderboard.written import html_cells
from tests.leaderboard.conftest import QUICK

VOID = {"meta", "input", "br"}


class Balanced(HTMLParser):
    """Fails where a tag is closed that isn't the open one."""

    def __init__(self):
        super().__init__()
        self.open, self.ids = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(table):
    return render([table])


def test_the_page_is_well_formed(page):
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))


def test_nothing_is_fetched(page):
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_every_row_and_column_is_a_cell(page, table):
    cells = html_cells(page)
    assert len(cells) == len(table.rows) * (len(table.columns) + 4)  # rank, interval, gap, verdict
    title = table.title
    figure = table.rows[0].figures[table.ranked_by]
    assert cells[title, "MSCA", "malignancy/auroc"] == (
        f"{figure.value:.3f} ± {figure.sd:.3f} ○ paper 0.786"
    )
    assert cells[title, "MSCA", "rank"] == "1"
    assert cells[title, "MSCA", "forest"] == f"{figure.low:.3f}–{figure.high:.3f}"
    assert cells[title, "MSCA", "verdict"] == "○ not testable here measured on lung_pet_ct_dx"
    assert cells[title, "Concat", "gap"].startswith("−0.")
    assert cells[title, "CLIP", "malignancy/auroc"] == "–"
    assert cells[title, "Late", "rank"] == "–"


def test_best_and_second_are_marked(page):
    assert 'class="num metrics ranking best"' in page
    assert 'class="num metrics ranking second"' in page


def test_text_is_escaped(table):
    bad = replace(table.rows[0], label='<img src=x onerror="1">', note="</script>")
    told = render([replace(table, rows=(bad, *table.rows[1:]), title="a < b & c")])
    assert "<img" not in told
    assert "&lt;img src=x onerror=&quot;1&quot;&gt;" in told
    assert "<h1>a &lt; b &amp; c</h1>" in told
    assert told.count("</script>") == 2


def test_rows_beyond_the_first_wait_in_a_template(table):
    rows = tuple(replace(table.rows[0], label=f"row {k}", position=k + 1) for k in range(250))
    told = render([replace(table, rows=rows)])
    shown, _, later = told.partition("<template>")
    assert shown.count("data-row=") == 200
    assert later.count("data-row=") == 50
    assert len(html_cells(told)) == 250 * (len(table.columns) + 4)


def test_several_boards_have_a_list_of_them(table, tasks_store):
    told = render([table, *build_boards(tasks_store, QUICK)])
    assert '<a href="#board0">A paper, Table 1: four ways of fusing</a>' in told
    assert '<section class="board" id="board1"' in told
    assert "<title>2 boards</title>" in told


def test_a_board_without_printed_numbers_has_no_verdicts(tasks_store):
    told = render(build_boards(tasks_store, QUICK))
    assert 'data-key="verdict"' not in told
    assert 'data-group="tasks"' in told
