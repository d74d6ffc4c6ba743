import json

import pytest

from fusionzoo.errors import RunError
from fusionzoo.records.sheet import (
    SCHEMA,
    PublishedTest,
    Sheet,
    SheetCell,
    SheetRow,
    load_sheet,
    read_sheet,
    read_sheets,
    sheet_slugs,
    write_sheet,
)


def make_sheet(**changes):
    cells = (SheetCell("a-0", 0, 0), SheetCell("a-1", 1, 0))
    rows = (
        SheetRow("A", "ct=x -> linear", "paper", "", {"auroc": 0.8}, {"auroc": 0.1}, "", {}, cells),
        SheetRow("B", "ct=y -> linear", "", "solo", {}, {}, "", {"lr": 0.1}, (), "It can't be."),
    )
    told = {
        "schema": SCHEMA,
        "name": "paper/table1",
        "title": "A table",
        "paper": "Doe et al.",
        "place": "Table 1",
        "published_dataset": "derm7pt",
        "dataset": "lidc(size=all)",
        "dataset_name": "lidc",
        "num_folds": 2,
        "seeds": (0,),
        "protocol": "1",
        "precision": "32-true",
        "size": "small",
        "options": {"penet3d": {"width": 0.25}},
        "settings": {"epochs": 3},
        "decimals": 3,
        "test": PublishedTest(15, 28, "yes"),
        "note": "",
        "rows": rows,
    }
    return Sheet(**{**told, **changes})


def test_there_and_back(tmp_path):
    sheet = make_sheet()
    path = write_sheet(tmp_path, sheet)
    assert path == tmp_path / "sheets" / f"{sheet.slug}.json"
    assert load_sheet(path) == sheet
    assert read_sheet(tmp_path, sheet.slug) == sheet
    assert sheet.run_ids == ("a-0", "a-1")
    bare = make_sheet(test=None, num_folds=0, rows=())
    write_sheet(tmp_path, bare)
    assert read_sheets(tmp_path) == sorted([sheet, bare], key=lambda s: s.slug)
    assert sheet_slugs(tmp_path) == sorted([sheet.slug, bare.slug])


def test_slugs_are_readable_and_tell_sheets_apart():
    sheet = make_sheet()
    assert sheet.slug.startswith("paper-table1-lidc-")
    same = [make_sheet(seeds=(0, 1)), make_sheet(rows=()), make_sheet(note="x")]
    assert {other.slug for other in same} == {sheet.slug}
    changes = (
        {"num_folds": 5},
        {"options": {}},
        {"settings": {}},
        {"protocol": "2"},
        {"precision": "64-true"},
        {"threshold_rule": "f1"},
    )
    others = [make_sheet(**change) for change in (*changes, {"dataset": "lidc"}, {"name": "b"})]
    assert len({other.slug for other in (sheet, *others)}) == 9


def test_an_empty_store_has_no_sheets(tmp_path):
    assert read_sheets(tmp_path / "none") == []
    with pytest.raises(RunError) as caught:
        read_sheet(tmp_path, "board")
    assert str(caught.value) == (
        f"{tmp_path} has no sheet 'board'. It has none: run 'fusionzoo bench'."
    )


def test_a_mistyped_slug_gets_the_nearest(tmp_path):
    slug = make_sheet().slug
    write_sheet(tmp_path, make_sheet())
    with pytest.raises(RunError) as caught:
        read_sheet(tmp_path, slug[:-1])
    assert f"has no sheet {slug[:-1]!r}. Closest: {slug}. It has: {slug}." in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not complete JSON"),
        ("[]", "has schema None; this fusionzoo reads schema 1"),
        ('{"schema": 2}', "has schema 2; this fusionzoo reads schema 1"),
        ('{"schema": 1}', "name is missing"),
    ],
)
def test_a_damaged_sheet_is_refused(tmp_path, text, words):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(RunError, match=words):
        load_sheet(path)


def test_every_wrong_key_is_named(tmp_path):
    path = write_sheet(tmp_path, make_sheet())
    data = json.loads(path.read_text())
    data["rows"][0]["cells"][1]["fold"] = "two"
    data["typed"] = 1
    path.write_text(json.dumps(data))
    with pytest.raises(RunError) as caught:
        load_sheet(path)
    assert 'rows[0].cells[1].fold must be a whole number, is "two"' in str(caught.value)
    assert "typed is not known" in str(caught.value)
