"""Cells that are planned and never trained, for tests of what runs them."""

import pytest

from fusionzoo.api import plan_run
from fusionzoo.bench.expand import Cell
from tests.conftest import QUICK


@pytest.fixture(scope="session")
def planned(small_data):
    return plan_run("table=mlp -> linear", dataset=str(small_data), training=QUICK)


@pytest.fixture(scope="session")
def make_cells(planned):
    def make(count):
        return [Cell(f"run-{k}", f"row {k}", 0, k, planned) for k in range(count)]

    return make
