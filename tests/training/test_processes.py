"""Two processes on one machine give the numbers of one, whatever a batch leaves to each."""

import time

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from fusionzoo.api import open_run, run
from fusionzoo.training.processes import (
    Norms,
    gathered,
    mean_over_processes,
    over_batches,
    synchronized,
)
from tests import small_manifest
from tests.training.two_processes import finished, start

#: No dropout, which each process draws for itself. The first is trained in stages, with cached
#: features, the second at once, with batch norms.
SPEC = (
    "ct=penet3d(depth=14, width=0.25, stochastic_depth=0), table=mlp(dropout=0) -> concat -> linear"
)
JOINT = "ct=resnet3d(width=4), table=mlp(dropout=0) -> daft -> linear"
#: 17 training cases in batches of 4: the last one has a single case, and is left out; with
#: oversampling there are 18, so that the last batch has two. EMA, clipping and augmented views are
#: on.
TRAINING = {
    "epochs": 2,
    "fuse_epochs": 2,
    "views": 1,
    "batch_size": 4,
    "ema": 0.9,
    "balance": "oversample",
}


#: Losses are computed in single precision, whatever the weights have.
ROUNDING = 1e-5


def asked(dataset, out, spec=SPEC, **training):
    return {
        "spec": spec,
        "dataset": str(dataset),
        "device": "cpu",
        "precision": "64-true",
        "out": str(out),
        "training": {**TRAINING, **training},
    }


def assert_same_numbers(one, several):
    """Histories and predictions agree to rounding; digests need not."""
    left, right = open_run(one), open_run(several)
    assert len(left.record.training.history) == len(right.record.training.history) > 0
    for a, b in zip(left.record.training.history, right.record.training.history, strict=True):
        assert [a[name] for name in ("stage", "epoch", "best")] == [
            b[name] for name in ("stage", "epoch", "best")
        ]
        for name in ("train_loss", "val_loss", "val_auroc"):
            assert a[name] == pytest.approx(b[name], rel=ROUNDING), (a, b)
    p, q = left.predictions().frame, right.predictions().frame
    assert list(p["case"]) == list(q["case"])
    for column in ("p0", "p1"):
        np.testing.assert_allclose(p[column], q[column], rtol=ROUNDING)


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """A second task with labels for some cases, and volumes for some cases."""
    path = small_manifest.write(tmp_path_factory.mktemp("gaps"))
    count = len(small_manifest.read(path))
    grades = {line: ["low", "mid", "high"][line % 3] for line in range(2, count + 2)}
    small_manifest.change(path, grade=grades | dict.fromkeys((3, 4, 5, 9), ""))
    binary = "relapse: {column: relapse, type: binary, positive: 1}"
    grade = "grade: {column: grade, type: multiclass, classes: [low, mid, high], missing: ignore}"
    small_manifest.replace(path, binary, f"{binary}\n  {grade}")
    return path


def test_two_processes_give_the_numbers_of_one(small_data, gaps, tmp_path):
    two = tmp_path / "two"
    runs = [asked(small_data, two, epochs=1), asked(gaps, two, JOINT, recipe="joint", batch_size=5)]
    first, second = finished(start(2, *runs))
    assert first == second
    for told, (run_id, notes) in zip(runs, first, strict=True):
        record = run(**{**told, "out": tmp_path / "one"})
        assert (record.run_id, notes) == (run_id, [])
        assert_same_numbers(tmp_path / "one" / run_id, two / run_id)
        assert open_run(two / run_id).record.training.settings["processes"] == 2
        assert "processes" not in record.training.settings
    assert sorted(path.name for path in two.iterdir()) == sorted(
        ["leases", *(run_id for run_id, _ in first)]
    )
    assert not list(two.rglob("*.ckpt"))


@pytest.mark.slow
def test_a_process_without_a_case_goes_on_and_does_not_count(small_data, gaps, tmp_path):
    """Of three processes, one has none of the last batch's two cases."""
    three = tmp_path / "three"
    runs = [asked(small_data, three), asked(gaps, three, JOINT, recipe="joint", batch_size=5)]
    told = finished(start(3, *runs))
    assert told[0] == told[1] == told[2]
    for ask, (run_id, _) in zip(runs, told[0], strict=True):
        run(**{**ask, "out": tmp_path / "one"})
        assert_same_numbers(tmp_path / "one" / run_id, three / run_id)


@pytest.mark.slow
def test_a_loss_that_compares_cases_is_told_of(small_data, tmp_path):
    told = asked(small_data, tmp_path, SPEC.replace("concat", "clip"), epochs=1, fuse_epochs=1)
    ((_, notes),), _ = finished(start(2, told))
    assert [note for note in notes if "sees the cases of each process alone" in note]


@pytest.mark.slow
def test_killed_processes_are_gone_on_with(small_data, tmp_path):
    """Also with dropout, whose state each process has for itself."""
    dropout = SPEC.replace("dropout=0", "dropout=0.3")
    told = asked(small_data, tmp_path / "killed", dropout, epochs=12)
    processes = start(2, told)
    while not list(tmp_path.glob("killed/*/ct.ckpt")):
        assert [process.poll() for process in processes] == [None, None]
        time.sleep(0.01)
    for process in processes:
        process.kill()
        process.communicate()
    assert not list(tmp_path.glob("killed/*/record.json"))
    ((run_id, _),), _ = finished(start(2, {**told, "resume": True}))
    finished(start(2, {**told, "out": str(tmp_path / "whole")}))
    killed, whole = (open_run(tmp_path / name / run_id).record for name in ("killed", "whole"))
    assert killed.predictions_digest == whole.predictions_digest


def test_one_process_takes_every_batch_and_changes_no_norm():
    fabric = Fabric(accelerator="cpu", devices=1)
    loader = Numbers([3, 1, 2])
    assert list(over_batches(fabric, loader, lambda batch: 10 * batch)) == [30, 10, 20]
    assert gathered(fabric, "x") == ["x"]
    assert mean_over_processes(fabric, 2.0) == 2.0
    norm = torch.nn.BatchNorm1d(2)
    with synchronized(norm, fabric) as norms:
        assert type(norm) is torch.nn.BatchNorm1d
        assert norms.counts
    assert isinstance(norms, Norms)


class Numbers(list):
    """A loader of plain numbers."""

    def set_epoch(self, epoch):
        pass

    def batch(self, number):
        return self[number]

    def sizes(self, number):
        return (1,)
