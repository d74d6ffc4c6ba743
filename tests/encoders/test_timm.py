"""timm networks: true shapes, the package's own numbers, slices as images, no downloads."""

import pytest
import timm
import torch

from fusionzoo.encoders.timm import Timm
from fusionzoo.errors import BadOption, UnknownComponent
from fusionzoo.spec import FeatureSpec, Modality

IMAGE = Modality("derm", "image", 2, (64, 96))
VOLUME = Modality("ct", "volume", 1, (3, 64, 96))
#: Two photographs on top of each other.
STACKED = Modality("clinic+derm", "image", 6, (224, 224))


def shapes(given: FeatureSpec) -> list[tuple[int, ...]]:
    if given.layout == "tokens":
        return [(given.num_tokens, given.channels)]
    if given.layout == "vector":
        return [(given.channels,)]
    return [(level.channels, *level.size) for level in given.levels]


@pytest.mark.parametrize(
    ("name", "features", "staged"),
    [
        ("resnet10t", "pyramid", True),
        ("test_efficientnet", "pyramid", False),
        ("test_vit", "pyramid", False),
        ("test_vit", "last", False),
        ("swin_tiny_patch4_window7_224", "pyramid", False),
        ("test_convnext", "last", False),
        ("selecsls42", "pyramid", False),
        ("test_efficientnet", "vector", False),
    ],
)
@pytest.mark.parametrize("modality", [IMAGE, VOLUME], ids=["image", "volume"])
def test_declared_shapes_are_true(
    name: str, features: str, staged: bool, modality: Modality
) -> None:
    with torch.device("meta"):
        encoder = Timm(modality, name=name, features=features).eval()
        given = encoder(torch.empty(2, *modality.shape))
    assert encoder.staged is staged
    maps = given if isinstance(given, list) else [given]
    assert [tuple(each.shape[1:]) for each in maps] == shapes(encoder.output)
    assert (len(maps) > 1) == (encoder.output.layout == "pyramid")
    flat = encoder.output.layout in ("tokens", "vector")
    assert flat or encoder.output.spatial_dims == len(modality.size)


