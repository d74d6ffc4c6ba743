"""Windows of any number of axes, and attention of two maps within them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fusionzoo.errors import BadOption
from fusionzoo.ops.window_cross_attention import WindowCrossAttention, WindowCrossBlock, Windows
from tests import golden_normal

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)


class Flat(nn.Module):
    """A block over square maps, called with their positions row by row."""

    def __init__(self, inner: nn.Module, side: int):
        super().__init__()
        self.inner, self.side = inner, side

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        square = (self.side, self.side)
        return self.inner(*(z.unflatten(1, square) for z in (x, y))).flatten(1, 2)


def test_golden_block_where_the_map_is_one_window() -> None:
    module = Flat(WindowCrossBlock(24, (7, 7), num_heads=6, shifted=True), 7)
    official = {name: name.removeprefix("inner.") for name, _ in module.named_parameters()}
    golden_normal.fill_module(module, official)
    golden_normal.assert_golden(module, "tformer_swin_cross_block_7x7", official)


@given(size=SIZES, window=st.integers(1, 4), shifted=st.booleans())
def test_what_is_cut_is_joined_again(size: tuple[int, ...], window: int, shifted: bool) -> None:
    windows = Windows(size, window=window, shifted=shifted)
    x = torch.randn(2, *size, 3)
    assert torch.equal(windows.join(windows.cut(x)), x)
    assert max(windows.sides) <= window
    assert windows.apart().shape == windows.cut(x[:1]).shape[:2] + windows.cut(x).shape[1:2]


def test_a_shift_goes_round_and_neighbours_stay_together() -> None:
    windows = Windows((6,), window=4, shifted=True)
    assert (windows.counts, windows.sides, windows.shifts) == ((2,), (3,), (1,))
    cut = windows.cut(torch.arange(6.0)[None, :, None])[..., 0]
    assert cut.tolist() == [[1, 2, 3], [4, 5, 0]]
    assert windows.apart().tolist()[0] == [[False] * 3] * 3
    assert windows.apart().tolist()[1] == [
        [False, False, True],
        [False, False, True],
        [True, True, False],
    ]


def test_what_is_filled_up_is_seen_by_no_position() -> None:
    windows = Windows((5,), window=3)
    assert windows.cut(torch.arange(1.0, 6.0)[None, :, None])[..., 0].tolist() == [
        [1, 2, 3],
        [4, 5, 0],
    ]
    assert windows.apart()[1].tolist() == [
        [False, False, True],
        [False, False, True],
        [True, True, False],
    ]


def test_offsets_have_rows_of_their_own() -> None:
    windows = Windows((2, 3), window=7)
    offsets, places = windows.offsets(), [(i, j) for i in range(2) for j in range(3)]
    assert windows.num_offsets == 3 * 5
    rows = {}
    for q, a in enumerate(places):
        for k, b in enumerate(places):
            rows.setdefault((a[0] - b[0], a[1] - b[1]), set()).add(int(offsets[q, k]))
    assert all(len(found) == 1 for found in rows.values())
    assert len(set.union(*rows.values())) == len(rows) == windows.num_offsets
    assert rows[0, 1] == {int(offsets[0, 0]) + 1}


def test_one_window_is_attention_over_both_maps() -> None:
    torch.manual_seed(0)
    attention = WindowCrossAttention(4, num_heads=1, windows=Windows((3,), window=3)).double()
    x, y = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    k, v = attention.to_kv(torch.cat([x, y], 1)).chunk(2, dim=-1)
    bias = attention.relative_position_bias_table[attention.offsets][..., 0]
    scores = attention.to_q(x) @ k.mT / 2 + torch.cat([bias, bias], 1)
    expected = attention.proj(scores.softmax(-1) @ v)
    torch.testing.assert_close(attention(x, y), expected)


def test_gradient_reaches_every_parameter_in_a_volume() -> None:
    torch.manual_seed(0)
    block = WindowCrossBlock(4, (3, 5, 4), num_heads=2, window=3, shifted=True)
    x, y = (torch.randn(2, 3, 5, 4, 4, requires_grad=True) for _ in range(2))
    assert block(x, y).shape == x.shape
    block(x, y).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in [*block.parameters(), x, y])


def test_heads_must_divide_the_channels() -> None:
    with pytest.raises(BadOption, match="over 6 channels can't be split into 4 heads"):
        WindowCrossBlock(6, (2, 2), num_heads=4)
