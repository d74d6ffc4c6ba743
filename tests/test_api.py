"""Runs from Python: the same numbers twice, after a kill, and from the folder alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import fusionzoo
from fusionzoo.api import open_run, plan_run, predict_cases
from fusionzoo.cli import main
from fusionzoo.errors import BadOption, DataError, LayoutMismatch, RunError
from fusionzoo.evaluation.predictions import read_predictions
from fusionzoo.records.lease import LeaseTaken, claim
from fusionzoo.training.observer import Observer
from tests import small_manifest
from tests.conftest import QUICK, SPEC


class Stop(Exception):
    pass


class StopAfter(Observer):
    """Raises after some epochs of a stage, as a crash would."""

    def __init__(self, stage, epoch):
        self.at = (stage, epoch)

    def epoch(self, stage, report):
        if (stage, report.epoch) == self.at:
            raise Stop


def start(small_data, out, **changes):
    asked = {"training": QUICK, "device": "cpu", **changes}
    return fusionzoo.run(SPEC, dataset=str(small_data), out=out, **asked)


def test_a_run_leaves_a_record_that_says_everything(finished_run):
    opened = open_run(finished_run)
    record = opened.record
    assert record.spec == "ct=penet3d(depth=14, width=0.25), table=mlp -> concat -> linear"
    assert record.run_id == finished_run.name
    assert {row.output for row in record.evaluation.results} == {"fused", "ct", "table"}
    assert [c.other for c in record.evaluation.comparisons] == ["ct", "table"]
    assert record.split.counts == {"train": 17, "val": 6, "test": 5}
    assert record.options["ct:penet3d"]["width"] == 0.25
    assert record.conversions == ("ct: summary -> vector of 64 channels",)
    assert record.cost.parameters == sum(p.numel() for p in opened.model(opened.data).parameters())
    assert record.cost.flops > 1e6
    assert {r["stage"] for r in record.training.history} == {"fused", "ct", "table"}
    names = {path.name for path in finished_run.iterdir()}
    files = {
        "record.json",
        "predictions.parquet",
        "config.json",
        "model.safetensors",
        "dataset.yaml",
    }
    assert names == files | {"roc.png", "confusion.png"}


def test_the_same_command_twice_gives_identical_predictions(small_data, finished_run, tmp_path):
    np.random.default_rng().random()
    record = start(small_data, tmp_path)
    assert record.predictions_digest == open_run(finished_run).record.predictions_digest
    assert record.run_id == finished_run.name


def test_a_run_that_stopped_goes_on_to_the_same_numbers(small_data, finished_run, tmp_path):
    expected = open_run(finished_run).record.predictions_digest
    for stage in ("ct", "table", "fused"):
        with pytest.raises(Stop):
            start(small_data, tmp_path, resume=True, observer=StopAfter(stage, 1))
    assert start(small_data, tmp_path, resume=True).predictions_digest == expected


def test_a_killed_process_goes_on_to_the_same_numbers(small_data, tmp_path):
    """kill -9 in the middle of training, then --resume, against an uninterrupted run."""
    told = ["run", "--spec", SPEC, "--dataset", str(small_data), "--device", "cpu"]
    told += ["--epochs", "6", "--batch-size", "8", "--set", "fuse_epochs=3", "--set", "views=1"]
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "fusionzoo", *told, "--out", str(killed)], stdout=subprocess.DEVNULL
    )
    while not list(killed.glob("*/ct.ckpt")):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(killed.glob("*/record.json"))
    main([*told, "--out", str(killed), "--resume"])
    main([*told, "--out", str(tmp_path / "whole")])
    first, second = (
        next(out.glob("*/predictions.parquet")) for out in (killed, tmp_path / "whole")
    )
    assert read_predictions(first).digest == read_predictions(second).digest


def test_an_unfinished_run_is_not_overwritten_by_accident(small_data, tmp_path):
    with pytest.raises(Stop):
        start(small_data, tmp_path, observer=StopAfter("ct", 1))
    with pytest.raises(
        RunError, match=r"An unfinished run .* Go on with it: --resume. Or start it again: --fresh"
    ):
        start(small_data, tmp_path)
    assert start(small_data, tmp_path, fresh=True).evaluation.results


def test_a_finished_run_is_shown_and_not_trained_again(small_data, finished_run):
    class Never(Observer):
        notes = ""

        def stage_started(self, stage, epochs, steps, done):
            raise AssertionError("trained again")

        def note(self, text):
            self.notes += text

    observer = Never()
    before = (finished_run / "record.json").read_bytes()
    record = start(small_data, finished_run.parent, observer=observer)
    assert "complete already" in observer.notes
    assert record.run_id == finished_run.name
    assert (finished_run / "record.json").read_bytes() == before


def test_what_defines_a_run_names_it(small_data):
    def name(**changes):
        return plan_run(SPEC, dataset=str(small_data), **{"training": QUICK, **changes}).run_id

    assert name() == name()
    names = {name(), name(seed=1), name(training={**QUICK, "lr": 0.1}), name(precision="64-true")}
    assert len(names) == 4
    assert len(names | {name(threshold_rule="0.5"), name(binary="positive")}) == 6
    assert name(threshold_rule="youden", binary="auto") == name()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"threshold_rule": "yoden"}, "threshold_rule='yoden'. Closest: youden. Use one of: youde"),
        ({"binary": "micro"}, "binary='micro'. Closest: macro. Use one of: auto, macro, positive."),
    ],
)
def test_a_way_of_scoring_that_there_is_not_is_refused_before_training(small_data, asked, told):
    with pytest.raises(BadOption) as caught:
        plan_run(SPEC, dataset=str(small_data), **asked)
    assert told in str(caught.value)


def test_a_full_disk_while_checkpointing_loses_nothing(
    small_data, finished_run, tmp_path, monkeypatch
):
    expected = open_run(finished_run).record.predictions_digest
    with pytest.raises(Stop):
        start(small_data, tmp_path, observer=StopAfter("table", 1))
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("*/*.ckpt")}
    real = os.write

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunError, match="The disk is full: free some space"):
        start(small_data, tmp_path, resume=True)
    monkeypatch.setattr(os, "write", real)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*/*.ckpt")} == kept
    assert start(small_data, tmp_path, resume=True).predictions_digest == expected


def test_a_checkpoint_of_another_run_is_refused(small_data, tmp_path):
    with pytest.raises(Stop):
        start(small_data, tmp_path, observer=StopAfter("ct", 1))
    (checkpoint,) = tmp_path.glob("*/ct.ckpt")
    other = plan_run(SPEC, dataset=str(small_data), seed=5, training=QUICK).run_id
    (tmp_path / other).mkdir()
    checkpoint.rename(tmp_path / other / "ct.ckpt")
    with pytest.raises(RunError, match="belongs to another run"):
        start(small_data, tmp_path, seed=5, resume=True)


def test_an_output_that_cannot_be_written(small_data, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunError, match=r"Can't write .*is a file, not a folder"):
        start(small_data, tmp_path / "file")


def test_predictions_of_new_cases(finished_run, small_data, tmp_path):
    path = small_manifest.write(tmp_path / "new", seed=3)
    rows = small_manifest.read(path)
    for row in rows:
        for name in ("relapse", "split", "fold"):
            del row[name]
    small_manifest.store(path, rows)
    frame = predict_cases(open_run(finished_run), str(path.parent / "manifest.csv"), device="cpu")
    assert list(frame.columns) == ["case", "task", "p_0", "p_1", "predicted", "missing"]
    assert len(frame) == 28
    np.testing.assert_allclose(frame["p_0"] + frame["p_1"], 1)


def test_predictions_of_the_same_cases_are_those_of_the_record(finished_run, small_data):
    opened = open_run(finished_run)
    frame = predict_cases(opened, str(small_data), device="cpu").set_index("case")
    kept = opened.predictions().select(part="test", task="relapse", output="fused")
    np.testing.assert_allclose(frame.loc[list(kept.cases), "p_1"], kept.probs[:, 1], atol=1e-6)


def test_an_unknown_category_is_refused_at_prediction(finished_run, tmp_path):
    path = small_manifest.write(tmp_path / "new")
    small_manifest.change(path, sex={4: "X"})
    with pytest.raises(DataError, match=r"'X'"):
        predict_cases(open_run(finished_run), str(path.parent / "manifest.csv"), device="cpu")


def test_cases_with_other_modalities_are_refused(finished_run):
    with pytest.raises(LayoutMismatch, match=r"The run reads ct .* which 'lidc' doesn't have"):
        predict_cases(open_run(finished_run), "lidc", device="cpu")


def test_a_model_of_one_modality_needs_it_everywhere(tmp_path):
    path = small_manifest.write(tmp_path / "data")
    small_manifest.replace(path, "window: [-1000, 400]", "window: [-1000, 400], optional: true")
    small_manifest.change(path, ct_path={2: ""})
    with pytest.raises(DataError, match=r"1 case has no 'ct' \(p00v0\), and the spec"):
        plan_run("ct=penet3d(depth=14, width=0.25) -> linear", dataset=str(path))
    assert plan_run(SPEC, dataset=str(path)).split.train.size


def test_several_tasks_are_learnt_and_scored_together(tmp_path):
    path = small_manifest.write(tmp_path / "data")
    rows = small_manifest.read(path)
    grades = {line: ["low", "mid", "high"][line % 3] for line in range(2, len(rows) + 2)}
    small_manifest.change(path, grade=grades | {5: ""})
    binary = "relapse: {column: relapse, type: binary, positive: 1}"
    grade = "grade: {column: grade, type: multiclass, classes: [low, mid, high], missing: ignore}"
    small_manifest.replace(path, binary, f"{binary}\n  {grade}")
    record = start(path, tmp_path / "runs")
    rows = {(row.task, row.output): row for row in record.evaluation.results}
    assert {task for task, _ in rows} == {"relapse", "grade", "mean"}
    assert rows["relapse", "fused"].threshold is not None
    assert rows["grade", "fused"].threshold is None
    assert len(rows["grade", "fused"].class_counts) == 3
    folder = tmp_path / "runs" / record.run_id
    frame = predict_cases(open_run(folder), str(path), device="cpu")
    assert set(frame["task"]) == {"relapse", "grade"}
    assert (folder / "roc-grade.png").is_file()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_run_on_a_gpu(small_data, tmp_path, precision):
    record = start(small_data, tmp_path, device="cuda", precision=precision)
    assert record.environment.hardware.gpu
    frame = predict_cases(open_run(tmp_path / record.run_id), str(small_data), device="cpu")
    kept = open_run(tmp_path / record.run_id).predictions()
    kept = kept.select(part="test", task="relapse", output="fused")
    found = frame.set_index("case").loc[list(kept.cases), "p_1"]
    np.testing.assert_allclose(found, kept.probs[:, 1], atol=2e-2)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions_train_and_can_be_used_again(small_data, tmp_path, precision):
    record = start(small_data, tmp_path, precision=precision)
    assert record.training.settings["precision"] == precision
    frame = predict_cases(open_run(tmp_path / record.run_id), str(small_data), device="cpu")
    kept = open_run(tmp_path / record.run_id).predictions()
    kept = kept.select(part="test", task="relapse", output="fused")
    found = frame.set_index("case").loc[list(kept.cases), "p_1"]
    np.testing.assert_allclose(found, kept.probs[:, 1], atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device": "cuda"}, "No CUDA device is usable here"),
        ({"device": "gpu"}, "There is no device 'gpu'"),
        ({"precision": "fp16"}, "There is no precision 'fp16'"),
        ({"training": {"epoch": 3}}, r"Training has no setting 'epoch'. Closest: epochs"),
    ],
)
def test_settings_that_cannot_be(small_data, tmp_path, changes, words):
    with pytest.raises(BadOption, match=words):
        start(small_data, tmp_path, **changes)


def test_a_damaged_run_says_which_file(finished_run, tmp_path):
    import shutil

    copy = Path(shutil.copytree(finished_run, tmp_path / finished_run.name))
    (copy / "model.safetensors").write_bytes(b"12345678")
    opened = open_run(copy)
    with pytest.raises(RunError, match=r"model\.safetensors' can't be read"):
        opened.model(opened.data)
    (copy / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config.json' can't be read"):
        open_run(copy)
    with pytest.raises(RunError, match="does not exist"):
        open_run(tmp_path / "nothing")


def test_the_configuration_is_plain_json(finished_run):
    config = json.loads((finished_run / "config.json").read_text())
    assert config["training"]["epochs"] == 1
    assert set(config["tables"]) == {"table"}


def test_build_gives_an_untrained_model(small_data):
    model = fusionzoo.build("ct=penet3d(depth=14, width=0.25) -> linear", dataset=str(small_data))
    assert sum(p.numel() for p in model.parameters()) > 100_000


def test_two_processes_do_not_train_one_run(small_data, tmp_path):
    planned = plan_run(SPEC, dataset=str(small_data), training=QUICK)
    with claim(tmp_path, planned.run_id), pytest.raises(LeaseTaken, match="is being trained by"):
        start(small_data, tmp_path)
    record = start(small_data, tmp_path)
    assert record.run_id == planned.run_id
    assert list((tmp_path / "leases").iterdir()) == []


def test_leftovers_of_a_killed_writer_are_removed(small_data, tmp_path):
    folder = tmp_path / plan_run(SPEC, dataset=str(small_data), training=QUICK).run_id
    folder.mkdir()
    (folder / ".tmp-00-record.json").write_text("{")
    start(small_data, tmp_path)
    assert not list(folder.glob(".*"))