def test_the_numbers_are_timms() -> None:
    torch.manual_seed(0)
    encoder = Timm(IMAGE, name="resnet10t", out_indices=(1, 3)).eval()
    network = timm.create_model(
        "resnet10t", in_chans=2, features_only=True, out_indices=(1, 3)
    ).eval()
    state = {f"net.{key}": value for key, value in network.state_dict().items()}
    encoder.load_state_dict(state)
    x = torch.randn(2, 2, 64, 96)
    for ours, theirs in zip(encoder(x), network(x), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert [level.stride for level in encoder.output.levels] == [(4, 4), (16, 16)]


def test_slices_of_a_volume_are_images() -> None:
    torch.manual_seed(0)
    volume = Timm(VOLUME, name="resnet10t", out_indices=(1, 2)).eval()
    image = Timm(Modality("x", "image", 1, (64, 96)), name="resnet10t", out_indices=(1, 2)).eval()
    image.load_state_dict(volume.state_dict())
    x = torch.randn(2, 1, 3, 64, 96)
    for whole, one in zip(volume(x), image(x[:, :, 1]), strict=True):
        torch.testing.assert_close(whole[:, :, 1], one, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_summary_pools_space_then_slices(pool: str) -> None:
    encoder = Timm(VOLUME, name="resnet10t", slice_pool=pool, out_indices=(2,)).eval()
    x = torch.randn(2, 1, 3, 64, 96)
    features = encoder(x)
    per_slice = features.mean(dim=(-2, -1))
    expected = per_slice.mean(dim=2) if pool == "mean" else per_slice.amax(dim=2)
    summary = encoder.summary()
    torch.testing.assert_close(summary(features), expected)
    assert summary.output == FeatureSpec.vector(encoder.output.channels)
    assert Timm(IMAGE, name="resnet10t").summary() is None


def test_summary_of_tokens_pools_tokens_of_a_slice_first() -> None:
    encoder = Timm(VOLUME, name="test_vit", features="last", slice_pool="max").eval()
    tokens = encoder(torch.randn(2, 1, 3, 64, 96))
    expected = tokens.unflatten(1, (3, -1)).mean(dim=2).amax(dim=1)
    torch.testing.assert_close(encoder.summary()(tokens), expected)


@pytest.mark.parametrize("name", ["resnet10t", "test_vit", "test_efficientnet"])
def test_weights_that_timm_saved(name: str) -> None:
    torch.manual_seed(0)
    options = {"img_size": (64, 96)} if name == "test_vit" else {}
    saved = timm.create_model(name, in_chans=2, **options).state_dict()
    encoder = Timm(IMAGE, name=name)
    encoder.load_state_dict(encoder.rename_official(saved))
    first = next(key for key in saved if key.endswith("weight"))
    ours = next(key for key in encoder.state_dict() if key.endswith(first))
    torch.testing.assert_close(encoder.state_dict()[ours], saved[first])


def test_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    encoder = Timm(IMAGE, name="resnet10t")
    for norm in encoder.modules():  # timm begins with residual branches at zero
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(norm.weight)
    sum(each.square().sum() for each in encoder(torch.randn(2, *IMAGE.shape))).backward()
    silent = [n for n, p in encoder.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert silent == []


@pytest.mark.parametrize(
    ("name", "channels", "count"),
    [
        ("xcit_small_12_p16_224", 384, 25_869_600),
        ("levit_256", 512, 17_866_692),
        ("efficientnet_b0", 1280, 4_008_412),
        ("regnety_032", 1512, 17_924_202),
        ("resnet50", 2048, 23_517_440),
        ("legacy_xception", 2048, 20_807_816),
    ],
)
def test_networks_that_iimgf_net_compares_with(name: str, channels: int, count: int) -> None:
    with torch.device("meta"):
        encoder = Timm(STACKED, name=name, features="vector")
    assert encoder.output == FeatureSpec.vector(channels)
    assert sum(p.numel() for p in encoder.parameters()) == count


@pytest.mark.parametrize("side", [32, 48, 64])
@pytest.mark.parametrize("name", ["xcit_nano_12_p16_224", "levit_128s", "test_efficientnet"])
def test_other_sizes(name: str, side: int) -> None:
    modality = Modality("clinic+derm", "image", 6, (side, side))
    encoder = Timm(modality, name=name, features="vector").train()
    torch.manual_seed(0)
    encoder(torch.randn(2, *modality.shape)).square().sum().backward()
    assert next(encoder.parameters()).grad.any()


def test_the_vector_of_xcit_is_its_class_token() -> None:
    torch.manual_seed(0)
    modality = Modality("derm", "image", 3, (32, 32))
    encoder = Timm(modality, name="xcit_nano_12_p16_224", features="vector").eval()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(encoder(x), encoder.net.model.forward_features(x)[:, 0])


def test_the_vector_of_efficientnet_has_its_widest_convolution_behind_it() -> None:
    encoder = Timm(IMAGE, name="test_efficientnet", features="vector").eval()
    assert encoder.output.channels == 256
    assert Timm(IMAGE, name="test_efficientnet").output.channels == 64
    x = torch.randn(1, *IMAGE.shape)
    last = encoder.net.model.forward_features(x)
    torch.testing.assert_close(encoder(x), last.mean(dim=(2, 3)))


def test_the_two_classifiers_of_levit_are_one() -> None:
    torch.manual_seed(0)
    modality = Modality("derm", "image", 3, (64, 64))
    net = timm.create_model("levit_128s", num_classes=5, img_size=(64, 64)).eval()
    encoder = Timm(modality, name="levit_128s", features="vector").eval()
    encoder.load_state_dict(encoder.rename_official(net.state_dict()))
    x = torch.randn(2, 3, 64, 64)
    vector = encoder(x)
    both = [net.head, net.head_dist]
    normed = [(vector - h.bn.running_mean) / (h.bn.running_var + h.bn.eps).sqrt() for h in both]
    torch.testing.assert_close(normed[0], normed[1])
    weight = sum(h.linear.weight * h.bn.weight for h in both) / 2
    bias = sum(h.linear(h.bn.bias) for h in both) / 2
    torch.testing.assert_close(normed[0] @ weight.T + bias, net(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet10t", "test_efficientnet", "xcit_nano_12_p16_224"])
def test_weights_of_three_channels_for_two_images(name: str) -> None:
    torch.manual_seed(0)
    sizes = {"image": (32, 32), "volume": (2, 32, 32)}
    saved = timm.create_model(name).eval()
    alone = Timm(Modality("x", "image", 3, sizes["image"]), name=name).eval()
    alone.load_state_dict(alone.rename_official(saved.state_dict()))
    stacked = Timm(Modality("x+y", "image", 6, sizes["image"]), name=name).eval()
    stacked.load_state_dict(stacked.rename_official(saved.state_dict()))
    grey = Timm(Modality("ct", "volume", 1, sizes["volume"]), name=name).eval()
    grey.load_state_dict(grey.rename_official(saved.state_dict()))
    x = torch.randn(1, 3, 32, 32)
    for ours, theirs in zip(stacked(torch.cat([x, x], dim=1)), alone(x), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
    slices = torch.randn(1, 1, 2, 32, 32)
    first = alone(slices[:, :, 0].expand(1, 3, 32, 32))
    torch.testing.assert_close(grey(slices)[-1][:, :, 0], first[-1], atol=1e-4, rtol=1e-3)


def test_unknown_name() -> None:
    with pytest.raises(UnknownComponent, match=r"no model called 'regnety_32'. Closest: regnety_"):
        Timm(IMAGE, name="regnety_32")


def test_pretrained_is_refused() -> None:
    with pytest.raises(BadOption, match=r"never downloads.*timm\(\.\.\., weights=PATH\)"):
        Timm(IMAGE, name="resnet10t", pretrained=True)


def test_a_size_that_the_network_can_not_take() -> None:
    with pytest.raises(
        BadOption,
        match=r"'crossvit_9_240' can't be built for 'derm' of shape \(2, 64, 96\).*for 240x240",
    ):
        Timm(IMAGE, name="crossvit_9_240")
