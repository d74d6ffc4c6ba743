"""HiFuse: its blocks against golden outputs, its published sizes, its official names."""

import math

import pytest
import torch
from torch import nn

from fusionzoo.encoders.hifuse import KEYS, GlobalBlock, HiFuse, LocalBlock
from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.models.weights import load_component
from fusionzoo.spec import FeatureSpec, Modality
from tests import golden_normal, golden_rule

IMAGE = Modality("derm", "image", 3, (32, 64))
PHOTO = Modality("derm", "image", 3, (224, 224))
SMALL = {"channels": 8, "depths": (1, 2, 1, 1), "head_channels": 4}


def num_parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_local_block_golden():
    golden_normal.assert_golden(golden_normal.fill_module(LocalBlock(12)), "hifuse_local_block")


def test_global_block_equation():
    torch.manual_seed(0)
    block = GlobalBlock(8, 2, shift=3)
    x = torch.randn(2, 8, 7, 14)
    attended = block.attention(block.norm(x)).permute(0, 2, 3, 1)
    expected = x + nn.functional.gelu(block.linear(attended)).permute(0, 3, 1, 2)
    torch.testing.assert_close(block(x), expected)


def count(size: str) -> int:
    """Parameters with a classifier of 7 classes."""
    with torch.device("meta"):
        encoder = HiFuse(PHOTO, size=size)
        return num_parameters(encoder, encoder.summary(), nn.Linear(768, 7))


def test_published_sizes():
    shapes = golden_rule.shapes("hifuse_tiny")
    buffers = ("running_mean", "running_var", "num_batches_tracked", "relative_position_index")
    released = sum(math.prod(s) for n, s in shapes.items() if not n.endswith(buffers))
    released -= 2 * (24 - 7) * (768 + 1)  # both classifiers of the list have 24 classes
    tiny = count("tiny")
    unused_norm = 2 * 384  # one in each attention block of the third level
    sizes = {
        size: released + count(size) - tiny + more * unused_norm
        for size, more in (("tiny", 0), ("small", 4), ("base", 16))
    }
    assert {size: round(n / 1e6, 1) for size, n in sizes.items()} == {
        "tiny": 119.7,
        "small": 123.3,
        "base": 134.0,
    }
    assert tiny == 118_086_497


def released_state(encoder: HiFuse) -> dict[str, torch.Tensor]:
    """A state dict with all of the release's names, at this encoder's sizes."""
    own = encoder.state_dict() | {f"conv_norm.{n}": torch.empty(32) for n in ("weight", "bias")}
    state = {}
    for name in golden_rule.shapes("hifuse_tiny"):
        ours = next(iter(encoder.rename_official({name: torch.zeros(1)})), name)
        state[name] = golden_normal.fill(name, tuple(own[ours].shape) if ours in own else (1,))
    return state


