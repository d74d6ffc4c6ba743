"""MONAI's networks as encoders: the same numbers as MONAI's, its weights by name, the interface."""

import pytest
import torch
from fusionzoo_monai.monai_densenet import MonaiDenseNet
from fusionzoo_monai.monai_resnet import MonaiResNet
from fusionzoo_monai.monai_segresnet import MonaiSegResNet
from fusionzoo_monai.monai_swin_unetr import MonaiSwinUNETR

from fusionzoo import registry
from fusionzoo.conformance import check
from fusionzoo.errors import BadOption
from fusionzoo.models.weights import load_component
from fusionzoo.spec import Modality

CT = Modality("ct", "volume", 2, (8, 32, 24))
DERM = Modality("derm", "image", 3, (40, 32))
ENCODERS = {
    "monai_resnet": MonaiResNet,
    "monai_densenet": MonaiDenseNet,
    "monai_segresnet": MonaiSegResNet,
    "monai_swin_unetr": MonaiSwinUNETR,
}


def batch(modality):
    return torch.randn(2, *modality.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ENCODERS)
def test_they_keep_what_the_interface_promises(name):
    assert registry.load("encoder", name) is ENCODERS[name]
    check(name, kind="encoder").require(at_least=17)


def filled(encoder, net, tmp_path):
    """The encoder with MONAI's weights, through a file with MONAI's names."""
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    load_component(encoder, tmp_path / "weights.pt", what="the encoder")
    return encoder.eval(), net.eval()


@pytest.mark.parametrize(("depth", "block"), [(18, "basic"), (50, "bottleneck")])
@pytest.mark.parametrize("modality", [CT, DERM], ids=["volume", "image"])
def test_resnet_gives_what_monai_s_gives(depth, block, modality, tmp_path):
    from monai.networks.nets.resnet import ResNet

    encoder = MonaiResNet(modality, depth=depth, width=4)
    layers = [2, 2, 2, 2] if depth == 18 else [3, 4, 6, 3]
    net = ResNet(
        block,
        layers,
        [4, 8, 16, 32],
        spatial_dims=len(modality.size),
        n_input_channels=modality.channels,
        conv1_t_stride=2,
        num_classes=5,
    )
    encoder, net = filled(encoder, net, tmp_path)
    x = batch(modality)
    with torch.no_grad():
        last = encoder(x)[-1]
        torch.testing.assert_close(net.fc(last.flatten(2).mean(dim=2)), net(x))


def test_densenet_gives_what_monai_s_gives(tmp_path):
    from monai.networks.nets.densenet import DenseNet

    options = {"init_features": 8, "growth_rate": 4}
    encoder = MonaiDenseNet(CT, layers=(2, 3), **options)
    net = DenseNet(3, 2, 5, block_config=(2, 3), **options)
    encoder, net = filled(encoder, net, tmp_path)
    x = batch(CT)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x)[-1], net.features(x))


def test_segresnet_gives_what_monai_s_gives(tmp_path):
    from monai.networks.nets.segresnet import SegResNet

    encoder = MonaiSegResNet(CT, blocks_down=(1, 2, 2))
    net = SegResNet(3, 8, 2, blocks_down=(1, 2, 2), blocks_up=(1, 1))
    encoder, net = filled(encoder, net, tmp_path)
    x = batch(CT)
    with torch.no_grad():
        _, levels = net.encode(x)
        for found, wanted in zip(encoder(x), levels, strict=True):
            torch.testing.assert_close(found, wanted)


def test_swin_gives_what_monai_s_gives(tmp_path):
    from monai.networks.nets.swin_unetr import SwinUNETR

    options = {"depths": (1, 1, 1, 1), "num_heads": (1, 2, 3, 4)}
    ct = Modality("ct", "volume", 2, (32, 32, 64))
    encoder = MonaiSwinUNETR(ct, embed_dim=12, **options)
    net = SwinUNETR(2, 5, feature_size=12, **options)
    encoder, net = filled(encoder, net, tmp_path)
    x = batch(ct)
    with torch.no_grad():
        for found, wanted in zip(encoder(x), net.swinViT(x, normalize=True), strict=True):
            torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MonaiResNet(CT, width=0), "width=0 and first_stride=2 make no network."),
        (lambda: MonaiSegResNet(CT, init_filters=12), "init_filters=12 can't be normalised"),
        (lambda: MonaiDenseNet(CT), "'ct' is 8x32x24, and 4 blocks halve it 5 times."),
        (lambda: MonaiSwinUNETR(CT, depths=(2, 2)), "must name four stages each."),
        (lambda: MonaiSwinUNETR(CT, embed_dim=10), "3 heads don't divide their stage's width"),
    ],
)
def test_what_cannot_be_built(make, message):
    with pytest.raises(BadOption) as caught:
        make()
    assert message in str(caught.value)
