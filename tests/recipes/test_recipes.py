"""Every published table: it is read strictly, and its rows assemble and learn."""

import pytest
import torch

from fusionzoo.data.open import open_dataset
from fusionzoo.errors import BadOption, UnknownComponent
from fusionzoo.grammar import parse
from fusionzoo.interface import Batch
from fusionzoo.models.assemble import assemble
from fusionzoo.models.matrix import small_options
from fusionzoo.plugin_files import recipe_folders
from fusionzoo.recipes import load_recipe, load_recipes, recipe_names
from fusionzoo.spec import DataSpec, Modality, TaskSpec
from fusionzoo.training.loop import total_loss

#: The smallest of what the rows read: volumes of one channel, a table, and two images.
TINY = DataSpec(
    "tiny",
    (
        Modality("ct", "volume", 1, (4, 32, 32)),
        Modality("table", "table", 7),
        *(Modality(name, "image", 3, (32, 32)) for name in ("clinic", "derm", "low", "high")),
    ),
    (TaskSpec("dx", ("A", "G")), TaskSpec("grade", ("low", "middle", "high"))),
    small_options(),
)
#: Recipes of the package, without those of plugins that happen to be installed.
SHIPPED = [name for name in recipe_names() if name.partition("/")[0] not in recipe_folders()]
#: One row of each spec: of two tables of the same methods, the one read first.
ROWS = {
    row.spec.replace("low", "clinic").replace("high", "derm"): (name, row.label)
    for name in reversed(SHIPPED)
    for row in load_recipe(name).rows
}.values()

RECIPE = """
summary = "s"
paper = "p"
place = "Table 1"
dataset = "lidc"
decimals = 3
[[rows]]
label = "A"
spec = "table=kan -> linear"
basis = "paper"
published = { auroc = 0.8 }
"""


