"""The native kernel: against the recurrence, in its precision, and where it can't be built."""

import ctypes
import logging
import subprocess
import sys

import pytest
import torch

from fusionzoo.ops import cache, native
from fusionzoo.ops.selective_scan import backends, cpu, reference
from tests.ops.selective_scan.cases import assert_equals_reference, random_scan

needs_compiler = pytest.mark.skipif(
    cpu.missing(torch.device("cpu")) is not None, reason="no C compiler here"
)
#: One compiler, other flags: vectors of 64, 32 and 16 bytes, without fused multiplications too.
FLAGS = (("-march=native",), ("-march=x86-64-v3",), ())


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder, and nothing remembered from before or for later."""
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    for cached in (cpu._library, backends.why_not, backends._tell):
        cached.cache_clear()
    yield tmp_path
    for cached in (cpu._library, backends.why_not, backends._tell):
        cached.cache_clear()


@needs_compiler
@pytest.mark.parametrize("length", [1, 15, 16, 63, 64, 65, 150])
@pytest.mark.parametrize(("channels", "groups", "states"), [(5, 1, 1), (36, 2, 3), (6, 3, 16)])
def test_equals_reference(length, channels, groups, states):
    assert_equals_reference(cpu, random_scan(2, channels, groups, states, length), 3e-6)


@needs_compiler
def test_equals_reference_in_double_precision():
    scan = random_scan(2, 11, 1, 4, 130, dtype=torch.float64)
    assert_equals_reference(cpu, scan, 1e-13)


@needs_compiler
@pytest.mark.parametrize("softplus", [False, True])
def test_without_bias_and_skip(softplus):
    assert_equals_reference(
        cpu, random_scan(1, 20, 2, 2, 70, softplus=softplus, extras=False), 3e-6
    )


@needs_compiler
def test_any_number_of_threads_gives_the_same_numbers(monkeypatch):
    monkeypatch.setattr(cpu, "WORTH_A_THREAD", 1)
    scan, threads = random_scan(2, 40, 1, 2, 100), torch.get_num_threads()
    results = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            y, kept = cpu.forward(scan)
            results.append((y, *cpu.backward(scan, kept, torch.ones_like(y))))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@needs_compiler
@pytest.mark.parametrize("flags", FLAGS)
def test_every_width_of_vector(fresh, monkeypatch, flags):
    monkeypatch.setattr(native, "OPTIONAL_FLAGS", (flags,))
    if cpu.missing(torch.device("cpu")):
        pytest.skip(f"the compiler doesn't take {flags}")
    try:
        assert_equals_reference(cpu, random_scan(1, 19, 1, 2, 75), 3e-6)
    except OSError:
        pytest.skip(f"the processor doesn't run {flags}")


@needs_compiler
@pytest.mark.parametrize("name", ["u", "delta", "A", "B", "C"])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("softplus", [False, True])
def test_what_is_no_number_comes_out_as_in_the_reference(name, value, softplus):
    scan = random_scan(1, 17, 1, 2, 40, softplus=softplus)
    getattr(scan, name).view(-1)[3] = value
    y, kept = cpu.forward(scan)
    leaves = [x.requires_grad_() for x in scan[:-1]]
    expected = reference.scan(*scan)
    gradients = torch.autograd.grad(expected.sum(), leaves)
    found = cpu.backward(scan, kept, torch.ones_like(y))
    for ours, theirs in zip((y, *found), (expected.detach(), *gradients), strict=True):
        assert torch.equal(ours.isnan(), theirs.isnan())
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4, equal_nan=True)


@needs_compiler
@pytest.mark.parametrize(("dtype", "worst"), [(torch.float32, 2.5), (torch.float64, 2.5)])
def test_functions_are_precise_to_two_units_in_the_last_place(dtype, worst):
    x = torch.cat([torch.linspace(-80, 80, 20001), torch.linspace(-2, 2, 20001)]).to(dtype)
    found = torch.empty(3, len(x), dtype=dtype)
    pointers = [ctypes.c_void_p(row.data_ptr()) for row in found]
    cpu._library(dtype).scan_functions(
        ctypes.c_void_p(x.data_ptr()), ctypes.c_int64(len(x)), *pointers
    )
    exact = x.double()
    for ours, theirs in zip(
        found,
        (exact.exp(), torch.logaddexp(exact, torch.zeros(())), exact.sigmoid()),
        strict=True,
    ):
        unit = torch.finfo(dtype).eps * theirs
        assert ((ours.double() - theirs).abs() / unit).max() < worst


def test_more_states_than_it_has_room_for():
    with pytest.raises(native.NotBuiltError, match="has room for 64 states, A has 65"):
        cpu.forward(random_scan(1, 2, 1, 65, 3))


def test_no_compiler_is_said_once_and_torch_takes_over(fresh, monkeypatch, caplog):
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    with caplog.at_level(logging.WARNING, "fusionzoo"):
        chosen = {backends.selected_backend("cpu") for _ in range(3)}
    assert chosen == {"torch"}
    (record,) = caplog.records
    assert record.getMessage() == (
        "The selective scan doesn't use its backend 'cpu': no C compiler was found (cc, gcc, "
        "clang, or the one that CC names)."
    )


def test_other_devices_are_refused():
    reason = cpu.missing(torch.device("cuda"))
    assert reason == "it computes on CPU tensors only, not on cuda"


@needs_compiler
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_one_pool_of_threads():
    """The kernel's OpenMP is the one that PyTorch has loaded, in a process with nothing else."""
    script = """
import torch
from pathlib import Path
from fusionzoo.ops.selective_scan import cpu

def pools():
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[-1] for line in lines if "libgomp" in line}

before = pools()
cpu._library(torch.float32)
print(len(pools() - before) if before else max(len(pools()) - 1, 0))
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "0"
