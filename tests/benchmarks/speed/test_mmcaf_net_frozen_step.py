"""The timed step of MMCAF-Net's last stage runs, and refuses to time arms that differ."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[3] / "benchmarks" / "speed"
SCRIPT = FOLDER / "mmcaf_net_frozen_step.py"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("mmcaf_net_frozen_step", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("mmcaf_net_step", None)


def test_both_arms_do_the_same_and_have_a_row_each(script, monkeypatch, capsys):
    said = ["--size", "small", "--rounds", "1", "--cached", "2"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *said])
    script.main()
    told = capsys.readouterr().out
    assert told.startswith("squamous: 6553 parameters learn; equal losses and gradients;")
    rows = [line.split("|")[1].strip() for line in told.splitlines() if line.startswith("| ")]
    assert rows == ["arm", "computed", "cached"]


def test_stale_features_are_found(script):
    stage = script.LastStage(script.make_batch(script.SIZES["small"]), "small")
    stage.fill()
    with torch.no_grad():
        for weight in stage.trunk.parameters():
            weight.mul_(1.5)
    with pytest.raises(AssertionError, match="losses differ"):
        script.check(stage)
