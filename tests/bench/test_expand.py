import dataclasses

import pytest

from fusionzoo.api import plan_run
from fusionzoo.bench.expand import Ask, expand
from fusionzoo.bench.grid import Table, TableRow
from fusionzoo.bench.size import Size
from fusionzoo.errors import BadOption, DataError
from tests import small_manifest
from tests.conftest import QUICK

MLP, KAN = "table=mlp -> linear", "table=kan -> linear"
ROWS = (
    TableRow("MLP", MLP, basis="paper", published={"auroc": 0.7}, training={"lr": 0.1}),
    TableRow("KAN", KAN),
    TableRow("alone", "table=mlp -> msca -> linear"),
    TableRow("elsewhere", "derm=timm -> linear"),
)
TABLE = Table("paper/t1", "A table", "Doe", "Table 1", "lung", "", 3, None, QUICK, "Note.", ROWS)


@pytest.fixture(scope="module")
def bench(small_data):
    (one,) = expand([TABLE], Ask(dataset=str(small_data), folds=3, seeds=2))
    return one


def test_every_row_on_every_fold_with_every_seed(bench):
    assert len(bench.cells) == len({cell.run_id for cell in bench.cells}) == 2 * 3 * 2
    order = [(cell.seed, cell.label, cell.fold) for cell in bench.cells]
    assert order == [(s, row, f) for s in (0, 1) for row in ("MLP", "KAN") for f in (0, 1, 2)]
    assert str(bench.cells[0]) == "MLP, fold 0, seed 0"


def test_a_cell_is_the_run_that_a_single_command_makes(bench, small_data):
    cell = bench.cells[4]
    alone = plan_run(
        KAN, dataset=str(small_data), fold=cell.fold, num_folds=3, seed=cell.seed, training=QUICK
    )
    assert cell.run_id == alone.run_id
    assert cell.plan.dataset_text == str(small_data)


def test_the_sheet_says_which_run_is_which_row(bench, small_data):
    sheet = bench.sheet
    assert (sheet.name, sheet.title, sheet.published_dataset) == ("paper/t1", "A table", "lung")
    assert (sheet.dataset, sheet.dataset_name) == (str(small_data), "small")
    assert (sheet.num_folds, sheet.seeds, sheet.settings) == (3, (0, 1), QUICK)
    first = sheet.rows[0]
    assert (first.label, first.spec, first.settings) == ("MLP", MLP, {"lr": 0.1})
    assert first.published == {"auroc": 0.7}
    assert set(sheet.run_ids) == {cell.run_id for cell in bench.cells}
    assert [(cell.fold, cell.seed) for cell in first.cells] == [
        (fold, seed) for fold in range(3) for seed in range(2)
    ]


def test_rows_that_do_not_fit_are_refused_one_by_one(bench):
    alone, elsewhere = bench.sheet.rows[2:]
    assert alone.refusal.startswith("Fusion 'msca' joins at least 2 modalities")
    assert "derm" in elsewhere.refusal
    assert alone.cells == elsewhere.cells == ()
    assert alone.spec == "table=mlp -> msca -> linear"


def test_size_and_flags_come_after_the_rows(small_data):
    size = Size("tiny", "Tiny nets.", {"mlp": {"hidden": (4,)}}, {"lr": 0.5})
    ask = Ask(dataset=str(small_data), folds=2, size=size, settings={"epochs": 7})
    (bench,) = expand([TABLE], ask)
    first = bench.sheet.rows[0]
    assert first.spec == "table=mlp(hidden=(4)) -> linear"
    assert first.settings == {}
    config = bench.cells[0].plan.config
    assert (config.lr, config.epochs, config.batch_size) == (0.5, 7, QUICK["batch_size"])
    assert (bench.sheet.size, bench.sheet.options) == ("tiny", {"mlp": {"hidden": (4,)}})
    assert bench.sheet.note == "Note.\nTiny nets."


def test_tables_that_share_a_row_share_its_runs(small_data):
    other = dataclasses.replace(TABLE, name="paper/t2", rows=(TableRow("the same", KAN),))
    first, second = expand([TABLE, other], Ask(dataset=str(small_data), folds=2))
    assert set(second.sheet.run_ids) < set(first.sheet.run_ids)


def test_the_data_sets_own_split_and_folds(small_data, tmp_path):
    own = dataclasses.replace(TABLE, rows=ROWS[1:2])
    (bench,) = expand([own], Ask(dataset=str(small_data)))
    assert (bench.sheet.num_folds, [cell.fold for cell in bench.cells]) == (0, [None])
    folded = str(small_manifest.write(tmp_path / "folds", split="fold"))
    (bench,) = expand([own], Ask(dataset=folded))
    assert (bench.sheet.num_folds, [cell.fold for cell in bench.cells]) == (3, [0, 1, 2])
    with pytest.raises(
        BadOption, match="5 folds were asked for, and data set 'small' comes with 3"
    ):
        expand([own], Ask(dataset=folded, folds=5))


def test_what_concerns_all_rows_is_no_refusal_of_one(small_data):
    with pytest.raises(BadOption, match="Training has no setting 'epoks'"):
        expand([TABLE], Ask(dataset=str(small_data), settings={"epoks": 1}))
    with pytest.raises(BadOption, match=r"'paper/t1' names no data set. Say which: --dataset lidc"):
        expand([dataclasses.replace(TABLE, dataset="")], Ask())


def test_a_table_on_data_that_are_not_here(tmp_path):
    table = dataclasses.replace(TABLE, dataset=f"lung_pet_ct_dx(root='{tmp_path}/none')")
    with pytest.raises(
        DataError, match="To run its rows on the data in the package: --dataset lidc"
    ):
        expand([table], Ask())
    with pytest.raises(DataError, match="in the package: --dataset lidc_views"):
        expand([dataclasses.replace(table, stand_in="lidc_views")], Ask())


def test_another_scoring_makes_other_runs(small_data, bench):
    ask = Ask(dataset=str(small_data), folds=3, seeds=2, threshold_rule="0.5")
    (other,) = expand([TABLE], ask)
    assert not set(other.sheet.run_ids) & set(bench.sheet.run_ids)
    assert other.sheet.slug != bench.sheet.slug
    assert (other.sheet.threshold_rule, bench.sheet.threshold_rule) == ("0.5", "youden")
