"""Spec strings: what is read, how it is written back, and what each error shows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionzoo.errors import SpecError
from fusionzoo.grammar import (
    Binding,
    Call,
    Chain,
    Combo,
    is_name,
    parse,
    parse_bindings,
    parse_chain,
    print_value,
    spec_hash,
)

# The type checker of the tests draws which items of a list it looks at, also inside strategies.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
quick = settings(max_examples=50, deadline=None, derandomize=True, database=None)

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,8}", fullmatch=True)
plain = st.one_of(
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.text(max_size=12),
    st.sampled_from(["regnety_032", "resnet50.a1_in1k", "a-b", "True", "None", "1", "-", "->"]),
)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


@st.composite
def calls(draw):
    named = draw(st.dictionaries(keys, values, max_size=3))
    first = draw(st.lists(values.map(lambda value: ("", value)), max_size=1))
    return Call(draw(names), (*first, *named.items()))


chains = st.lists(calls(), min_size=1, max_size=3).map(lambda found: Chain(tuple(found)))


@st.composite
def combos(draw):
    modalities = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    bindings, rest = [], modalities
    while rest:
        inputs = []
        for _ in range(draw(st.integers(1, 2))):
            count = draw(st.integers(1, 2))
            if rest:
                inputs.append(tuple(rest[:count]))
                rest = rest[count:]
        bindings.append(Binding(tuple(inputs), draw(chains)))
    features = sum(len(binding.inputs) for binding in bindings)
    fusion = draw(chains if features > 1 else st.one_of(st.none(), chains))
    return Combo(tuple(bindings), fusion, draw(calls()))


def binding(inputs, *chain):
    return Binding(inputs, Chain(chain))


LINEAR = Call("linear")
PENET_MSCA = (Call("penet3d"), Call("e3d_msca", (("dropout", 0.3),)))
VMAMBA = Call("vmamba")


@pytest.mark.parametrize(
    ("text", "combo"),
    [
        (
            "ct=penet3d+e3d_msca(dropout=0.3), table=kan -> msca -> linear",
            Combo(
                (
                    binding((("ct",),), *PENET_MSCA),
                    binding((("table",),), Call("kan")),
                ),
                Chain((Call("msca"),)),
                LINEAR,
            ),
        ),
        (
            "clinic=derm=vmamba -> cmigf+mgc -> linear",
            Combo(
                (binding((("clinic",), ("derm",)), VMAMBA),),
                Chain((Call("cmigf"), Call("mgc"))),
                LINEAR,
            ),
        ),
        (
            "clinic=vmamba, derm=vmamba -> mgc -> linear",
            Combo(
                (binding((("clinic",),), VMAMBA), binding((("derm",),), VMAMBA)),
                Chain((Call("mgc"),)),
                LINEAR,
            ),
        ),
        (
            "clinic+derm=timm(regnety_032) -> linear",
            Combo(
                (binding((("clinic", "derm"),), Call("timm", (("", "regnety_032"),))),),
                None,
                LINEAR,
            ),
        ),
        (
            "ct=resnet3d(width=4), table=identity -> daft -> linear",
            Combo(
                (
                    binding((("ct",),), Call("resnet3d", (("width", 4),))),
                    binding((("table",),), Call("identity")),
                ),
                Chain((Call("daft"),)),
                LINEAR,
            ),
        ),
        ("ct=penet3d -> linear", Combo((binding((("ct",),), Call("penet3d")),), None, LINEAR)),
        (
            "a+b=c+d=e -> concat -> linear",
            Combo(
                (binding((("a", "b"), ("c", "d")), Call("e")),), Chain((Call("concat"),)), LINEAR
            ),
        ),
    ],
)
def test_every_form_of_a_spec(text, combo):
    assert parse(text) == combo
    assert str(parse(text)) == text


def test_names_of_streams_and_of_modalities():
    combo = parse("a+b=c=vmamba, d=kan -> concat -> linear")
    assert combo.features == ("a+b", "c", "d")
    assert combo.modalities == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-2", -2),
        ("+3", 3),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.", 1),
        ("1e-3", 0.001),
        ("2.5E3", 2500),
        ("True", True),
        ("False", False),
        ("None", None),
        ("regnety_032", "regnety_032"),
        ("resnet50.a1_in1k", "resnet50.a1_in1k"),
        ("a-b", "a-b"),
        ("'5-20mm'", "5-20mm"),
        ('"it\'s"', "it's"),
        (r"'it\'s'", "it's"),
        (r"'back\\slash'", "back\\slash"),
        ("'two\nlines'", "two\nlines"),
        ("''", ""),
        ("()", ()),
        ("(1,)", (1,)),
        ("(1)", (1,)),
        ("[1, 2.5, a]", (1, 2.5, "a")),
        ("((1, 2), [3])", ((1, 2), (3,))),
    ],
)
def test_every_form_of_a_value(text, value):
    ((_, found),) = parse_chain(f"part(x={text})").calls[0].options
    assert found == value
    assert type(found) is type(value)
    assert parse_chain(f"part(x={print_value(found)})") == parse_chain(f"part(x={text})")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ct=mlp(a=1,b=2)->linear", "ct=mlp( b = 2 , a = 1 ) -> linear"),
        ("ct=mlp(a=1)->linear", "ct=mlp(a=1.0)->linear"),
        ("ct=mlp(a=1000)->linear", "ct=mlp(a=1e3)->linear"),
        ("ct=mlp(a=0)->linear", "ct=mlp(a=-0.0)->linear"),
        ("ct=mlp(a=x)->linear", "ct=mlp(a='x')->linear"),
        ('ct=mlp(a="x y")->linear', "ct=mlp(a='x y')->linear"),
        ("ct=mlp(a=(1,2))->linear", "ct=mlp(a=[1,2,])->linear"),
        ("ct=mlp()->linear()", "ct=mlp->linear"),
        ("ct=mlp\n  -> linear\t", "ct=mlp->linear"),
    ],
)
def test_the_same_meaning_is_equal_and_has_the_same_hash(one, other):
    assert parse(one) == parse(other)
    assert hash(parse(one)) == hash(parse(other))
    assert spec_hash(parse(one)) == spec_hash(parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ct=mlp(a=1)->linear", "ct=mlp(a=True)->linear"),
        ("ct=mlp(a=1)->linear", "ct=mlp(a='1')->linear"),
        ("ct=mlp(a=None)->linear", "ct=mlp(a='None')->linear"),
        ("ct=mlp(a=1)->linear", "ct=mlp(a=(1,))->linear"),
        ("a=mlp, b=mlp->concat->linear", "b=mlp, a=mlp->concat->linear"),
        ("a=mlp, b=mlp->concat->linear", "a=b=mlp->concat->linear"),
        ("a+b=mlp->linear", "b+a=mlp->linear"),
    ],
)
def test_another_meaning_has_another_hash(one, other):
    assert parse(one) != parse(other)
    assert spec_hash(parse(one)) != spec_hash(parse(other))


def test_a_hash_is_twelve_hex_digits_and_stays():
    assert spec_hash(parse("ct=penet3d -> linear")) == "9b861b82cce4"


def test_a_hash_takes_text_that_no_encoding_has():
    combo = parse("ct=timm(weights='/data/\udce9.pt') -> linear")
    assert len(spec_hash(combo)) == 12


def test_the_parts_of_one_kind_are_not_those_of_another():
    assert Call("a") != Chain((Call("a"),))
    assert len({Call("a"), Call("a", ()), Call("a", column=7)}) == 1


@quick
@given(combos())
def test_what_is_printed_is_read_back(combo):
    text = str(combo)
    assert parse(text) == combo
    assert str(parse(text)) == text
    assert spec_hash(parse(text)) == spec_hash(combo)


@quick
@given(combos(), st.randoms(use_true_random=False))
def test_spaces_and_the_order_of_options_do_not_matter(combo, random):
    def shuffled(call):
        options = list(call.options)
        random.shuffle(options)
        options.sort(key=lambda option: option[0] != "")
        return Call(call.name, tuple(options))

    loose = Combo(
        tuple(
            Binding(b.inputs, Chain(tuple(map(shuffled, b.chain.calls)))) for b in combo.bindings
        ),
        combo.fusion and Chain(tuple(map(shuffled, combo.fusion.calls))),
        shuffled(combo.head),
    )
    assert str(loose) == str(combo)
    assert parse(f"\n {loose} \t") == combo


MESSY = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="abz_09.+-=>,()[]'\"\\ \n\teEN", max_size=40),
    combos().map(str),
    st.builds(lambda text, at: text[: at % (len(text) + 1)], combos().map(str), st.integers(0)),
)


@quick
@given(MESSY, st.sampled_from([parse, parse_chain, parse_bindings]))
def test_any_text_is_read_or_refused_with_a_column_inside_it(text, read):
    error = refusal(read, text)
    if error is not None:
        assert 0 <= error.column <= len(text)
        message, shown, caret = str(error).rsplit("\n", 2)
        assert len(shown) == len(text) + 2
        assert caret == "  " + " " * error.column + "^"
        assert message.endswith((".", "?"))


def refusal(read, text):
    try:
        read(text)
    except SpecError as error:
        return error
    return None


@pytest.mark.parametrize("text", ["(" * 5000, "x=" * 5000, "a+" * 5000])
def test_a_long_text_is_refused_too(text):
    with pytest.raises(SpecError):
        parse_chain(f"part(x={text}")


def shown(read, text):
    with pytest.raises(SpecError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message", "caret"),
    [
        ("", "Expected the name of a component, found the end.", 0),
        ("ct=", "Expected the name of a component, found the end.", 3),
        (
            "ct=penet3d",
            "A spec ends with '-> head', for instance '-> linear'; this one has no head.",
            10,
        ),
        (
            "ct=a -> b -> c -> d",
            "After the encoders come one fusion and one head; this is a third stage.",
            18,
        ),
        (
            "ct=a, table=b -> linear",
            "2 encoders' features (ct, table) need a fusion before the head: "
            "'... -> concat -> linear'.",
            17,
        ),
        (
            "a+b=c=x -> linear",
            "2 encoders' features (a+b, c) need a fusion before the head: "
            "'... -> concat -> linear'.",
            11,
        ),
        ("ct=a -> b -> c+d", "The head is one component, without '+'.", 13),
        ("penet3d -> linear", "Which modality does 'penet3d' read? Write 'ct=penet3d'.", 0),
        ("ct=a, kan -> x -> y", "Which modality does 'kan' read? Write 'ct=kan'.", 6),
        ("ct=a, ct=b -> x -> y", "The modality 'ct' is read twice.", 6),
        ("ct+ct=a -> y", "The modality 'ct' is read twice.", 3),
        ("ct=a) -> y", "Expected '->' or the end of the spec, found ')'.", 4),
        ("ct=a ->", "Expected the name of a component, found the end.", 7),
        ("ct=a(x=1", "Expected ',' or ')', found the end.", 8),
        ("ct=a(x=1 y=2) -> l", "Expected ',' or ')', found 'y'.", 9),
        (
            "ct=a(x=) -> l",
            "Expected a value (number, word, 'text', True, False, None or a list), found ')'.",
            7,
        ),
        ("ct=a(x=(1 2)) -> l", "Expected ',' or ')', found '2'.", 10),
        ("ct=a(x=[1) -> l", "Expected ',' or ']', found ')'.", 9),
        (
            "ct=a(1, 2) -> l",
            "Expected an option as 'name=value' (only the first may go without its name), "
            "found '2'.",
            8,
        ),
        ("ct=a(x=1, x=2) -> l", "'a' is given the option 'x' twice.", 10),
        (
            "ct=PENet3D -> l",
            "'PENet3D' can't be the name of a component: names have lower-case letters, digits "
            "and '_'. Write 'penet3d'?",
            3,
        ),
        (
            "my-ct=a -> l",
            "'my-ct' can't be a modality: names have lower-case letters, digits and '_'. "
            "Write 'my_ct'?",
            0,
        ),
        (
            "ct=_a -> l",
            "'_a' can't be the name of a component: names have lower-case letters, digits and '_'.",
            3,
        ),
        (
            "ct=a(x=5-20mm) -> l",
            "'5-20mm' is no name and no number. As an option's value it needs quotes: '5-20mm'.",
            7,
        ),
        (
            "ct=a(weights=/data/a.pt) -> l",
            "'/data/a.pt' is no name and no number. As an option's value it needs quotes: "
            "'/data/a.pt'.",
            13,
        ),
        ("ct=a(x='never) -> l", "This quote is never closed.", 7),
        ('ct=a(x=b"never) -> l', "This quote is never closed.", 8),
        ("ct=a(x=1e999) -> l", "The number 1e999 is too long or too large.", 7),
        (
            f"ct=a(x={'9' * 5000}) -> l",
            "The number 99999999999999999999... is too long or too large.",
            7,
        ),
        (f"ct=a(x={'(' * 30}", "Lists go no deeper than 20 in each other.", 28),
    ],
)
def test_what_an_error_of_a_spec_shows(text, message, caret):
    assert shown(parse, text) == f"{message}\n  {text}\n  {' ' * caret}^"


def test_an_error_in_several_lines_keeps_its_caret_below():
    assert shown(parse, "ct=a\n -> b\n -> c+d").splitlines() == [
        "The head is one component, without '+'.",
        "  ct=a  -> b  -> c+d",
        "                 ^",
    ]


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (parse_chain, "kan -> x", "Expected the end of the spec, found '->'."),
        (parse_bindings, "a=kan -> x", "Expected ',' or the end of the encoders, found '->'."),
    ],
)
def test_what_stands_after_a_part(read, text, message):
    assert shown(read, text).splitlines()[0] == message


def test_encoders_may_go_without_a_modality():
    assert parse_bindings("penet3d+e3d_msca, table=kan") == (
        binding((), Call("penet3d"), Call("e3d_msca")),
        binding((("table",),), Call("kan")),
    )


def test_a_component_alone():
    chain = parse_chain("lidc(size='5-20mm')")
    assert chain == Chain((Call("lidc", (("size", "5-20mm"),)),))
    assert [call.column for call in parse_chain("a + bb+c").calls] == [0, 4, 7]


@pytest.mark.parametrize(
    ("text", "good"), [("ct", True), ("a_1", True), ("Ct", False), ("1a", False)]
)
def test_names(text, good):
    assert is_name(text) is good
    assert not is_name(f"{text}\n")


def test_calls_come_with_their_kinds_and_can_be_changed():
    combo = parse("a=b=x(k=1)+n, c=y -> f+g -> h")
    kinds = [(kind, call.name) for kind, call in combo.calls]
    encoders = [("encoder", "x"), ("neck", "n"), ("encoder", "y")]
    assert kinds == [*encoders, ("fusion", "f"), ("fusion", "g"), ("head", "h")]
    assert combo.map(lambda kind, call: call) == combo
    bare = combo.map(lambda kind, call: Call(f"{call.name}_{kind}"))
    assert str(bare) == "a=b=x_encoder+n_neck, c=y_encoder -> f_fusion+g_fusion -> h_head"
    assert str(parse("a=x -> h").map(lambda kind, call: call)) == "a=x -> h"
