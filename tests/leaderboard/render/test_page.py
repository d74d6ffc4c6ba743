"""The page in a real browser: sort, filter, open, keyboard, phone, light and dark."""

import shutil
from dataclasses import replace

import pytest

from fusionzoo.leaderboard.render.html import render

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ROWS = "() => [...document.querySelectorAll('tbody tr th .name')].map(one => one.textContent)"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra 'browser'")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "board.html"
    path.write_text(render([table]), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def open_page(browser, address):
    """Opens the page; every message of its console and every request is a failure."""
    contexts, messages = [], []

    def opened(width=1440, height=900, scheme="light", at=address):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda one: messages.append(one.text))
        page.on("pageerror", lambda one: messages.append(str(one)))
        page.on("request", lambda one: one.url != at and messages.append(one.url))
        page.goto(at)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert messages == []


def test_columns_sort_both_ways(open_page):
    page = open_page()
    assert page.evaluate(ROWS)[0] == "MSCA"
    head = page.locator("th[data-key='cost/parameters'] button")
    head.click()
    assert page.evaluate(ROWS)[0] == "Table alone"
    assert page.get_attribute("th[data-key='cost/parameters']", "aria-sort") == "ascending"
    head.click()
    assert page.evaluate(ROWS)[0] == "MSCA"
    assert page.get_attribute("th[data-key='cost/parameters']", "aria-sort") == "descending"
    # A metric begins with its good end, and rows without a value come last both times.
    page.locator("th[data-key='malignancy/auroc'] button").click()
    assert (page.evaluate(ROWS)[0], page.evaluate(ROWS)[-1]) == ("MSCA", "CLIP")
    page.locator("th[data-key='malignancy/auroc'] button").click()
    assert (page.evaluate(ROWS)[0], page.evaluate(ROWS)[-1]) == ("Table alone", "CLIP")


def test_rows_are_found_and_filtered(open_page):
    page = open_page()
    page.fill(".find input", "ct alone")
    assert page.evaluate(ROWS) == ["CT alone"]
    assert page.inner_text(".count") == "1 of 6 rows"
    page.fill(".find input", "")
    page.select_option(".show", "state:partial")
    assert page.evaluate(ROWS) == ["Late"]
    page.select_option(".show", "tier:1")
    assert page.evaluate(ROWS) == ["MSCA"]
    page.select_option(".show", "verdict:not testable here")
    assert sorted(page.evaluate(ROWS)) == ["Concat", "Late", "MSCA"]


def test_groups_of_columns_can_be_hidden(open_page):
    page = open_page()
    column = page.locator("th[data-key='malignancy/ece']")
    assert not column.is_visible()
    page.click("button[data-group=calibration]")
    assert column.is_visible()
    page.click("button[data-group=metrics]")
    assert not page.locator("th[data-key='malignancy/f1']").is_visible()


def test_every_cell_opens_where_it_is_from(open_page, table):
    page = open_page()
    figure = table.rows[0].figures[table.ranked_by]
    page.locator("tbody tr").first.locator("td.ranking").click()
    dialog = page.locator("dialog")
    assert page.inner_text("#origin-title") == "MSCA: AUROC"
    told = dialog.inner_text()
    for words in (
        f"{figure.value:.3f}",
        f"95% interval {figure.low:.3f} to {figure.high:.3f}",
        "fold 1",
        "measured on lung_pet_ct_dx",
        "it is the best row",
        "ct=penet3d, table=kan -> msca -> linear",
        "Its 2 runs",
    ):
        assert words in told
    page.locator("dialog summary").first.click()
    told = dialog.inner_text()
    run = table.runs["01-fold0-seed0"]
    for words in (
        "01-fold0-seed0",
        run["predictions_digest"],
        run["data_digest"],
        run["split_digest"],
        run["environment"]["commit"],
        "width=0.25",
        "epochs=12",
        "torch=2.6.0",
        "Some Processor, 8 cores",
    ):
        assert words in told
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    page.locator("tr", has_text="CLIP").locator("th.model").click()
    assert "'clip' needs two vectors." in dialog.inner_text()
    page.click("dialog .close")
    page.locator("tr", has_text="Late").locator("td.verdict").click()
    assert "The run was killed for memory" in dialog.inner_text()


