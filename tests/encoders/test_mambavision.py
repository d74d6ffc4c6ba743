"""MambaVision: its mixer against golden outputs, its published sizes, its official names."""

import re

import pytest
import torch
from torch import nn

from fusionzoo.encoders.mambavision import Attention, ConvBlock, MambaVision, Mixer
from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.models.weights import load_component
from fusionzoo.spec import FeatureSpec, Modality
from tests import golden_normal, golden_rule

IMAGE = Modality("derm", "image", 6, (64, 48))
PHOTO = Modality("derm", "image", 3, (224, 224))
SMALL = {"channels": 8, "depths": (1, 1, 3, 2), "heads": (2, 4), "windows": (3, 2)}


@pytest.mark.parametrize("backend", ["reference", "torch", "auto"])
def test_mixer_golden(backend):
    mixer = golden_normal.fill_module(Mixer(32, backend=backend))
    golden_normal.assert_golden(mixer, "mambavision_mixer")


def test_the_bias_of_step_sizes_counts_twice():
    golden = golden_normal.load("mambavision_mixer")
    mixer = golden_normal.fill_module(Mixer(32))
    with torch.no_grad():
        mixer.dt_proj.bias.mul_(0.5)  # what counting it once would be
        once = mixer(golden["in"]["x"])
    assert (once - golden["out"]["y0"]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("size", "count"), [("T", 31_794_248), ("T2", 35_104_008), ("S", 50_140_584)]
)
def test_published_sizes(size, count):
    with torch.device("meta"):
        encoder = MambaVision(PHOTO, size=size)
        head = nn.Linear(encoder.output.channels, 1000)
    parts = (encoder, encoder.summary(), head)
    assert sum(p.numel() for part in parts for p in part.parameters()) == count


def test_official_names_and_shapes():
    with torch.device("meta"):
        encoder = MambaVision(PHOTO)
        summary = encoder.summary()
        shapes = golden_rule.shapes("mambavision_T")
        official = {name: torch.empty(shape) for name, shape in shapes.items()}
    for part in (encoder, summary):
        renamed = part.rename_official(official)
        assert {n: t.shape for n, t in renamed.items()} == {
            n: t.shape for n, t in part.state_dict().items()
        }


def test_official_weights(tmp_path):
    encoder = MambaVision(IMAGE, **SMALL)
    summary = encoder.summary()
    places = (
        (r"^embed\.", "patch_embed.conv_down."),
        (r"^blocks\.(\d)\.", r"levels.\1.blocks."),
        (r"^reductions\.(\d)\.", r"levels.\1.downsample.reduction.0."),
    )
    state = {"head.bias": torch.zeros(10)}
    for name, tensor in (encoder.state_dict() | summary.state_dict()).items():
        for ours, theirs in places:
            name = re.sub(ours, theirs, name)
        state[name] = golden_normal.fill(name, tuple(tensor.shape))
    path = tmp_path / "mambavision.pth.tar"
    torch.save({"state_dict": state}, path)
    load_component(encoder, path, what="the encoder", summary=summary)
    found = {
        "patch_embed.conv_down.4.running_var": encoder.embed[4].running_var,
        "levels.2.blocks.1.mixer.A_log": encoder.blocks[2][1].mixer.A_log,
        "levels.2.downsample.reduction.0.weight": encoder.reductions[2].weight,
        "levels.3.blocks.1.mixer.qkv.bias": encoder.blocks[3][1].mixer.qkv.bias,
        "norm.running_mean": summary.norm.running_mean,
    }
    assert [name for name, tensor in found.items() if not torch.equal(tensor, state[name])] == []
    del state["levels.0.blocks.0.conv1.bias"]
    torch.save(state | {"levels.0.gamma": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"missing \(blocks.*no place \(levels\.0\.gamma\)"):
        load_component(encoder, path, what="the encoder")


@pytest.mark.parametrize("size", [(64, 64), (50, 70), (32, 32)])
def test_stages_declare_the_shapes_they_give(size):
    encoder = MambaVision(Modality("derm", "image", 3, size), **SMALL)
    maps = encoder(torch.randn(2, 3, *size))
    assert [tuple(x.shape[1:]) for x in maps] == [
        (level.channels, *level.size) for level in encoder.output.levels
    ]


def test_what_iimgf_net_compares_with():
    with torch.device("meta"):
        encoder = MambaVision(PHOTO)
    assert str(encoder.output) == "pyramid of 4 maps (80x56x56, 160x28x28, 320x14x14, 640x7x7)"


@pytest.mark.parametrize(("depth", "mixers"), [(1, 1), (2, 1), (3, 2), (8, 4), (11, 6)])
def test_mixers_come_first(depth, mixers):
    with torch.device("meta"):
        encoder = MambaVision(PHOTO, depths=(1, 1, depth, 1))
    kinds = [type(block.mixer) for block in encoder.blocks[2]]
    assert kinds == [Mixer] * mixers + [Attention] * (depth - mixers)


def test_windows_do_not_see_each_other():
    torch.manual_seed(0)
    encoder = MambaVision(Modality("x", "image", 3, (96, 96)), **SMALL).eval()
    encoder.reductions[1] = nn.Identity()  # the map is cut into windows as it is given
    x = torch.randn(1, 32, 6, 6)
    changed = x.clone()
    changed[:, :, 3:, 3:] += 1
    before, after = encoder.stage(2, x), encoder.stage(2, changed)
    torch.testing.assert_close(before[:, :, :3], after[:, :, :3])
    torch.testing.assert_close(before[:, :, :, :3], after[:, :, :, :3])
    assert (before[:, :, 3:, 3:] - after[:, :, 3:, 3:]).abs().amin(dim=1).max() > 0


def test_conv_block_equation():
    torch.manual_seed(0)
    block = ConvBlock(4).eval()
    x = torch.randn(2, 4, 5, 5)
    inner = block.norm1(block.conv1(x))
    inner = 0.5 * inner * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
    torch.testing.assert_close(block(x), x + block.norm2(block.conv2(inner)))


def test_summary_is_the_mean_of_a_batch_norm():
    encoder = MambaVision(IMAGE, **SMALL)
    maps = [torch.randn(2, level.channels, *level.size) for level in encoder.output.levels]
    summary = encoder.summary().eval()
    summary.norm.running_var.fill_(4 - 1e-5)
    torch.testing.assert_close(summary(maps), maps[-1].mean((2, 3)) / 2)
    assert summary.output == FeatureSpec.vector(64)


def test_gradient_reaches_every_parameter():
    torch.manual_seed(0)
    encoder = MambaVision(IMAGE, drop_path=0.0, **SMALL)
    encoder.summary()(encoder(torch.randn(2, *IMAGE.shape))).pow(3).sum().backward()
    assert [name for name, p in encoder.named_parameters() if not p.grad.any()] == []


def test_says_what_its_scans_run_on():
    encoder = MambaVision(IMAGE, scan_backend="torch", **SMALL)
    assert encoder.backend == "torch"
    assert encoder.blocks[2][0].mixer.scan_backend == "torch"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"heads": (3, 4)}, "can't split 32 channels of level 2 into 3 heads"),
        ({"windows": (0, 2)}, "needs windows of 1 or more, not 0"),
        ({"scan_backend": "cdua"}, "no selective-scan backend 'cdua'"),
    ],
)
def test_bad_options(options, told):
    with pytest.raises(BadOption) as raised:
        MambaVision(IMAGE, **(SMALL | options))
    assert told in str(raised.value)
