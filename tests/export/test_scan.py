import pytest
import torch

from fusionzoo.export.scan import scan_by_doubling
from fusionzoo.ops.selective_scan import selective_scan


@pytest.mark.parametrize("length", [1, 2, 7, 64, 100])
@pytest.mark.parametrize(("groups", "extras"), [(1, False), (3, True)])
def test_doubling_gives_what_the_recurrence_gives(length, groups, extras):
    draw = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=draw)

    u, delta, A = normal(2, 6, length), normal(2, 6, length), -normal(6, 4).exp()
    B, C = normal(2, groups, 4, length), normal(2, groups, 4, length)
    D, bias = (normal(6), normal(6)) if extras else (None, None)
    expected = selective_scan(u, delta, A, B, C, D, bias, True, backend="reference")
    y, kept = scan_by_doubling(u, delta, A, B, C, D, bias, True, "auto")
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
    assert kept.numel() == 0


def test_long_and_slow_states_stay_exact_in_single_precision():
    draw = torch.Generator().manual_seed(0)
    u, delta = (torch.randn(1, 2, 4096, generator=draw) for _ in range(2))
    A, (B, C) = -torch.full((2, 1), 1e-3), torch.randn(2, 1, 1, 1, 4096, generator=draw)
    args = (u, delta, A, B, C, None, None, True)
    exact = selective_scan(*(x.double() if torch.is_tensor(x) else x for x in args))
    y, _ = scan_by_doubling(*args, "auto")
    torch.testing.assert_close(y.double(), exact, rtol=1e-4, atol=1e-3)
