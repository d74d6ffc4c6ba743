"""The blocked scan against the recurrence, at lengths around its chunks' bounds."""

import pytest
import torch

from fusionzoo.ops.selective_scan import blocked
from tests.ops.selective_scan.cases import assert_equals_reference, random_scan


@pytest.mark.parametrize("length", [1, 2, blocked.SHORT, blocked.SHORT + 1, 129, 211])
@pytest.mark.parametrize(("groups", "states"), [(1, 1), (3, 2)])
def test_equals_reference(length, groups, states):
    scan = random_scan(2, 6, groups, states, length, dtype=torch.float64)
    assert_equals_reference(blocked, scan, 1e-12)


@pytest.mark.parametrize("states", [1, 16])
def test_equals_reference_in_single_precision(states):
    assert_equals_reference(blocked, random_scan(1, 5, 1, states, 100), 3e-6)


@pytest.mark.parametrize("softplus", [False, True])
def test_without_bias_and_skip(softplus):
    scan = random_scan(1, 4, 2, 3, 70, softplus=softplus, extras=False, dtype=torch.float64)
    assert_equals_reference(blocked, scan, 1e-12)


@pytest.mark.parametrize("size", [1, 300, 700, 2000])
def test_blocks_of_any_size_cover_everything(monkeypatch, size):
    monkeypatch.setattr(blocked, "BLOCK_ON_CPU", size)
    scan = random_scan(3, 10, 2, 2, 90, dtype=torch.float64)
    assert_equals_reference(blocked, scan, 1e-12)


@pytest.mark.parametrize("length", [blocked.SHORT + 1, 127, 196, 784, 3136, 10007])
def test_chunks_cover_the_length_and_have_no_rest_where_they_can(length):
    steps, chunks = blocked._cut(length)
    assert length <= steps * chunks < length + steps
    assert 0.5 <= steps / (length / 2) ** 0.5 <= 2
    assert (steps * chunks == length) == (length not in (127, 10007))


def test_long_decays_underflow_without_harm():
    scan = random_scan(1, 3, 1, 2, 200)
    scan.A.mul_(1000)
    assert_equals_reference(blocked, scan, 3e-6)


@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 2e-7), (torch.float64, 1e-15)])
def test_softplus(dtype, off):
    x = torch.linspace(-80, 80, 999, dtype=dtype)
    expected = torch.logaddexp(x.double(), torch.zeros(()).double())
    found = x.clone()
    blocked._softplus_(found, *torch.empty(3, 999, dtype=dtype))
    assert ((found - expected).abs() / expected).max() < off
    special = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e30, -1e30], dtype=dtype)
    blocked._softplus_(special, *torch.empty(3, 5, dtype=dtype))
    expected = torch.tensor([torch.inf, 0, torch.nan, 1e30, 0], dtype=dtype)
    torch.testing.assert_close(special, expected, equal_nan=True, rtol=0, atol=0)
