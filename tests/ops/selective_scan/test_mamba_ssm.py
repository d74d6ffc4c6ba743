"""The wrapper of mamba-ssm's kernel, around a stand-in for the package's function."""

import sys
from types import ModuleType

import pytest
import torch

from fusionzoo.ops.selective_scan import mamba_ssm, reference
from tests.ops.selective_scan.cases import assert_equals_reference, random_scan


@pytest.fixture
def package(monkeypatch):
    """A package whose function takes what the real one takes, on the CPU."""

    def selective_scan_fn(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
        assert z is None
        return reference.scan(u, delta, A, B, C, D, delta_bias, delta_softplus)

    inner = ModuleType("mamba_ssm.ops.selective_scan_interface")
    inner.selective_scan_fn = selective_scan_fn
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, inner.__name__, inner)


@pytest.mark.parametrize("extras", [False, True])
def test_passes_everything_on(package, extras):
    scan = random_scan(2, 4, 2, 3, 9, extras=extras, dtype=torch.float64)
    assert_equals_reference(mamba_ssm, scan, 1e-12)


def test_says_why_it_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    assert mamba_ssm.missing(torch.device("cpu")) == (
        "it computes on CUDA tensors only, not on cpu"
    )
    reason = mamba_ssm.missing(torch.device("cuda"))
    assert "the package can't be imported" in reason
    assert reason.endswith("pip install 'fusionzoo[mamba]'")
