import pytest

from fusionzoo.bench.grid import read_tables
from fusionzoo.errors import BadOption, UnknownComponent
from fusionzoo.recipes import load_recipe
from fusionzoo.spec import DataSpec, Modality, TaskSpec

DATA = DataSpec(
    "tiny",
    (Modality("ct", "volume", 1, (8, 32, 32)), Modality("table", "table", 7)),
    (TaskSpec("dx", ("A", "G")),),
)


@pytest.fixture
def read(tmp_path):
    def one(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        (table,) = read_tables(str(path))
        return table

    return one


def test_a_published_table_keeps_what_was_printed():
    (table,) = read_tables("mmcaf_net/table1")
    recipe = load_recipe("mmcaf_net/table1")
    assert (table.name, table.title, table.place) == (
        "mmcaf_net/table1",
        recipe.summary,
        "Table 1",
    )
    assert (table.test.positives, table.test.negatives) == (15, 28)
    last, printed = table.rows[-1], recipe.rows[-1]
    assert (last.label, last.spec, last.basis) == (printed.label, printed.spec, printed.basis)
    assert last.published == printed.published
    assert str(last.combo(DATA)) == printed.spec


def test_all_tables_of_a_paper():
    assert len(read_tables("mmcaf_net")) == 4
    with pytest.raises(UnknownComponent, match="No recipe is called 'mmcaf'"):
        read_tables("mmcaf")


def test_a_recipe_of_ones_own_is_known_by_its_paper(read):
    table = read(
        'summary = "s"\npaper = "p"\nplace = "T1"\ndataset = "lidc"\ndecimals = 2\n'
        '[[rows]]\nlabel = "A"\nspec = "table=kan -> linear"\nbasis = "paper"\n'
    )
    assert (table.name, table.paper, table.decimals, table.rows[0].basis) == (
        "mine",
        "p",
        2,
        "paper",
    )


def test_every_combination(read):
    table = read(
        'title = "Fusions"\ndataset = "lidc"\n[training]\nepochs = 2\n[grid]\n'
        'encoders = ["penet3d", ["ct=resnet3d", "table=mlp"]]\nfusions = ["concat", "late"]\n'
    )
    assert (table.name, table.title, table.dataset) == ("mine", "Fusions", "lidc")
    assert table.training == {"epochs": 2}
    assert {row.label: str(row.combo(DATA)) for row in table.rows} == {
        "penet3d -> concat": "ct=penet3d, table=kan -> concat -> linear",
        "penet3d -> late": "ct=penet3d, table=kan -> late -> linear",
        "ct=resnet3d, table=mlp -> concat": "ct=resnet3d, table=mlp -> concat -> linear",
        "ct=resnet3d, table=mlp -> late": "ct=resnet3d, table=mlp -> late -> linear",
    }


def test_heads_are_named_where_there_are_several(read):
    table = read('[grid]\nencoders = ["table=mlp"]\nheads = ["linear", "mlp"]')
    assert [row.label for row in table.rows] == ["table=mlp -> linear", "table=mlp -> mlp"]


def test_all_fusions_and_what_a_refining_one_needs(read):
    table = read('[grid]\nencoders = ["penet3d"]\nfusions = "all"')
    labels = [row.label for row in table.rows]
    assert "penet3d -> msca" in labels
    assert all(row.fusion.endswith("+concat") or "+" not in row.fusion for row in table.rows)


def test_rows_and_systems(read):
    table = read(
        'dataset = "lidc"\n[[rows]]\nlabel = "solo"\nspec = "ct=penet3d -> linear"\n'
        'training = { epochs = 3 }\ncategory = "one"\n[[rows]]\nsystem = "mmcaf-net:official"\n'
    )
    solo, system = table.rows
    assert (solo.label, solo.training, solo.category) == ("solo", {"epochs": 3}, "one")
    assert system.label == "mmcaf-net:official"
    assert (system.training["loss"], system.basis) == ("focal", "released")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it has no rows"),
        ("title = 3\n[grid]\nencoders = ['mlp']", "title must be text"),
        ("shape = 1", "shape is not known"),
        ("[grid]\nfusions = ['concat']", "grid.encoders is missing"),
        ("[grid]\nencoders = 'penet3d'", "grid.encoders must be a list of texts, or of lists with"),
        (
            "[grid]\nencoders = ['a']\nfusions = [3]",
            "grid.fusions must be a list of texts, or 'all'",
        ),
        ("[[rows]]\nlabel = 'a'", "row a: Give a row either spec = or system =."),
        ("[[rows]]\nspec = 'ct=penet3d ->'", "row 1: Expected the name of a component"),
        ("[[rows]]\nsystem = 'mmcaf'", "row 1: No system is called 'mmcaf'"),
        ("[[rows]]\nspec='a=b -> c'\ntraining={epoks=1}", "row 1: Training has no setting 'epoks'"),
        ("[[rows]]\nspec='a=b -> c'\n[[rows]]\nspec='a=b -> c'", "'a=b -> c' labels two rows"),
        ("[grid", "is no TOML"),
    ],
)
def test_what_is_wrong_with_a_grid(read, text, told):
    with pytest.raises(BadOption) as caught:
        read(text)
    assert told in str(caught.value)


def test_an_absent_file():
    with pytest.raises(BadOption, match=r"The file 'none\.toml' can't be read: No such file"):
        read_tables("none.toml")
