import json
import shutil

import pytest

from fusionzoo.evaluation.calibration import read_calibration


def test_scores_at_the_temperature(call, finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / finished_run.name)
    before = (run / "record.json").read_bytes()
    plain = json.loads(call("evaluate", run, "--json")[1])
    assert not (run / "calibration.json").exists()
    code, out, errors = call("evaluate", run, "--calibrate")
    assert code == 0, errors
    temperature = read_calibration(run / "calibration.json").of("relapse", "fused").value
    assert f"{temperature:.3f}" in out
    assert "as trained" in out
    assert "the record keeps its numbers" in " ".join(out.split())
    scaled = json.loads(call("evaluate", run, "--calibrate", "--json")[1])
    first, second = (
        {r["output"]: r["metrics"] for r in told["results"]} for told in (plain, scaled)
    )
    assert second["fused"]["auroc"] == first["fused"]["auroc"]
    if temperature != 1:
        assert second["fused"]["log_loss"] != first["fused"]["log_loss"]
    assert second["fused"]["log_loss"]["value"] != pytest.approx(0)
    assert (run / "record.json").read_bytes() == before
