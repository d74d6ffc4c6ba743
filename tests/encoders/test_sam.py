"""SAM's encoder: published sizes, taps, checkpoints of other sizes, frozen and random."""

import logging

import pytest
import torch
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor

from fusionzoo.encoders.sam import MEAN, SAM, STD
from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.models.weights import load_component
from fusionzoo.spec import Modality

CT = Modality("ct", "volume", 1, (12, 192, 192))
SMALL = Modality("ct", "volume", 1, (3, 32, 48))
TINY = {"width": 1 / 12, "depth": 4, "channels": (8, 12, 16)}


def tiny(modality: Modality = SMALL, **options) -> SAM:
    torch.manual_seed(0)
    return SAM(modality, **TINY | options).eval()


def official(img_size: int, depth: int = 4) -> dict[str, Tensor]:
    """A checkpoint as SAM's release names it."""
    torch.manual_seed(1)
    vit = VisionTransformerSAM(
        img_size=img_size,
        num_classes=0,
        embed_dim=64,
        depth=depth,
        num_heads=1,
        use_rel_pos=True,
        global_attn_indexes=(0, 1, 2, 3),
    )
    for name, parameter in vit.named_parameters():
        if "pos" in name:
            torch.nn.init.normal_(parameter)
    named = {
        f"image_encoder.{k.replace('mlp.fc', 'mlp.lin')}": v for k, v in vit.state_dict().items()
    }
    return {**named, "mask_decoder.iou_token.weight": torch.zeros(1, 256)}


@pytest.mark.parametrize(("size", "parameters"), [("base", 89_670_912), ("large", 308_278_272)])
def test_published_sizes(size: str, parameters: int) -> None:
    with torch.device("meta"):
        encoder = SAM(CT, size=size, img_size=1024, taps="neck")
    assert sum(p.numel() for p in encoder.vit.parameters()) == parameters
    assert str(encoder.output) == "pyramid of 3 maps (256x6x48x48, 512x3x24x24, 1024x2x12x12)"


@pytest.mark.parametrize(
    ("size", "taps", "attends"),
    [
        ("base", (5, 8, 11), (2, 5, 8, 11)),
        ("large", (11, 17, 23), (5, 11, 17, 23)),
        ("huge", (15, 23, 31), (7, 15, 23, 31)),
    ],
)
def test_taps_and_global_blocks(size: str, taps: tuple, attends: tuple) -> None:
    with torch.device("meta"):
        encoder = SAM(CT, size=size)
    assert encoder.taps == taps
    blocks = enumerate(encoder.vit.blocks)
    assert tuple(i for i, block in blocks if block.window_size == 0) == attends


@pytest.mark.parametrize("taps", ["blocks", "neck"])
@pytest.mark.parametrize(
    "modality",
    [SMALL, CT, Modality("ct", "volume", 3, (1, 20, 20)), Modality("derm", "image", 3, (40, 64))],
)
def test_declared_shapes_are_true(modality: Modality, taps: str) -> None:
    encoder = tiny(modality, taps=taps)
    with torch.no_grad():
        maps = encoder(torch.rand(2, *modality.shape))
    declared = [(level.channels, *level.size) for level in encoder.output.levels]
    assert [tuple(x.shape[1:]) for x in maps] == declared


def test_slices_go_through_one_by_one_normalised_as_in_the_release() -> None:
    encoder = tiny(Modality("ct", "volume", 1, (1, 32, 32)), offset=0.1)
    x = torch.rand(2, 1, 1, 32, 32)
    pixels = 255 * (x[:, :, 0] + 0.1).expand(-1, 3, -1, -1)
    pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    hidden = encoder.vit.patch_embed(pixels) + encoder.vit.pos_embed
    for block in encoder.vit.blocks:
        hidden = block(hidden)
    coarse = encoder.projections[2](hidden.permute(0, 3, 1, 2)[:, :, None])
    torch.testing.assert_close(encoder(x)[2], coarse)


def test_a_checkpoint_of_the_same_size_loads_as_it_is(tmp_path) -> None:
    encoder, state = tiny(Modality("ct", "volume", 1, (3, 64, 64)), taps="neck"), official(64)
    torch.save(state, tmp_path / "sam.pth")
    before = encoder.projections[0].weight.clone()
    load_component(encoder, tmp_path / "sam.pth", what="encoder 'sam'")
    for name, tensor in encoder.vit.state_dict().items():
        assert torch.equal(tensor, state[f"image_encoder.{name.replace('mlp.fc', 'mlp.lin')}"]), (
            name
        )
    assert encoder.filled
    torch.testing.assert_close(encoder.projections[0].weight, before)


def test_positions_are_interpolated_to_another_size() -> None:
    encoder, state = tiny(), official(128)
    encoder.load_state_dict(encoder.rename_official(state))
    assert encoder.vit.pos_embed.shape == (1, 2, 3, 64)
    relative = state["image_encoder.blocks.1.attn.rel_pos_h"]
    ours = encoder.vit.blocks[1].attn.rel_pos_h
    assert (relative.shape, ours.shape) == ((15, 64), (3, 64))
    torch.testing.assert_close(ours[1], relative[7])
    whole = state["image_encoder.pos_embed"].mean()
    assert (encoder.vit.pos_embed.mean() - whole).abs() < 0.2


def test_foreign_weights_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"59 of 59 tensors are missing, 'image_enc"):
        tiny().rename_official({"neck.0.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match="tensors are missing"):
        tiny(depth=8).rename_official(official(64))


def test_frozen_trains_projections_alone() -> None:
    encoder, x = tiny(), torch.rand(1, *SMALL.shape)
    sum(level.square().sum() for level in encoder(x)).backward()
    assert not any(p.requires_grad for p in encoder.vit.parameters())
    assert all(p.grad.abs().max() > 0 for p in encoder.projections.parameters())
    assert all(level.grad_fn is not None for level in encoder(x))


def test_frozen_still_tells_what_of_the_input_counts() -> None:
    x = torch.rand(1, *SMALL.shape, requires_grad=True)
    sum(level.square().sum() for level in tiny()(x)).backward()
    assert x.grad.abs().max() > 0


def test_gradient_reaches_every_parameter_when_tuned() -> None:
    encoder = tiny(frozen=False, taps="neck")
    sum(level.square().sum() for level in encoder(torch.rand(1, *SMALL.shape))).backward()
    silent = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_random_and_frozen_is_said_once(caplog) -> None:
    encoder, x = tiny(), torch.rand(1, *SMALL.shape)
    with caplog.at_level(logging.WARNING):
        encoder(x)
        encoder(x)
        tiny(frozen=False)(x)
        filled = tiny()
        filled.filled.fill_(True)
        filled(x)
    (record,) = caplog.records
    assert "frozen with random weights. Give sam(weights=PATH)" in record.message


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"channels": (8, 16)}, r"three levels; channels=\(8, 16\) are 2"),
        ({"depth": 6}, "can't have 6 blocks.*Use a multiple of four"),
        ({"width": 0.1}, r"can't have 1\.2 heads"),
    ],
)
def test_bad_options(options: dict, told: str) -> None:
    with pytest.raises(BadOption, match=told):
        SAM(SMALL, **TINY | options)
    with pytest.raises(BadOption, match=r"'ct' has 2 channels\. Use one or three"):
        SAM(Modality("ct", "volume", 2, (4, 32, 32)))
