"""Windows: cut and put together again; attention inside of them as timm's Swin computes it."""

import pytest
import torch
from timm.layers.helpers import to_2tuple
from timm.models.swin_transformer import SwinTransformerBlock
from torch import nn

from fusionzoo.errors import BadOption
from fusionzoo.ops.windows import (
    APART,
    WindowAttention,
    apart_after_shift,
    from_windows,
    relative_positions,
    to_windows,
)


@pytest.mark.parametrize("size", [(6, 9), (5, 7), (1, 1), (3, 12)])
def test_a_map_survives_being_cut(size):
    x = torch.randn(2, 4, *size)
    windows = to_windows(x, 3)
    assert windows.shape[1:] == (9, 4)
    assert torch.equal(from_windows(windows, 3, *size), x)


def test_order_of_windows_and_tokens():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    windows = to_windows(x, 2)[..., 0]
    assert windows.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_padding_is_zero_and_at_the_end():
    windows = to_windows(torch.ones(1, 1, 3, 2), 2)[..., 0]
    assert windows.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_relative_positions_by_hand():
    index = relative_positions(2)
    # From (0, 0) to (1, 1) the offset is (-1, -1), the first row of a table of 3 x 3.
    assert index[0].tolist() == [4, 3, 1, 0]
    assert index[3].tolist() == [8, 7, 5, 4]


def test_pairs_apart_after_a_shift_by_hand():
    # Rows 0-3 rolled by 1: window rows are {1, 2} and {3, 0}; only 3 and 0 are no neighbours.
    apart = apart_after_shift(4, 4, 2, 1)
    assert not apart[0].any()
    right = apart[1].bool().tolist()  # columns 3 and 0 side by side
    assert right == [[False, True, False, True], [True, False, True, False]] * 2
    assert set(apart.flatten().tolist()) == {0.0, APART}


@pytest.mark.parametrize("shift", [0, 3])
def test_attention_is_that_of_timms_swin(shift):
    torch.manual_seed(0)
    block = SwinTransformerBlock(
        12, to_2tuple(14), num_heads=3, window_size=7, shift_size=shift, mlp_ratio=1
    ).eval()
    ours = WindowAttention(12, 3, window=7, shift=shift)
    theirs = {
        name.replace("relative_position_bias_table", "bias"): tensor
        for name, tensor in block.attn.state_dict().items()
    }
    nn.init.normal_(theirs["bias"])
    ours.load_state_dict({name: theirs[name] for name in ours.state_dict()})
    x = torch.randn(2, 12, 14, 14)
    expected = block._attn(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(ours(x), expected, atol=1e-5, rtol=1e-4)


def test_any_size_and_a_gradient_for_every_weight():
    attention = WindowAttention(8, 2, window=4, shift=2)
    x = torch.randn(1, 8, 5, 3)
    y = attention(x)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert [name for name, p in attention.named_parameters() if not p.grad.any()] == []


def test_heads_that_do_not_fit():
    with pytest.raises(BadOption, match="over 10 channels can't be split into 3 heads"):
        WindowAttention(10, 3)