@pytest.fixture
def read(tmp_path):
    def one(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(str(path))

    return one


def tiny_batch(size=4):
    torch.manual_seed(0)
    return Batch(
        {m.name: torch.randn(size, *m.shape) for m in TINY.modalities},
        {m.name: torch.ones(size, dtype=torch.bool) for m in TINY.modalities},
        {"dx": torch.arange(size) % 2, "grade": torch.arange(size) % 3},
        torch.arange(size),
    )


@pytest.mark.parametrize(("name", "label"), ROWS)
def test_every_row_takes_a_step(name, label):
    recipe = load_recipe(name)
    model = assemble(recipe.row(label).spec, TINY).train()
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    batch = tiny_batch()
    present = model.context(batch).present
    loss = total_loss(model(batch), batch, present, TINY.tasks, model.supervised, "bce")
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    reached = [p.grad is not None and bool(p.grad.any()) for p in model.parameters()]
    assert sum(reached) > 0
    with torch.no_grad():
        assert all(torch.isfinite(x).all() for x in model.eval()(batch).logits.values())


def test_the_tables_of_the_paper():
    tables = {recipe.place: len(recipe.rows) for recipe in load_recipes("mmcaf_net")}
    assert tables == {
        "Table 1": 7,
        "Table 2": 4,
        "Table 3": 4,
        "README of the released code, table of encoders": 2,
    }
    rows = {row.label: row for recipe in load_recipes("mmcaf_net") for row in recipe.rows}
    assert rows["KAN"].published["auroc"] == 0.819
    released = {label for label, row in rows.items() if row.basis == "released"}
    assert released >= {"MMCAF-Net", "DAFT", "Cross-Attention", "KAN", "MLP", "PENet"}
    assert not released & {"PECon", "MedFuse", "DrFuse", "MMTM", "PEfusion", "SAM+E3D-MSCA"}
    in_doubt = {label for label, row in rows.items() if row.note.startswith("In doubt")}
    assert in_doubt == {"DrFuse", "DAFT", "PENet+E3D-MSCA+drop"}


@pytest.mark.parametrize("name", [n for n in SHIPPED if load_recipe(n).stand_in])
def test_stand_ins_have_the_modalities_of_the_rows(name):
    recipe = load_recipe(name)
    known = {modality.name for modality in open_dataset(recipe.stand_in).spec.modalities}
    assert {m for row in recipe.rows for m in parse(row.spec).modalities} <= known


def test_the_table_of_iimgf_net():
    derm7pt, dect = load_recipe("iimgf_net/table1"), load_recipe("iimgf_net/table1_dect")
    assert [row.label for row in derm7pt.rows] == [row.label for row in dect.rows]
    assert len(dect.rows) == 13
    groups = [row.category for row in derm7pt.rows]
    assert {name: groups.count(name) for name in groups} == {"early": 8, "middle": 4, "late": 1}
    for ours, theirs in zip(derm7pt.rows, dect.rows, strict=True):
        assert ours.spec.replace("clinic", "low").replace("derm", "high") == theirs.spec
        assert (ours.basis, ours.category) == (theirs.basis, theirs.category)
    best = dect.row("IIMGF-Net")
    assert (best.published["accuracy"], best.published_sd["accuracy"]) == (0.913, 0.051)
    assert derm7pt.row("XCiT").published == {
        "accuracy": 0.679,
        "auroc": 0.724,
        "sensitivity": 0.515,
        "specificity": 0.732,
    }
    assert (derm7pt.cases.test, derm7pt.cases.tasks, derm7pt.cases.folds) == (395, 8, 1)
    assert (dect.cases.test, dect.cases.tasks, dect.cases.folds) == (32, 1, 5)


def test_a_file_of_ones_own(read):
    recipe = read(RECIPE)
    assert (recipe.rows[0].label, recipe.rows[0].note, recipe.test) == ("A", "", None)
    (row,) = read(RECIPE + 'category = "E"\npublished_sd = { auroc = 0.03 }\n').rows
    assert (row.category, row.published_sd) == ("E", {"auroc": 0.03})


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('place = "Table 1"', "", "place is missing"),
        ('summary = "s"', 'summary = "s"\ncolour = "red"', "colour is not known"),
        ("decimals = 3", 'decimals = "3"', "decimals must be a whole number"),
        ("auroc = 0.8", "auroc = 80", "row 'A': auroc is 80.0, not between 0 and 1"),
        ("auroc = 0.8", "aurok = 0.8", "no metric is called 'aurok'. Closest: auroc"),
        (
            'basis = "paper"',
            'basis = "paper"\npublished_sd = { f1 = 0.1 }',
            "row 'A': f1 has a standard deviation and no value",
        ),
        ('basis = "paper"', 'basis = "rumour"', "basis 'rumour' is none of released, paper"),
        ("kan -> linear", "kan ->", "Expected the name of a component"),
        ('basis = "paper"', 'basis = "paper"\ntraining = { epoks = 3 }', "no setting 'epoks'"),
        ("[[rows]]", "[[rows]", "is no TOML"),
        ('label = "A"', 'label = "A"\nlabel = "B"', "is no TOML"),
    ],
)
def test_what_is_wrong_with_a_file(read, old, new, told):
    with pytest.raises(BadOption) as raised:
        read(RECIPE.replace(old, new))
    assert told in str(raised.value)


def test_two_rows_of_one_label(read):
    with pytest.raises(BadOption, match="'A' labels two rows"):
        read(RECIPE + RECIPE[RECIPE.index("[[rows]]") :])


def test_names():
    with pytest.raises(UnknownComponent, match=r"No recipe is called 'mmcaf_net/table9'\. Closest"):
        load_recipe("mmcaf_net/table9")
    with pytest.raises(BadOption, match=r"'mmcaf_net' has 4 tables\. Name one: mmcaf_net/readme"):
        load_recipe("mmcaf_net")
    with pytest.raises(BadOption, match=r"can't be read: No such file"):
        load_recipe("nowhere.toml")
    with pytest.raises(BadOption, match=r"has no row 'Pecon'\. Closest: PECon"):
        load_recipe("mmcaf_net/table1").row("Pecon")