def test_official_weights(tmp_path):
    encoder = HiFuse(IMAGE, channels=4, head_channels=4)
    summary = encoder.summary()
    state, path = released_state(encoder), tmp_path / "hifuse.pth"
    torch.save(state, path)
    load_component(encoder, path, what="the encoder", summary=summary)
    attention = encoder.branches["attention"].blocks[2][1].attention
    found = {
        "downsample_layers.2.1.weight": encoder.branches["convolution"].down[1][1].weight,
        "patch_embed.norm.weight": encoder.branches["attention"].stem[1].weight,
        "layers3.blocks.1.attn.relative_position_bias_table": attention.bias,
        "layers4.downsample.reduction.weight": encoder.branches["attention"]
        .down[2]
        .reduction.weight,
        "fu4.W3.conv.weight": encoder.fuse[3].mix.conv.weight,
        "conv_norm.bias": summary.norm.bias,
    }
    assert [name for name, tensor in found.items() if not torch.equal(tensor, state[name])] == []
    names = {"local": "stages.0.0.norm.bias", "global": "layers1.blocks.0.norm1.bias"}
    for branch, name in names.items():
        alone = HiFuse(IMAGE, branch=branch, channels=4, head_channels=4)
        load_component(alone, path, what="the branch")
        assert torch.equal(alone.branches[KEYS[branch]].blocks[0][0].norm.bias, state[name])
    torch.save(state | {"layer1.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"1 have no place \(layer1\.weight\)"):
        load_component(encoder, path, what="the encoder")


def test_official_names_and_shapes():
    with torch.device("meta"):
        encoder = HiFuse(PHOTO)
        shapes = golden_rule.shapes("hifuse_tiny")
        official = {name: torch.empty(shape) for name, shape in shapes.items()}
    renamed = encoder.rename_official(official)
    assert {n: t.shape for n, t in renamed.items()} == {
        n: t.shape for n, t in encoder.state_dict().items()
    }


@pytest.mark.parametrize("branch", ["both", "local", "global"])
def test_stages_give_what_they_declare(branch):
    encoder = HiFuse(IMAGE, branch=branch, **SMALL).eval()
    x, kept = encoder.stem(torch.randn(2, *IMAGE.shape)), []
    for level, declared in enumerate(encoder.stages):
        x = encoder.stage(level, x)
        assert tuple(x.shape[1:]) == (declared.channels, *declared.size)
        kept.append(encoder.emit(level, x))
    assert [tuple(each.shape[1:]) for each in kept] == [
        (level.channels, *level.size) for level in encoder.output.levels
    ]
    assert [level.channels for level in encoder.output.levels] == [8, 16, 32, 64]
    assert [level.stride for level in encoder.output.levels] == [(4, 4), (8, 8), (16, 16), (32, 32)]


def test_a_branch_alone_is_the_one_of_both():
    torch.manual_seed(0)
    both = HiFuse(IMAGE, **SMALL).eval()
    x = torch.randn(2, *IMAGE.shape)
    state = both.stage(0, both.stem(x))
    for branch, part in (("local", state[:, :8]), ("global", state[:, 8:16])):
        alone = HiFuse(IMAGE, branch=branch, **SMALL).eval()
        own = f"branches.{KEYS[branch]}."
        weights = {n: t for n, t in both.state_dict().items() if n.startswith(own)}
        alone.load_state_dict(weights)
        torch.testing.assert_close(alone(x)[0], part)
        assert alone.summary() is None
    torch.testing.assert_close(both(x)[0], state[:, 16:])


def test_summary_is_a_norm_of_the_mean():
    encoder = HiFuse(IMAGE, **SMALL)
    maps = [torch.randn(2, c.channels, *c.size) for c in encoder.output.levels]
    expected = nn.functional.layer_norm(maps[-1].mean((2, 3)), (64,), eps=1e-6)
    summary = encoder.summary()
    torch.testing.assert_close(summary(maps), expected)
    assert summary.output == FeatureSpec.vector(64)


def test_gradient_reaches_every_parameter():
    torch.manual_seed(0)
    encoder = HiFuse(IMAGE, **SMALL)
    encoder.summary()(encoder(torch.randn(4, *IMAGE.shape))).pow(3).sum().backward()
    assert [name for name, p in encoder.named_parameters() if not p.grad.any()] == []


def test_drop_path_rises_to_the_last_block():
    encoder = HiFuse(IMAGE, drop_path=0.4, **SMALL)
    drops = [
        block.drop_path.drop_prob
        for level in encoder.branches["convolution"].blocks
        for block in level
    ]
    assert drops == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert encoder.fuse[0].drop_path.drop_prob == 0.4


@pytest.mark.parametrize(
    ("size", "options", "told"),
    [
        ((50, 64), {}, "'derm' is 50x64. Resize it to 64x64"),
        ((32, 32), {"channels": 40}, "channels=40 into heads of head_channels=32"),
    ],
)
def test_refusals(size, options, told):
    with pytest.raises(BadOption) as raised:
        HiFuse(Modality("derm", "image", 3, size), **options)
    assert told in str(raised.value)
