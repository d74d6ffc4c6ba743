"""Written models, run again by what other programs would use."""

import json
import shutil

import numpy as np
import onnxruntime
import pytest
import torch

import fusionzoo
from fusionzoo.api import open_run
from fusionzoo.errors import BadOption, MissingExtra, RunError
from fusionzoo.evaluation.calibration import load_or_fit
from fusionzoo.export import formats, run
from fusionzoo.export.run import export
from fusionzoo.interface import Batch

YAML = """
group: patient
tables:
  blood: {numeric: [crp, wbc]}
  person: {numeric: [age], categorical: {sex: [F, M]}}
targets: {relapse: {column: relapse, type: binary, positive: 1}}
"""
INPUTS = {
    "blood": torch.zeros(4, 2),
    "person": torch.zeros(4, 3),
    "present_blood": torch.ones(4, dtype=torch.bool),
    "present_person": torch.ones(4, dtype=torch.bool),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run on two tables, which is quick to trace."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    lines = ["case_id,patient,crp,wbc,age,sex,relapse,split"]
    for i in range(60):
        numbers = ",".join(f"{x:.2f}" for x in rng.normal(i % 2, 1, 3))
        part = ("train", "train", "val", "test")[i // 2 % 4]
        lines.append(f"c{i},p{i},{numbers},{'FM'[i // 8 % 2]},{i % 2},{part}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    (folder / "dataset.yaml").write_text(YAML)
    record = fusionzoo.run(
        "blood=mlp, person=mlp -> concat -> linear",
        dataset=str(folder / "dataset.yaml"),
        device="cpu",
        out=folder / "runs",
        training={"epochs": 2, "fuse_epochs": 2, "baselines": "none"},
    )
    return folder / "runs" / record.run_id


def test_a_torch_program(call, finished, tmp_path):
    path = tmp_path / "out" / "model.pt2"
    code, out, errors = call("export", finished, "--out", path)
    assert code == 0, errors
    assert (
        "on 14 test cases, in batches of 1, 3 and 8: probabilities differ by at most 0.0e+00" in out
    )
    module = torch.export.load(path).module()
    probs = module(INPUTS)["relapse"]
    assert probs.shape == (4, 2)
    opened = open_run(finished)
    with torch.inference_mode():
        ones = torch.ones(4, dtype=torch.bool)
        batch = Batch(
            {name: INPUTS[name] for name in ("blood", "person")},
            {"blood": ones, "person": ones},
            {},
            torch.arange(4),
        )
        logit = opened.model(opened.data)(batch).logits["relapse"]
    torch.testing.assert_close(probs[:, 1], logit.sigmoid()[:, 0], rtol=0, atol=1e-6)
    told = json.loads((tmp_path / "out" / "model.pt2.json").read_text())
    assert [given["name"] for given in told["inputs"]] == list(INPUTS)
    assert told["inputs"][1]["columns"] == ["age", "sex=F", "sex=M"]
    (output,) = told["outputs"]
    threshold = opened.record.evaluation.row("relapse", "fused").threshold.value
    assert (output["classes"], output["threshold"]) == (["0", "1"], threshold)
    assert output["temperature"] is None
    assert told["preparation"] == (finished / "dataset.yaml").read_text()
    assert told["parity"]["max_difference"] < 1e-4


def test_an_onnx_file(call, finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / finished.name)
    opened = open_run(copy)
    temperature = load_or_fit(copy, opened.predictions()).of("relapse", "fused").value
    path = tmp_path / "model.onnx"
    code, out, errors = call("export", copy, "--format", "onnx", "--out", path)
    assert code == 0, errors
    assert "(onnx, " in out
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert {given.name for given in session.get_inputs()} == set(INPUTS)
    (probs,) = session.run(["relapse"], {name: x.numpy() for name, x in INPUTS.items()})
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    told = json.loads((tmp_path / "model.onnx.json").read_text())
    assert told["outputs"][0]["temperature"] == temperature


def test_a_file_that_gives_other_probabilities_is_not_kept(finished, tmp_path, monkeypatch):
    load = formats.load

    def off(form, path, exportable):
        runner = load(form, path, exportable)
        return lambda inputs: {name: x + 0.01 for name, x in runner(inputs).items()}

    monkeypatch.setattr(run, "load", off)
    with pytest.raises(RunError, match=r"differs from the run's own by 1\.00e-02 in a probability"):
        export(open_run(finished), tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written(finished, tmp_path, monkeypatch):
    opened = open_run(finished)
    with pytest.raises(BadOption, match=r"can't be exported as 'onx'. Closest: onnx"):
        export(opened, tmp_path / "m", form="onx")
    find = formats.importlib_util.find_spec
    monkeypatch.setattr(
        formats.importlib_util, "find_spec", lambda n: None if n == "onnxscript" else find(n)
    )
    with pytest.raises(MissingExtra, match=r"needs onnxscript.*pip install 'fusionzoo\[export\]'"):
        export(opened, tmp_path / "m", form="onnx")
    assert list(tmp_path.iterdir()) == []
