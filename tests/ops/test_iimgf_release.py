"""What the released IIMGF-Net does with its last maps, and what it asks of names."""

import numpy as np
import pytest
import torch

from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.ops.iimgf_release import check_layout_bug, check_order, refined_mean, released_part
from fusionzoo.spec import FeatureSpec


def test_mean_of_both():
    x, f = torch.randn(2, 3, 5, 4, 7)
    expected = x.mean((2, 3)) + f.mean((2, 3))
    torch.testing.assert_close(refined_mean(x, f), expected)


def test_the_bug_averages_pieces_of_channels_last_memory():
    x, f = torch.randn(2, 2, 6, 3, 3)
    released = f.permute(0, 2, 3, 1).contiguous()  # as the release has it: channels last
    tokens = released.transpose(1, 2).reshape(2, 6, 3, 3)  # and as it reads it
    expected = (x + tokens).mean((2, 3))
    found = refined_mean(x, f, official_layout_bug=True)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, refined_mean(x, f))
    np.testing.assert_allclose(found.sum(1), refined_mean(x, f).sum(1), rtol=1e-4)


@pytest.mark.parametrize("spec", [FeatureSpec.vector(4), FeatureSpec.map(4, (2, 2, 2), (8, 8, 8))])
def test_the_bug_is_for_pictures(spec):
    picture = FeatureSpec.map(4, (2, 2), (8, 8))
    check_layout_bug({"clinic": picture, "derm": picture})
    with pytest.raises(BadOption, match="two axes alone; given clinic: map 4x2x2, other: "):
        check_layout_bug({"clinic": picture, "other": spec})


def test_the_clinical_image_comes_first():
    spec = FeatureSpec.vector(1)
    check_order({"clinic": spec, "derm": spec})
    check_order({"b": spec, "a": spec})
    with pytest.raises(
        WeightsError, match="reads the clinical image first; the spec has 'derm' first"
    ):
        check_order({"derm": spec, "clinic": spec})


def test_part_of_a_state():
    state = {"a.b": torch.zeros(1), "a.c.d": torch.ones(1), "ab.c": torch.ones(1)}
    assert list(released_part(state, "a.")) == ["b", "c.d"]
