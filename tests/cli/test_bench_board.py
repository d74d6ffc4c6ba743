"""The ranking that a bench ends with, and what it leaves for boards made afterwards."""

import io
import re

from rich.console import Console

from fusionzoo.cli._bench_board import print_boards
from fusionzoo.leaderboard.cache import CACHE
from fusionzoo.records.sheet import sheet_slugs
from tests.leaderboard.fake_store import MODELS, make_store


def told(store, slugs):
    console = Console(file=io.StringIO(), width=120)
    print_boards(console, str(store), slugs)
    return console.file.getvalue()


def test_ranks_with_intervals_and_a_cache(tmp_path):
    store = make_store(tmp_path, MODELS[:3], folds=2, patients=20)
    (slug,) = sheet_slugs(store)
    out = told(store, [slug])
    assert out.startswith("A paper, Table 1: four ways of fusing")
    rows = [line for line in out.splitlines() if re.match(r" +\d ", line)]
    assert len(rows) == 3
    assert re.search(r"1 +MSCA +0\.\d{3} \(0\.\d{3}-[01]\.\d{3}\)", rows[0])
    assert "no proof that they are equal" in " ".join(out.split())
    assert (store / CACHE).is_file()


def test_a_board_that_cannot_be_made_yet_is_said(tmp_path):
    store = make_store(tmp_path, MODELS[:1], folds=2, patients=20)
    assert told(store, ["another"]).startswith("No board yet: ")
