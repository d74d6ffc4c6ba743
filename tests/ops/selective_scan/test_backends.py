"""Which backend is taken, and that one which computes wrongly is not."""

import logging
from types import ModuleType

import pytest
import torch

from fusionzoo.errors import BadOption, MissingExtra
from fusionzoo.ops import cache
from fusionzoo.ops.selective_scan import (
    backends,
    blocked,
    selected_backend,
    selective_scan_backends,
)

CPU = torch.device("cpu")


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder, and nothing remembered from before or for later."""
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    backends.why_not.cache_clear()
    backends._tell.cache_clear()
    yield tmp_path
    backends.why_not.cache_clear()
    backends._tell.cache_clear()


def instead_of(name, monkeypatch, **changes):
    """A blocked scan with other functions, under the name of a backend."""
    made, real = ModuleType(name), backends.module
    vars(made).update({key: getattr(blocked, key) for key in blocked.__all__} | changes)
    monkeypatch.setattr(backends, "module", lambda n: made if n == name else real(n))


def test_every_backend_is_told_of():
    told = selective_scan_backends("cpu")
    assert list(told) == ["reference", "torch", "cpu", "triton", "mamba_ssm"]
    assert told["reference"] == told["torch"] == "ready"
    assert told["mamba_ssm"] == "it computes on CUDA tensors only, not on cpu"


def test_auto_takes_the_first_that_works(fresh, monkeypatch):
    instead_of("cpu", monkeypatch)
    assert selected_backend("cpu") == "cpu"
    assert selected_backend("cpu", "torch") == "torch"
    assert selected_backend("cpu", "reference") == "reference"


def test_a_backend_that_is_off_is_not_used_and_says_so(fresh, monkeypatch, caplog):
    def forward(scan):
        y, kept = blocked.forward(scan)
        return 1.01 * y, kept

    instead_of("cpu", monkeypatch, forward=forward)
    with caplog.at_level(logging.WARNING, "fusionzoo"):
        assert selected_backend("cpu") == selected_backend("cpu") == "torch"
    assert [r.getMessage() for r in caplog.records] == [
        "The selective scan doesn't use its backend 'cpu': its self-test is off by 1.0e-02, 1e-04 "
        "is allowed."
    ]
    assert list(fresh.glob("scan-cpu-*")) == []


@pytest.mark.parametrize("argument", ["u", "delta", "A", "B", "C", "D", "delta_bias"])
def test_a_wrong_or_missing_gradient_is_found(fresh, monkeypatch, argument):
    def backward(scan, kept, dy):
        found = blocked.backward(scan, kept, dy)
        return found._replace(**{argument: getattr(found, argument) * float("nan")})

    instead_of("cpu", monkeypatch, backward=backward)
    assert backends.why_not("cpu", CPU) == "its self-test is off by inf, 1e-04 is allowed"


def test_a_backend_that_breaks_says_how(fresh, monkeypatch):
    def forward(scan):
        raise RuntimeError("no kernel image")

    instead_of("cpu", monkeypatch, forward=forward)
    with pytest.raises(
        MissingExtra,
        match=r"'cpu' can't be used on cpu: its self-test fails \(RuntimeError: no kernel image\). "
        r"Use 'auto'",
    ):
        selected_backend("cpu", "cpu")


def test_a_passed_test_is_remembered_until_something_changes(fresh, monkeypatch):
    runs = []
    monkeypatch.setattr(backends, "self_test", lambda *a: runs.append(a) or 0.0)
    for sources in ("one", "one", "other"):
        monkeypatch.setattr(backends, "_sources", lambda sources=sources: sources)
        backends.why_not.cache_clear()
        assert backends.why_not("torch", CPU) is None
    assert len(runs) == 2
    assert len(list(fresh.glob("scan-torch-*.passed"))) == 2


def test_unknown_backend():
    with pytest.raises(
        BadOption, match=r"no selective-scan backend 'cdua'\. Use one of: auto, ref"
    ):
        selected_backend("cpu", "cdua")


def test_the_meta_device_needs_no_backend():
    assert selected_backend("meta") == "torch"
    assert selected_backend("meta", "triton") == "torch"
