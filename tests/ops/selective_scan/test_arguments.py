"""What doesn't fit is refused in a sentence with the values."""

import pytest
import torch

from fusionzoo.errors import LayoutMismatch
from fusionzoo.ops.selective_scan import selective_scan

GOOD = {
    "u": torch.zeros(2, 6, 5),
    "delta": torch.zeros(2, 6, 5),
    "A": torch.zeros(6, 3),
    "B": torch.zeros(2, 2, 3, 5),
    "C": torch.zeros(2, 2, 3, 5),
    "D": torch.zeros(6),
    "delta_bias": torch.zeros(6),
}


def test_the_good_ones_pass():
    assert selective_scan(**GOOD).shape == (2, 6, 5)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"u": torch.zeros(2, 6, 0)}, r"length at least 1; u is \(2, 6, 0\)"),
        ({"A": torch.zeros(5, 3)}, r"over 6 channels needs A of \(6, states\).*A is \(5, 3\)"),
        ({"A": torch.zeros(6, 0)}, r"states at least 1; A is \(6, 0\)"),
        (
            {"delta": torch.zeros(2, 6, 4)},
            r"needs delta of \(2, 6, 5\), as u; delta is \(2, 6, 4\)",
        ),
        ({"D": torch.zeros(5)}, r"needs D of \(6,\), one per channel; D is \(5\)"),
        ({"delta_bias": torch.zeros(6, 1)}, r"delta_bias of \(6,\).*delta_bias is \(6, 1\)"),
        (
            {"B": torch.zeros(2, 4, 5)},
            r"u \(2, 6, 5\) and A \(6, 3\) needs B of \(2, 3, 5\), or \(2, groups, 3, 5\); B is "
            r"\(2, 1, 4, 5\)",
        ),
        ({"C": torch.zeros(1, 2, 3, 5)}, r"needs C of.*C is \(1, 2, 3, 5\)"),
        ({"C": torch.zeros(2, 3, 5)}, "B has 2 and C has 1"),
        (
            {"B": torch.zeros(2, 4, 3, 5), "C": torch.zeros(2, 4, 3, 5)},
            "divides its 6 channels; B has 4 and C has 4",
        ),
        (
            {"A": torch.zeros(6, 3, device="meta")},
            r"on one device; given .*A: torch.float32 on meta",
        ),
    ],
)
def test_misfits(changed, text):
    with pytest.raises(LayoutMismatch, match=text):
        selective_scan(**GOOD | changed)