def test_the_keyboard_reaches_every_cell(open_page):
    page = open_page()
    focused = "() => document.activeElement.className"
    page.locator("tbody [tabindex='0']").focus()
    assert "model" in page.evaluate(focused)
    page.keyboard.press("ArrowRight")
    assert "ranking" in page.evaluate(focused)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.inner_text("#origin-title").endswith(": AUROC")
    assert not page.inner_text("#origin-title").startswith("MSCA")
    page.keyboard.press("Escape")
    assert "ranking" in page.evaluate(focused)
    page.keyboard.press("End")
    page.keyboard.press("Home")
    assert "rank" in page.evaluate(focused)
    assert page.locator("tbody [tabindex='0']").count() == 1


def test_costs_of_the_drawing_are_chosen(open_page):
    page = open_page()
    figures = page.locator(".pareto figure")
    assert [figures.nth(k).is_visible() for k in range(3)] == [True, False, False]
    page.locator(".pareto input").nth(2).check()
    assert [figures.nth(k).is_visible() for k in range(3)] == [False, False, True]


def test_a_phone_shows_cards_and_nothing_is_cut_off(open_page):
    page = open_page(width=390, height=844)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    card = page.locator("tbody tr").first
    assert card.bounding_box()["width"] > 340
    assert (
        page.locator("td.num").first.evaluate("one => getComputedStyle(one, '::before').content")
        == '"AUROC"'
    )
    page.select_option(".sort", "cost/parameters")
    assert page.evaluate(ROWS)[0] == "Table alone"
    card.locator("td.ranking").click()
    box = page.locator("dialog").bounding_box()
    assert (box["x"], box["width"]) == (0, 390)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_system_and_the_button(open_page, scheme):
    page = open_page(scheme=scheme)
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(247, 248, 248)", "rgb(18, 23, 26)"
    assert page.evaluate(ground) == (light if scheme == "light" else dark)
    page.click(".theme")
    assert page.evaluate(ground) == light
    page.click(".theme")
    assert page.evaluate(ground) == dark
    assert page.inner_text(".theme") == "Theme: dark"


def contrast(one, other):
    def light(colour):
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(open_page, scheme):
    page = open_page(scheme=scheme)
    found = page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter(one => one.offsetParent !== null
            && [...one.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
            && !['SCRIPT', 'OPTION', 'STYLE'].includes(one.tagName)).map(one => {
              let under = one;
              while (under && ['rgba(0, 0, 0, 0)', 'transparent'].includes(
                getComputedStyle(under).backgroundColor)) under = under.parentElement;
              return [one.textContent.slice(0, 30), getComputedStyle(one).color,
                      getComputedStyle(under || document.body).backgroundColor];
            })"""
    )
    assert len(found) > 60
    faint = {told[0]: round(contrast(*told[1:]), 2) for told in found if contrast(*told[1:]) < 4.5}
    assert faint == {}


def test_a_long_board_shows_its_rows_when_they_are_scrolled_to(browser, table, tmp_path):
    rows = tuple(
        replace(table.rows[k % 4], label=f"row {k:03d}", position=k + 1) for k in range(500)
    )
    (tmp_path / "long.html").write_text(render([replace(table, rows=rows)]), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "long.html").as_uri())
    assert len(page.evaluate(ROWS)) == 200
    page.fill(".find input", "row 499")
    assert page.evaluate(ROWS) == ["row 499"]
    page.fill(".find input", "")
    for count in (400, 500):
        page.evaluate("() => document.querySelector('.how').scrollIntoView()")
        page.wait_for_function(f"() => document.querySelectorAll('tbody tr').length === {count}")
    page.close()
