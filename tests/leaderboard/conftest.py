"""Stores that tests of boards share; a test that changes one takes a copy."""

import shutil

import pytest

from fusionzoo.leaderboard.build import build_boards
from fusionzoo.leaderboard.cache import CACHE
from fusionzoo.leaderboard.options import BoardOptions
from tests.leaderboard.fake_store import BINARY, GRADES, MODELS, Model, make_store, printed

#: Rows of a published table: one failed in part, one is refused, two have no printed number.
TABLE = (
    printed(MODELS[0], auroc=0.74, accuracy=0.721),
    printed(MODELS[1], auroc=0.786, accuracy=0.791),
    MODELS[2],
    MODELS[3],
    Model(
        "Late",
        "ct=penet3d, table=kan -> late -> linear",
        1.4,
        published={"auroc": 0.729},
        absent={(1, 0): "memory"},
    ),
    Model("CLIP", "ct=penet3d, table=kan -> clip -> linear", refusal="'clip' needs two vectors."),
)
QUICK = BoardOptions(replicates=300)


@pytest.fixture(scope="session")
def table_store(tmp_path_factory):
    """A sheet's runs: two folds, one seed."""
    return make_store(tmp_path_factory.mktemp("table"), TABLE, folds=2, patients=30)


@pytest.fixture(scope="session")
def tasks_store(tmp_path_factory):
    """Two tasks, one with three classes; one split, two seeds, no sheet."""
    return make_store(
        tmp_path_factory.mktemp("tasks"),
        MODELS[:2],
        folds=0,
        seeds=(0, 1),
        tasks=(BINARY, GRADES),
        patients=25,
        sheet=False,
    )


@pytest.fixture(scope="session")
def table(table_store):
    """The board of `table_store`."""
    (found,) = build_boards(table_store, QUICK)
    return found


@pytest.fixture
def own_store(table_store, tmp_path):
    """A copy of `table_store` that a test may spoil."""
    kept = shutil.ignore_patterns(CACHE)
    return shutil.copytree(table_store, tmp_path / "store", ignore=kept)
