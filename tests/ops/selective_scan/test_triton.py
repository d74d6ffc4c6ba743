"""The Triton kernels on the CPU, in Triton's interpreter, which must be on before they are read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.ops.selective_scan.cases import assert_equals_reference, random_scan

pytest.importorskip("triton")

ROOT = Path(__file__).parents[3]
PROGRAM = """
import torch
from fusionzoo.ops.selective_scan import triton
from tests.ops.selective_scan.cases import assert_equals_reference, random_scan

assert triton.missing(torch.device("cpu")) is None
for sizes in ((2, 3, 1, 1, 70), (1, 22, 2, 3, 3)):
    assert_equals_reference(triton, random_scan(*sizes), 3e-6)
bare = random_scan(1, 2, 1, 2, 2, softplus=False, extras=False)
assert_equals_reference(triton, bare, 3e-6)
assert_equals_reference(triton, random_scan(1, 2, 1, 16, 1), 3e-6)
assert_equals_reference(triton, random_scan(1, 2, 1, 1, 65, dtype=torch.float64), 1e-12)
half = random_scan(1, 2, 1, 1, 9, dtype=torch.bfloat16)
assert triton.forward(half)[0].dtype == torch.bfloat16
assert_equals_reference(triton, half, 1e-2)
"""


def test_equals_reference():
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_without_interpreter_it_wants_a_gpu(monkeypatch):
    from fusionzoo.ops.selective_scan import triton

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    reason = triton.missing(torch.device("cpu"))
    assert reason == "it computes on CUDA tensors only, not on cpu"


@pytest.mark.gpu
@pytest.mark.parametrize("states", [1, 4, 16])
def test_on_a_gpu(states):
    from fusionzoo.ops.selective_scan import triton

    scan = random_scan(2, 36, 2, states, 300)
    on_gpu = type(scan)(*(x.cuda() for x in scan[:-1]), True)
    assert_equals_reference(triton, on_gpu, 1e-5)
