"""What is freed is kept while a model is trained, and given back afterwards."""

import ctypes
import json
import os
import platform
import subprocess
import sys

import pytest

from fusionzoo.training import memory
from fusionzoo.training.memory import kept_memory

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
#: Pages that are new to the process while 64 MiB are taken, touched and freed five times, without
#: and with keeping them, and what it holds then and after the block.
MEASURED = """
import json, resource
from pathlib import Path
import numpy as np
from fusionzoo.training.memory import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.empty(64 << 20, np.uint8)[:] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))

plain = faults()
with kept_memory("cpu") as possible:
    faults()
    kept, within = faults(), held()
print(json.dumps([possible, plain, kept, within - held(), faults()]))
"""


def measured(**environment):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@needs_glibc
def test_freed_memory_is_kept_and_given_back():
    possible, plain, kept, given_back, afterwards = measured()
    assert possible
    assert kept < 0.01 * plain
    assert given_back >= 60
    assert afterwards > 0.5 * plain


@needs_glibc
@pytest.mark.parametrize(
    ("name", "value"),
    [("MALLOC_TRIM_THRESHOLD_", "131072"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=65536")],
)
def test_what_somebody_has_set_up_stays(name, value):
    possible, _, _, _, _ = measured(**{name: value})
    assert not possible


def test_other_devices_and_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("the allocator was looked for"))
    with kept_memory("cuda") as possible:
        assert not possible
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    with kept_memory("cpu") as possible:
        assert not possible


@needs_glibc
def test_it_is_given_back_after_an_error_too(monkeypatch):
    told = []

    class Library:
        def mallopt(self, parameter, value):
            told.append((parameter, value))

        def malloc_trim(self, pad):
            told.append("trimmed")

    monkeypatch.setattr(memory, "_is_set_up", lambda: False)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    with pytest.raises(ZeroDivisionError), kept_memory("cpu"):
        1 / (told != [(-4, 0), (-1, -1)])
    assert told[-1] == "trimmed"
    assert {parameter for parameter, _ in told[2:-1]} == {-1, -3, -4}
