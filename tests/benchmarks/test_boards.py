"""The committed table of five folds is what its records give, and they what was predicted."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fusionzoo.cli import main
from fusionzoo.evaluation.report import evaluate
from fusionzoo.records.sheet import read_sheets
from fusionzoo.records.store import RunStore

BOARDS = Path(__file__).parents[2] / "benchmarks" / "boards"


def test_the_table_is_made_from_the_records():
    made = subprocess.run(
        [sys.executable, BOARDS / "five_folds.py", BOARDS / "lidc"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == (BOARDS / "lidc.md").read_text(encoding="utf-8")


def test_the_records_are_what_their_predictions_give():
    store = RunStore(BOARDS / "lidc")
    records = list(store.iter_records())
    assert sorted(record.split.fold for record in records) == [0, 1, 2, 3, 4]
    tested = set()
    for record in records:
        predictions = store.verify(record)
        again = evaluate(predictions, seed=record.seed, reference="fused")
        for output in ("fused", "ct", "table"):
            old = record.evaluation.row("malignancy", output).metrics["auroc"]
            new = again.row("malignancy", output).metrics["auroc"]
            assert abs(old.value - new.value) < 1e-12
        cases = set(predictions.select(part="test", task="malignancy", output="fused").cases)
        assert not cases & tested
        tested |= cases
    assert len(tested) == 1185


RENDERED = sorted(path for path in BOARDS.glob("*_net_*.md"))


def sheet_of(path: Path) -> str:
    paper, _, table = path.stem.partition("_net_")
    return f"{paper}_net/{table}"


def test_every_sheet_of_the_store_is_rendered():
    sheets = {sheet.name for sheet in read_sheets(BOARDS / "store")}
    assert {sheet_of(path) for path in RENDERED} == sheets
    assert len(sheets) == 6


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, marks=() if path.stem == "mmcaf_net_readme_tabular" else pytest.mark.slow
        )
        for path in RENDERED
    ],
    ids=lambda path: path.stem,
)
def test_a_committed_board_is_made_again_byte_for_byte(path, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(BOARDS / "store", store)
    main(
        ["leaderboard", str(store), "--sheet", sheet_of(path), "--out", str(tmp_path / "again.md")]
    )
    assert (tmp_path / "again.md").read_bytes() == path.read_bytes()
    main(["leaderboard", "verify", str(path), "--store", str(store)])


def test_the_page_quotes_what_the_boards_say():
    page = (BOARDS.parents[1] / "docs" / "boards.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    shown = [re.search(r"boards/(\w+)\.md", section) for section in sections]
    assert {found[1] for found in shown if found} == {path.stem for path in RENDERED}
    quoted = 0
    for section, found in zip(sections, shown, strict=True):
        board = (BOARDS / f"{found[1]}.md").read_text(encoding="utf-8") if found else ""
        for number in re.findall(r"\d\.\d{3}", section):
            assert number in board, (found, number)
            quoted += 1
    assert quoted > 2
