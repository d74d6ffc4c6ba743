"""The same blocks as Markdown and as HTML."""

from fusionzoo.card.blocks import Bullets, Heading, Picture, Table, Text, facts
from fusionzoo.card.html import to_html
from fusionzoo.card.markdown import to_markdown

BLOCKS = [
    Heading(1, "A card: a -> b"),
    Text("x_1 * <b> & `y`"),
    Bullets(("one", "two")),
    Table(("", "AUROC", "beware"), (("a|b", "0.9", "few"),), words=(2,)),
    facts([("seed", "0")]),
    Picture("roc.png", "A curve", b"\x89PNG"),
]


def test_markdown():
    assert to_markdown(BLOCKS) == (
        "# A card: a -\\> b\n\n"
        "x\\_1 \\* \\<b\\> & \\`y\\`\n\n"
        "- one\n- two\n\n"
        "|  | AUROC | beware |\n|:--|--:|:--|\n| a\\|b | 0.9 | few |\n\n"
        "|  |  |\n|:--|:--|\n| seed | 0 |\n\n"
        "![A curve](roc.png)\n"
    )


def test_html_needs_no_other_file():
    page = to_html("Title & more", BLOCKS)
    assert page.startswith("<!doctype html><html lang='en'>")
    assert "<title>Title &amp; more</title>" in page
    assert "<h1>A card: a -&gt; b</h1>" in page
    assert "<p>x_1 * &lt;b&gt; &amp; `y`</p>" in page
    assert "<td class='n'>0.9</td><td>few</td>" in page
    assert "<table class='facts'><tr><td>seed</td><td>0</td></tr></table>" in page
    assert "<img alt='A curve' src='data:image/png;base64,iVBORw=='>" in page
    assert "http" not in page
