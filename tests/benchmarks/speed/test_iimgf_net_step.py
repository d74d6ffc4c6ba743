"""The timed step of IIMGF-Net runs with every arm, and refuses to time arms that differ."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from fusionzoo.ops import cross_mamba, ss2d
from fusionzoo.ops.selective_scan import selective_scan
from fusionzoo.ops.selective_scan.maps import scans

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "speed" / "iimgf_net_step.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("iimgf_net_step", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_it_checks_the_arms_and_prints_a_row_each(script, monkeypatch, capsys):
    arms = ["cpu", "torch", "none", "unbind", "released"]
    given = ["--small", "--rounds", "1", "--arms", *arms]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *given])
    script.main()
    said = capsys.readouterr().out
    assert said.startswith("in float64 losses agree to ")
    rows = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("| ")]
    assert rows == ["arm", *arms]


def test_another_scan_is_found(script, monkeypatch):
    def wrong(u, *given, delta_softplus, backend):
        return 1.01 * script.unbind_loop(u, *given, delta_softplus=True, backend="")

    monkeypatch.setitem(script.ARMS, "unbind", wrong)
    with pytest.raises(AssertionError, match="losses differ by"):
        script.check(*script.make_model(small=True), ["torch", "unbind"])


def test_scans_are_put_back(script):
    with script.scanning_by("none"):
        assert ss2d.selective_scan is cross_mamba.selective_scan is script.no_scan
        assert not ss2d.scans(torch.randn(1, 2, 3, 4))
    assert ss2d.selective_scan is cross_mamba.selective_scan is selective_scan
    assert ss2d.scans is scans
    u = torch.randn(1, 2, 3)
    assert torch.equal(script.no_scan(u, u, delta_softplus=True, backend="auto"), u)
