"""The timed step of MMCAF-Net runs, and refuses to time arms that differ."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "speed" / "mmcaf_net_step.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("mmcaf_net_step", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_it_checks_both_arms_and_prints_a_row_each(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--size", "small", "--rounds", "1"])
    script.main()
    said = capsys.readouterr().out
    assert said.startswith("depth-wise convolutions agree to ")
    rows = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("| ")]
    assert rows == ["arm", *script.ARMS]


def test_other_weights_in_one_arm_are_found(script):
    size = script.SIZES["small"]
    ours = script.our_model(size)
    plain = script.plain_model(ours, size)
    with torch.no_grad():
        plain.trunks["ct"].fc[0].weight.mul_(1.1)
    with pytest.raises(AssertionError, match="gradients in float64 differ by"):
        script.check_exactly(ours, plain, size.width)
