"""Whatever is typed as a spec is read, or refused with a place in the text."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionzoo.errors import SpecError
from fusionzoo.grammar import Combo, parse, parse_bindings, parse_chain, spec_hash

#: Pieces of spec strings, right and wrong.
PIECES = (
    *("ct", "table", "derm=clinic=", "a+b=", "penet3d", "kan", "msca", "linear", "1a", "Ct", "_"),
    *(" -> ", "->", ", ", ",", "+", "=", "(", ")", "[", "]", " ", "\n", "\t", "-", ">", "."),
    *("width=0.25", "x=1", "=1e9", "1e999", "-0.0", "inf", "nan", "True", "None", "0x1f", "1_000"),
    *("'text'", '"text"', "'", '"', "\\", "(1, 2)", "[1, [2, 3]]", "((((", "))))", "'\\''", "é"),
    *(
        "__import__('os')",
        "lambda: 0",
        "{}",
        "{0}",
        "%s",
        "#",
        ";",
        "\x00",
        "\ud7ff",
        "\U0001d538",
        "\uff19",
    ),
)
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=14).map("".join)
READERS = st.sampled_from([parse, parse_chain, parse_bindings])


def check(text: str, read) -> None:
    """Read, and so canonical; or refused, with a place."""
    refusal = None
    try:
        found = read(text)
    except SpecError as error:
        refusal = error
    if refusal is not None:
        assert 0 <= refusal.column <= len(text)
        assert refusal.message
    elif isinstance(found, Combo):
        again = parse(str(found))
        assert again == found
        assert str(again) == str(found)
        assert spec_hash(again) == spec_hash(found)
    elif read is parse_chain:
        assert read(str(found)) == found


@given(TEXTS, READERS)
@settings(max_examples=400)
def test_any_text(text, read):
    check(text, read)


@pytest.mark.slow
@given(TEXTS, READERS)
@settings(max_examples=100_000, suppress_health_check=list(HealthCheck))
def test_a_hundred_thousand_texts(text, read):
    check(text, read)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)


@given(VALUES)
@settings(max_examples=500)
def test_every_value_is_read_as_it_was_printed(value):
    from fusionzoo.grammar import Call

    call = Call("part", (("option", value),))
    (read,) = parse_chain(str(call)).calls
    assert read == call
