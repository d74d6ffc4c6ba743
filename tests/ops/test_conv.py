"""Shared convolutional pieces against golden outputs and their definitions."""

import pytest
import torch

from fusionzoo.ops.conv import SqueezeExcite, channel_shuffle, resize_to
from tests import golden_rule


def test_squeeze_excite_golden():
    golden = golden_rule.load("se_block")
    gate = SqueezeExcite(32)
    names = {"excite.0": "squeeze", "excite.2": "excite"}
    gate.load_state_dict(
        {
            names[k.rpartition(".")[0]] + "." + k.rpartition(".")[2]: v
            for k, v in golden["param"].items()
        }
    )
    torch.testing.assert_close(gate(golden["in"]["x"]), golden["out"]["y"], rtol=1e-4, atol=1e-4)


def test_squeeze_excite_takes_any_number_of_axes():
    gate = SqueezeExcite(8)
    for space in [(5,), (5, 4), (2, 3, 4)]:
        assert gate(torch.randn(2, 8, *space)).shape == (2, 8, *space)


@pytest.mark.parametrize(("groups", "name"), [(3, "g3"), (12, "g12")])
def test_channel_shuffle_golden(groups, name):
    golden = golden_rule.load("channel_shuffle")
    assert torch.equal(channel_shuffle(golden["in"]["x"], groups), golden["out"][name])


def test_resize_to_is_linear_between_corners():
    ramp = torch.linspace(0, 1, 3).reshape(1, 1, 3, 1, 1)
    resized = resize_to(ramp, (5, 2, 1))
    torch.testing.assert_close(resized[0, 0, :, 0, 0], torch.linspace(0, 1, 5))
    assert resized.shape == (1, 1, 5, 2, 1)
    assert resize_to(ramp, (3, 1, 1)) is ramp
