"""The timed step with and without kept memory runs both models, each measurement in a process."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "speed" / "kept_memory.py"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
@pytest.mark.parametrize("model", ["mmcaf_net", pytest.param("iimgf_net", marks=pytest.mark.slow)])
def test_a_row_for_each_way(model):
    given = ["--model", model, "--small", "--rounds", "1", "--steps", "1"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *given], capture_output=True, text=True, check=True
    )
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[0].strip() for row in rows] == ["memory", "kept", "given back"]
    assert all(float(row[1]) > 0 and float(row[3].replace(",", "")) > 50 for row in rows[1:])
