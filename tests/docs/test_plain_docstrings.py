import pytest

from docs.plain_docstrings import to_rest


@pytest.mark.parametrize(
    ("plain", "rest"),
    [
        (["A `vector` of x_ml."], ["A ``vector`` of x_ml.", ""]),
        (
            ["`batch *space`, a * b, |A| and sum_"],
            [r"``batch *space``, a \* b, \|A\| and sum\_", ""],
        ),
        (
            ["Formula:", "", "    z = x * y"],
            ["Formula:", "", "::", "", "        z = x * y", ""],
        ),
        (["| a | b |"], ["::", "", "    | a | b |", ""]),
        (
            ["Code that is `broken", "over` two lines."],
            ["Code that is ``broken over`` two lines.", ""],
        ),
        (["Text that goes on", "    indented."], ["Text that goes on", "indented.", ""]),
        (["- an item", "  that goes on"], ["- an item", "  that goes on", ""]),
        ([">>> 2 * 2", "4"], [">>> 2 * 2", "4", ""]),
    ],
)
def test_text_becomes_markup(plain, rest):
    assert to_rest(plain) == rest


def test_fields_may_have_their_text_beside_them():
    plain = [
        "Inputs:  `batch channels`",
        "Returns: one output,",
        "         one loss",
        "Raises:  Bad: x",
    ]
    assert to_rest(plain) == [
        "",
        ":Inputs: ``batch channels``",
        ":Returns: one output,",
        "    one loss",
        ":Raises: Bad: x",
        "",
    ]


def test_sections_keep_their_indentation():
    plain = [
        "Args:",
        "    x: Any `x` * 2.",
        "",
        "    y: More.",
        "",
        "Example:",
        "    >>> 2 * 2",
        "    4",
    ]
    assert to_rest(plain) == [
        "",
        "Args:",
        r"    x: Any ``x`` \* 2.",
        "",
        "    y: More.",
        "",
        "",
        "Example:",
        "    >>> 2 * 2",
        "    4",
        "",
    ]
