"""Swin: the maps after merging, any image size, and the names of three releases."""

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor

from fusionzoo.encoders.swin import Swin
from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.models.weights import load_component
from fusionzoo.spec import Modality

SMALL = {"channels": 8, "depths": (1, 2, 2, 1), "num_heads": (1, 1, 2, 2)}


def image(*size: int) -> Modality:
    return Modality("derm", "image", 3, size)


def timms(size: int) -> SwinTransformer:
    """timm's own network of the same sizes, its biases large enough to matter."""
    torch.manual_seed(0)
    net = SwinTransformer(
        img_size=size,
        embed_dim=8,
        depths=SMALL["depths"],
        num_heads=SMALL["num_heads"],
        num_classes=5,
    )
    for name, p in net.named_parameters():
        if name.endswith("bias_table"):
            torch.nn.init.normal_(p)
    return net.eval()


def official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's tensors under the names of Swin's release, with its constants."""
    renamed = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) - 1)
        renamed[".".join(parts).replace("head.fc.", "head.")] = tensor
    index = torch.zeros(49, 49, dtype=torch.long)
    return renamed | {
        "layers.0.blocks.0.attn.relative_position_index": index,
        "layers.1.blocks.1.attn_mask": torch.zeros(4, 49, 49),
    }


@pytest.mark.parametrize(
    ("size", "last"),
    [((32, 32), (1, 1)), ((50, 70), (2, 3)), ((224, 224), (7, 7)), ((3, 5), (1, 1))],
)
def test_any_image_size(size: tuple[int, int], last: tuple[int, int]) -> None:
    encoder = Swin(image(*size), **SMALL, drop_path=0.0)
    maps = encoder(torch.randn(2, 3, *size))
    declared = [(level.channels, *level.size) for level in encoder.output.levels]
    assert [tuple(x.shape[1:]) for x in maps] == declared
    assert declared[-1] == (64, *last)
    sum(x.square().sum() for x in maps).backward()
    silent = [n for n, p in encoder.named_parameters() if not p.grad.abs().max() > 0]
    # Where a map is one position, there is nothing to choose among.
    assert all("layers" in name for name in silent)
    assert silent == [] or min(level.size[0] for level in encoder.output.levels) == 1


@pytest.mark.parametrize("names", ["timm", "release", "tformer"])
def test_weights_give_the_same_maps(tmp_path, names: str) -> None:
    net = timms(64)
    state = net.state_dict()
    if names == "release":
        state = {"model": official(state)}
    if names == "tformer":
        state = {f"cli_vit.{name}": x for name, x in official(state).items()}
        state["fusion_block0.layers.0.0.norm1.weight"] = torch.ones(16)
    torch.save(state, tmp_path / "swin.pth")
    encoder = Swin(image(64, 64), **SMALL).eval()
    load_component(encoder, tmp_path / "swin.pth", what="encoder 'swin'")
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        theirs = net.forward_features(x).movedim(-1, 1)
        torch.testing.assert_close(encoder(x)[-1], theirs)


def test_biases_of_larger_windows_are_interpolated(tmp_path) -> None:
    torch.save(timms(224).state_dict(), tmp_path / "swin.pth")
    encoder = Swin(image(64, 64), **SMALL)
    load_component(encoder, tmp_path / "swin.pth", what="encoder 'swin'")
    assert encoder.net.layers[2].blocks[0].attn.relative_position_bias_table.shape == (49, 2)
    assert encoder.net.layers[0].blocks[0].attn.relative_position_bias_table.std() > 0.5


def test_weights_of_another_network_or_size(tmp_path) -> None:
    deeper = SwinTransformer(img_size=64, embed_dim=8, depths=(2, 2, 2, 1), num_heads=(1, 1, 2, 2))
    torch.save(deeper.state_dict(), tmp_path / "deeper.pth")
    with pytest.raises(
        WeightsError, match=r"are unknown, 'layers\.0\.blocks\.1\.norm1\.weight' fi"
    ):
        load_component(Swin(image(64, 64), **SMALL), tmp_path / "deeper.pth", what="encoder")


def test_stages_are_what_the_next_ones_read() -> None:
    encoder = Swin(image(40, 40), **SMALL).eval()
    x = torch.randn(2, 3, 40, 40)
    state, kept = encoder.stem(x), []
    for level in range(4):
        state = encoder.stage(level, state)
        kept.append(state)
    for one, other in zip(kept, encoder(x), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("size", "count"), [("tiny", 27_519_354), ("small", 48_837_258), ("base", 86_743_224)]
)
def test_published_sizes(size: str, count: int) -> None:
    """Those of the release, without its classifier."""
    with torch.device("meta"):
        encoder = Swin(image(224, 224), size=size)
    assert sum(p.numel() for p in encoder.parameters()) == count


def test_options_that_do_not_fit() -> None:
    with pytest.raises(BadOption, match=r"3 heads don't divide the 8 channels of stage 0\."):
        Swin(image(32, 32), channels=8)
    with pytest.raises(BadOption, match="window=0 must be at least 1"):
        Swin(image(32, 32), window=0)
