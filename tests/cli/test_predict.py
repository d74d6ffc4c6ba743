"""New cases after training: absent modalities, unknown categories, calibrated probabilities."""

import io
import shutil

import numpy as np
import pandas as pd
import pytest

from fusionzoo import registry
from fusionzoo.api import open_run
from fusionzoo.evaluation.calibration import read_calibration, scale
from fusionzoo.fusions.concat import Concat
from tests import small_manifest

CPU = ("--device", "cpu")


@pytest.fixture
def new(tmp_path):
    """New cases, without targets, split and patients, and where their paths are."""
    path = small_manifest.write(tmp_path / "new", seed=3)
    keep = ("case_id", "ct_path", "age", "weight", "sex", "stage")
    rows = [{name: row[name] for name in keep} for row in small_manifest.read(path)]
    path.unlink()
    small_manifest.store(path, rows[:6])
    return path.parent / "manifest.csv"


def table(out):
    return pd.read_csv(io.StringIO(out), keep_default_na=False)


def test_the_manifest_as_argument_or_option(call, finished_run, new):
    code, out, errors = call("predict", finished_run, "--manifest", new, *CPU)
    assert (code, errors) == (0, "")
    assert out == call("predict", finished_run, new, *CPU)[1]
    assert table(out)["missing"].tolist() == [""] * 6
    for given in ([], [new, "--manifest", new]):
        code, _, errors = call("predict", finished_run, *given, *CPU)
        assert (code, "Give the new cases once" in errors) == (2, True)


def test_an_absent_image_is_what_the_fusion_declares(call, finished_run, new):
    _, whole, _ = call("predict", finished_run, new, *CPU)
    small_manifest.change(new, ct_path={3: "", 5: "NA"})
    code, out, errors = call("predict", finished_run, new, *CPU)
    assert code == 0
    assert errors == (
        "2 cases lack a modality (column 'missing'): features of an absent modality are zeros.\n"
    )
    found, before = table(out), table(whole)
    assert found["missing"].tolist() == ["", "ct", "", "ct", "", ""]
    same = found["p_1"] == before["p_1"]
    assert same.tolist() == [True, False, True, False, True, True]


def test_a_fusion_that_needs_everything_refuses_it(call, finished_run, new, monkeypatch):
    strict = type("Strict", (Concat,), {"missing": "refuse"})
    monkeypatch.setattr(registry, "load", _with(registry.load, strict))
    small_manifest.change(new, ct_path={3: ""})
    code, _, errors = call("predict", finished_run, new, *CPU)
    assert code == 2
    assert "E04 row 3, column 'ct_path': the path is empty" in errors


def _with(load, strict):
    return lambda kind, name: strict if (kind, name) == ("fusion", "concat") else load(kind, name)


def test_what_training_did_not_know_is_refused_with_row_and_value(call, finished_run, new):
    small_manifest.change(new, sex={4: "X"}, age={2: "old"})
    code, _, errors = call("predict", finished_run, new, *CPU)
    assert code == 2
    assert "E09 row 4, column 'sex', value 'X': not one of the declared values" in errors
    assert "E08 row 2, column 'age', value 'old': not a number" in errors


def test_files_below_another_root(call, finished_run, new, tmp_path):
    moved = tmp_path / "elsewhere" / "new.csv"
    moved.parent.mkdir()
    shutil.copy(new, moved)
    assert call("predict", finished_run, moved, *CPU)[0] == 2
    code, _, _ = call("predict", finished_run, moved, "--root", new.parent, *CPU)
    assert code == 0


def test_calibrated_probabilities(call, finished_run, new, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / finished_run.name)
    before = (run / "record.json").read_bytes()
    _, plain, _ = call("predict", run, new, *CPU)
    assert not (run / "calibration.json").exists()
    code, out, errors = call("predict", run, new, "--calibrate", *CPU)
    assert (code, errors) == (0, "")
    temperature = read_calibration(run / "calibration.json").of("relapse", "fused").value
    probs = table(plain)[["p_0", "p_1"]].to_numpy()
    np.testing.assert_allclose(
        table(out)[["p_0", "p_1"]].to_numpy(), scale(probs, temperature), atol=1e-4
    )
    assert table(out)["predicted"].tolist() == table(plain)["predicted"].tolist()
    assert (run / "record.json").read_bytes() == before
    assert open_run(run).record.evaluation == open_run(finished_run).record.evaluation
