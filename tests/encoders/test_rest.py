"""ResT against golden outputs of the released code, its published sizes, its official names."""

import pytest
import torch
from torch import nn

from fusionzoo.encoders.rest import Block, PatchEmbedding, ResT, ResTSummary, Stem
from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.models.weights import load_component
from fusionzoo.spec import FeatureSpec, Modality
from tests import golden_normal

IMAGE = Modality("derm", "image", 3, (64, 48))
PHOTO = Modality("derm", "image", 3, (224, 224))
SMALL = {"channels": 8, "depths": (1, 1, 2, 1)}
OFFICIAL = {"pos.weight": "pos.pa_conv.weight", "pos.bias": "pos.pa_conv.bias"}


class AsTokens(nn.Module):
    """A part between maps as one that gives tokens, or between tokens at a size, as the release."""

    def __init__(self, part: nn.Module, size: tuple[int, ...] = ()):
        super().__init__()
        self.part, self.size = part, size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.part(x, *self.size)
        return found.flatten(2).mT if found.ndim == 4 else found


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (Stem(3, 16), "rest_v1_stem"),
        (AsTokens(PatchEmbedding(8, 16)), "rest_v1_patch_embed"),
        (AsTokens(Block(16, 4, 2), (6, 8)), "rest_v1_block"),
    ],
    ids=["stem", "patch embedding", "block"],
)
def test_golden(part, name):
    official = {}
    for ours in part.state_dict():
        inner = ours.removeprefix("part.")
        official[ours] = OFFICIAL.get(inner, inner)
    golden_normal.assert_golden(golden_normal.fill_module(part, official), name, official)


@pytest.mark.parametrize(
    ("size", "count"),
    [("lite", 10_508_300), ("small", 13_679_708), ("base", 30_327_052), ("large", 51_676_156)],
)
def test_published_sizes(size, count):
    with torch.device("meta"):
        encoder = ResT(PHOTO, size=size)
        head = nn.Linear(encoder.output.channels, 1000)
    parts = (encoder, encoder.summary(), head)
    assert sum(p.numel() for part in parts for p in part.parameters()) == count


def test_what_iimgf_net_compares_with():
    with torch.device("meta"):
        encoder = ResT(PHOTO)
    assert str(encoder.output) == "pyramid of 4 maps (64x56x56, 128x28x28, 256x14x14, 512x7x7)"


def released(encoder: ResT, summary: ResTSummary) -> dict[str, torch.Tensor]:
    """A state dict with the release's names."""
    places = (("patches.", "stem."), (".pos.", ".pos.pa_conv."))
    state = {}
    for name, tensor in encoder.state_dict().items():
        head, _, rest = name.partition(".")
        number, _, inner = rest.partition(".")
        if head == "embeds":
            name = f"patch_embed_{int(number) + 2}.{inner}"
        elif head == "blocks":
            name = f"stage{int(number) + 1}.{inner}"
        for ours, theirs in places:
            name = name.replace(ours, theirs)
        state[name] = golden_normal.fill(name, tuple(tensor.shape))
    norm = {
        f"norm.{name}": torch.rand(tensor.shape) for name, tensor in summary.norm.named_parameters()
    }
    return state | norm | {"head.weight": torch.zeros(10, 64), "head.bias": torch.zeros(10)}


def test_official_weights(tmp_path):
    encoder = ResT(IMAGE, **SMALL)
    summary = encoder.summary()
    state, path = released(encoder, summary), tmp_path / "rest.pth"
    torch.save({"model": state}, path)
    load_component(encoder, path, what="the encoder", summary=summary)
    found = {
        "stem.pos.pa_conv.weight": encoder.patches.pos.weight,
        "patch_embed_3.norm.running_mean": encoder.embeds[1].norm.running_mean,
        "stage3.1.attn.transform_conv.weight": encoder.blocks[2][1].attn.transform_conv.weight,
        "norm.weight": summary.norm.weight,
    }
    assert [name for name, tensor in found.items() if not torch.equal(tensor, state[name])] == []
    torch.save(state | {"stage5.0.x": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"1 have no place \(blocks\.4\.0\.x\)"):
        load_component(encoder, path, what="the encoder")


@pytest.mark.parametrize("size", [(64, 64), (50, 70), (33, 32)])
def test_stages_declare_the_shapes_they_give(size):
    encoder = ResT(Modality("derm", "image", 3, size), **SMALL)
    maps = encoder(torch.randn(2, 3, *size))
    assert [tuple(x.shape[1:]) for x in maps] == [
        (level.channels, *level.size) for level in encoder.output.levels
    ]


def test_summary_is_the_mean_of_normed_tokens():
    encoder = ResT(IMAGE, **SMALL)
    maps = [torch.randn(2, level.channels, *level.size) for level in encoder.output.levels]
    expected = nn.functional.layer_norm(maps[-1].flatten(2).mT, (64,)).mean(1)
    summary = encoder.summary()
    torch.testing.assert_close(summary(maps), expected)
    assert summary.output == FeatureSpec.vector(64)


def test_gradient_reaches_every_parameter():
    torch.manual_seed(0)
    encoder = ResT(IMAGE, **SMALL)
    encoder.summary()(encoder(torch.randn(2, *IMAGE.shape))).pow(3).sum().backward()
    assert [name for name, p in encoder.named_parameters() if not p.grad.any()] == []


def test_a_last_map_of_one_position():
    encoder = ResT(Modality("derm", "image", 3, (32, 32)), **SMALL)
    maps = encoder(torch.randn(3, 3, 32, 32))
    assert maps[-1].shape == (3, 64, 1, 1)
    assert torch.isfinite(maps[-1]).all()


def test_odd_channels():
    with pytest.raises(BadOption, match="needs even channels, not channels=7"):
        ResT(IMAGE, channels=7)
