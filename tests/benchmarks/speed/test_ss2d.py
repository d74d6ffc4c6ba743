"""The timed SS2D runs with every contender and compares their results."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from fusionzoo.ops import ss2d
from fusionzoo.ops.selective_scan.maps import why_not

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "speed" / "ss2d.py"
pytestmark = pytest.mark.skipif(why_not() is not None, reason="no kernel for maps here")


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("ss2d_speed", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "STAGES", ((8, 6), (16, 3)))
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--rounds", "1", "--batch", "1"])
    return module


def test_a_row_per_stage(script, capsys):
    script.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows] == ["channels, side", "8, 6", "16, 3"]
    assert all(float(row.split("|")[-2]) < 1e-5 for row in rows[1:])


def test_a_wrong_kernel_is_seen(script, monkeypatch):
    scan = ss2d.scan_maps
    monkeypatch.setattr(ss2d, "scan_maps", lambda x, *rest: scan(x, *rest) + 0.1 * x)
    module, x = ss2d.SS2D(8), torch.randn(1, 8, 4, 4, requires_grad=True)
    assert script.difference(module, x, torch.randn(1, 8, 4, 4)) > 1e-3


def test_without_a_kernel_it_says_why(script, monkeypatch):
    monkeypatch.setattr(script, "why_not", lambda: "no C compiler was found")
    with pytest.raises(SystemExit, match=r"no kernel for maps here: no C compiler was found\."):
        script.main()
