"""The script that measures the scan also runs where Triton's kernels are interpreted."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.speed import selective_scan as script

SCRIPT = Path(script.__file__)


def test_triton_takes_part_under_its_interpreter():
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        str(SCRIPT),
        "--tiny",
        "--roofline",
        "--rounds",
        "1",
        "--threads",
        "1",
    ]
    done = subprocess.run(
        [*command, "--only", "triton", "torch"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[0].endswith("| triton | torch |")
    assert len(rows) == 1 + len(script.TINY)
    for row in rows[1:]:
        assert len(re.findall(r"[\d.e+]+ / [\d.e+]+ \[\d+%, \d+%\]", row)) == 2


def test_the_least_traffic_counts_every_sequence_once():
    forward, backward = script.least_bytes((2, 6, 3, 4, 10), 4)
    assert forward == 4 * (3 * 2 * 6 * 10 + 2 * 2 * 3 * 4 * 10)
    assert backward == 4 * (5 * 2 * 6 * 10 + 4 * 2 * 3 * 4 * 10)


def test_a_share_is_the_shortest_time_over_the_one_it_took():
    forward, backward = script.least_bytes((1, 8, 1, 1, 100), 4)
    told = script._share(
        (1, 8, 1, 1, 100), 4, 1000.0, forward / 500, forward / 500 + backward / 250
    )
    assert told == " [50%, 25%]"
