import dataclasses

import pytest

from fusionzoo.bench import estimate as estimates
from fusionzoo.bench.estimate import Estimate, Estimator, in_words, total_seconds
from fusionzoo.records.environment import cpu_name
from fusionzoo.records.index import IndexRow


@pytest.fixture
def cell(make_cells):
    return make_cells(1)[0]


@pytest.fixture
def row(cell):
    """A run of the same spec, cases and settings that took 10 s."""
    plan = cell.plan
    return IndexRow(
        run_id="x",
        spec=str(plan.combo),
        dataset="small",
        fold=None,
        seed=0,
        train_cases=len(plan.split.train),
        settings=plan.config.to_json(),
        parameters=1,
        flops=estimates.flops_of(plan.combo, plan.dataset.spec),
        train_seconds=10.0,
        peak_memory_mib=None,
        cpu=cpu_name(),
        gpu=None,
    )


def test_runs_of_the_same_spec_are_taken_first(cell, row):
    other = dataclasses.replace(row, spec="table=kan -> linear", train_seconds=1e6)
    slow = dataclasses.replace(row, train_seconds=30.0)
    found = Estimator([row, slow, other], gpu=False)(cell)
    assert found == Estimate(20.0, "2 runs of the same spec")


def test_more_epochs_or_cases_take_longer(cell, row):
    settings = {**row.settings, "fuse_epochs": 0, "views": 0}  # one pass over the cases
    less = dataclasses.replace(row, settings=settings, train_cases=row.train_cases // 1)
    passes = 3 * cell.plan.config.fuse_epochs + cell.plan.config.views + 1
    assert Estimator([less], gpu=False)(cell).seconds == pytest.approx(10 * passes)
    half = dataclasses.replace(row, train_cases=2 * row.train_cases)
    assert Estimator([half], gpu=False)(cell).seconds == pytest.approx(5.0)


def test_other_specs_give_a_rate(cell, row):
    other = dataclasses.replace(row, spec="table=kan -> linear", flops=4 * row.flops)
    found = Estimator([other], gpu=False)(cell)
    assert found.seconds == pytest.approx(2.5)
    assert found.basis == "FLOPs, at the rate of 1 other runs"


def test_runs_on_a_gpu_say_nothing_of_a_cpu(cell, row, monkeypatch):
    monkeypatch.setattr(estimates, "_measured_rate", lambda: 1e9)
    on_gpu = dataclasses.replace(row, gpu="a GPU")
    assert "of a convolution here" in Estimator([on_gpu], gpu=False)(cell).basis
    assert Estimator([on_gpu], gpu=True)(cell).seconds == 10.0


def test_another_processor_is_better_than_none(cell, row):
    elsewhere = dataclasses.replace(row, cpu="another", train_seconds=40.0)
    assert Estimator([elsewhere], gpu=False)(cell).seconds == 40.0
    assert Estimator([elsewhere, row], gpu=False)(cell).seconds == 10.0


def test_an_empty_store_is_judged_by_a_convolution(cell):
    found = Estimator([], gpu=False)(cell)
    assert 0 < found.seconds < 10
    assert found.basis == "FLOPs, at the rate of a convolution here"


def test_flops_that_cannot_be_counted(cell, monkeypatch):
    monkeypatch.setattr(estimates, "flops_of", lambda combo, data: None)
    assert Estimator([], gpu=False)(cell) == Estimate(None, "its FLOPs can't be counted")


def test_times_in_words():
    told = [in_words(seconds) for seconds in (0.2, 42.4, 89.0, 1000.0, 6000.0)]
    assert told == ["1 s", "42 s", "89 s", "17 min", "1.7 h"]


def test_a_sum_with_an_unknown_is_unknown():
    assert total_seconds([Estimate(1.0, ""), Estimate(2.0, "")]) == 3.0
    assert total_seconds([Estimate(1.0, ""), Estimate(None, "")]) is None
