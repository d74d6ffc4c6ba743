import dataclasses
import time

import pytest

from fusionzoo.bench.estimate import Estimate
from fusionzoo.bench.timing import TimeLeft
from fusionzoo.grammar import parse


@pytest.fixture
def cells(make_cells):
    """Two rows of two cells."""
    found = make_cells(4)
    kan = parse("table=kan -> linear")
    return [
        dataclasses.replace(cell, plan=dataclasses.replace(cell.plan, combo=kan)) if k > 1 else cell
        for k, cell in enumerate(found)
    ]


def expecting(*seconds):
    told = iter(seconds)
    return lambda cell: Estimate(next(told), "")


def test_estimates_are_shared_out(cells):
    left = TimeLeft(cells, expecting(10.0, 10.0, 20.0, 20.0), 2)
    assert left.seconds() == pytest.approx(30)
    for cell in cells[:3]:
        left.ended(cell, None)
    assert left.seconds() == pytest.approx(20)
    left.ended(cells[3], 1.0)
    assert left.seconds() == 0


def test_finished_cells_correct_their_row_and_the_others(cells):
    left = TimeLeft(cells, expecting(10.0, 10.0, 20.0, 20.0), 1)
    left.ended(cells[0], 30.0)
    assert left.seconds() == pytest.approx(30 + 60 + 60)


def test_a_cell_that_hardly_trains_says_nothing_of_the_others(cells):
    left = TimeLeft(cells, expecting(0.001, 0.001, 20.0, 20.0), 1)
    left.ended(cells[0], 5.0)
    assert left.seconds() == pytest.approx(5 + 20 + 20)


def test_what_is_unknown_is_as_long_as_the_others(cells):
    left = TimeLeft(cells, expecting(10.0, 10.0, None, None), 1)
    assert left.seconds() is None
    left.ended(cells[0], 20.0)
    assert left.seconds() == pytest.approx(60)


def test_running_cells_count_down(cells, monkeypatch):
    left = TimeLeft(cells[:1], expecting(10.0), 1)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    left.began(cells[0])
    monkeypatch.setattr(time, "monotonic", lambda: 104.0)
    assert left.seconds() == pytest.approx(6)
    monkeypatch.setattr(time, "monotonic", lambda: 200.0)
    assert left.seconds() == 0
