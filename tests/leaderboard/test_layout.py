from dataclasses import replace

import pytest

from fusionzoo.errors import MixedRuns
from fusionzoo.leaderboard.cache import BoardCache
from fusionzoo.leaderboard.facts import read_facts
from fusionzoo.leaderboard.layout import grouped_layouts, sheet_layout
from fusionzoo.records.failure import read_failures
from fusionzoo.records.sheet import read_sheets
from fusionzoo.records.store import RunStore


@pytest.fixture(scope="module")
def facts(table_store):
    return read_facts(RunStore(table_store), BoardCache())


def test_a_sheet_says_which_runs_are_which_rows(table_store, facts):
    (sheet,) = read_sheets(table_store)
    layout = sheet_layout(sheet, facts, read_failures(table_store))
    assert layout.sheet
    assert layout.source == "Doe et al., 2025, Table 1"
    rows = {row.label: row for row in layout.rows}
    assert [cell.place for cell in rows["MSCA"].cells] == ["fold 0, seed 0", "fold 1, seed 0"]
    assert len(rows["MSCA"].runs) == 2
    assert [cell.run is None for cell in rows["Late"].cells] == [False, True]
    assert rows["Late"].cells[1].failure.kind == "memory"
    assert rows["CLIP"].refusal == "'clip' needs two vectors."
    assert len(layout.runs) == 9


def test_runs_without_a_sheet_are_grouped(facts):
    (layout,) = grouped_layouts(facts.values())
    assert layout.name == "lidc, 2 stratified folds by patient, seed 0, protocol 1; size=all"
    assert not layout.sheet
    assert [row.label for row in layout.rows] == sorted(row.spec for row in layout.rows)
    assert [len(row.runs) for row in layout.rows] == [2, 1, 2, 2, 2]


def test_data_set_scheme_and_protocol_part_boards(facts):
    runs = list(facts.values())
    changed = [
        replace(runs[0], dataset="derm7pt"),
        replace(runs[1], protocol="2"),
        replace(runs[2], split_scheme="fold 0 of 7 folds"),
        *runs[3:],
    ]
    names = [layout.name for layout in grouped_layouts(changed)]
    assert len(names) == 4
    assert names[0].startswith("derm7pt, 2 stratified folds")
    assert any("protocol 2" in name for name in names)
    assert any("lidc, 7 folds, protocol 1" in name for name in names)


def test_rows_of_one_spec_are_told_apart_by_their_settings(facts):
    first = next(iter(facts.values()))
    other = replace(first, run_id="other", settings={**first.settings, "epochs": 99})
    (layout,) = grouped_layouts([first, other])
    assert [row.label for row in layout.rows] == [
        f"{first.spec} [epochs=12]",
        f"{first.spec} [epochs=99]",
    ]


def test_labels_leave_out_options_that_say_nothing(facts):
    first = replace(next(iter(facts.values())), spec="ct=penet3d(width=0.25) -> linear")
    (alone,) = grouped_layouts([first])
    assert alone.rows[0].label == "ct=penet3d -> linear"
    deep = "ct=penet3d(depth=14, width={}) -> linear"
    runs = [replace(first, run_id=f"{w}", spec=deep.format(w)) for w in (0.25, 1.0)]
    (both,) = grouped_layouts(runs)
    assert [row.label for row in both.rows] == [
        "ct=penet3d(width=0.25) -> linear",
        "ct=penet3d(width=1) -> linear",
    ]
    assert [row.spec for row in both.rows] == [run.spec for run in runs]
    odd = replace(first, spec="not -> a ( spec")
    assert grouped_layouts([odd])[0].rows[0].label == "not -> a ( spec"


def test_a_failure_stands_in_the_row_of_its_spec(table_store, facts):
    (layout,) = grouped_layouts(facts.values(), read_failures(table_store).values())
    row = next(row for row in layout.rows if "late" in row.label)
    assert [cell.failure.kind if cell.failure else None for cell in row.cells] == [None, "memory"]


def test_twins_are_refused(facts):
    first = next(iter(facts.values()))
    with pytest.raises(MixedRuns) as caught:
        grouped_layouts([first, replace(first, run_id="twin")])
    assert f"Runs {first.run_id} and twin are both fold 0, seed 0" in str(caught.value)
    assert "choose runs with --runs" in str(caught.value)
