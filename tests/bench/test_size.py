import pytest

from fusionzoo.bench.size import FULL, read_size
from fusionzoo.errors import BadOption
from fusionzoo.grammar import parse


@pytest.fixture
def read(tmp_path):
    def one(text):
        path = tmp_path / "tiny.toml"
        path.write_text(text, encoding="utf-8")
        return read_size(str(path))

    return one


def test_options_take_the_place_of_the_rows_own(read):
    size = read(
        'note = "Small."\n[options]\npenet3d = { width = 0.25 }\nmlp = { hidden = [8, 8] }\n'
        "[training]\nepochs = 2\n"
    )
    assert (size.name, size.note, size.training) == ("tiny", "Small.", {"epochs": 2})
    combo = parse("ct=penet3d(width=1, depth=50)+e3d_msca, table=mlp -> concat -> mlp")
    assert str(size.apply(combo)) == (
        "ct=penet3d(depth=50, width=0.25)+e3d_msca, table=mlp(hidden=(8, 8)) -> concat -> "
        "mlp(hidden=(8, 8))"
    )


def test_an_option_without_a_name_is_replaced_too(read):
    size = read('[options]\ntimm = { name = "resnet10t" }')
    combo = parse("clinic=derm=timm(resnet50) -> concat -> linear")
    assert str(size.apply(combo)) == "clinic=derm=timm(name=resnet10t) -> concat -> linear"


def test_a_value_may_take_the_place_of_another_one_alone(read):
    size = read('[options]\ntimm = { name = { resnet50 = "resnet18" } }')
    for name, made in {"resnet50": "resnet18", "densenet121": "densenet121"}.items():
        combo = parse(f"clinic=derm=timm(name={name}) -> concat -> linear")
        assert str(size.apply(combo)) == f"clinic=derm=timm(name={made}) -> concat -> linear"


def test_full_size_changes_nothing():
    combo = parse("ct=penet3d(width=1), table=kan -> msca -> linear")
    assert FULL.apply(combo) == combo


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("options = 3", "options must be"),
        ("colour = 3", "colour is not known"),
        ("[options]\npenet = {width = 1}", "no component is called 'penet'. Closest: penet3d"),
        (
            "[options]\npenet3d = {widht = 1}",
            "encoder 'penet3d' has no option 'widht'. Closest: wi",
        ),
        ("[training]\nepoks = 3", "Training has no setting 'epoks'"),
        ("[options", "is no TOML"),
    ],
)
def test_what_is_wrong_with_a_size(read, text, told):
    with pytest.raises(BadOption) as caught:
        read(text)
    assert told in str(caught.value)


def test_an_absent_file():
    with pytest.raises(BadOption, match=r"The size 'none\.toml' can't be read: No such file"):
        read_size("none.toml")
