"""VMamba against golden outputs of the released code, its published sizes, its official names."""

import pytest
import torch
from torch import nn

from fusionzoo.encoders.vmamba import Stage, VMamba, VMambaSummary, VSSBlock, patch_embedding
from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.models.weights import load_component
from fusionzoo.spec import FeatureSpec, Modality
from tests import golden_normal, golden_rule

DERM = Modality("derm", "image", 3, (64, 64))
#: The smallest network that has every part.
SMALL = {"channels": 16, "depths": (1, 1, 2, 1)}
PHOTO = Modality("derm", "image", 3, (224, 224))


def released(encoder: VMamba, summary: VMambaSummary) -> dict[str, torch.Tensor]:
    """A state dict with the release's names, filled by the golden rule."""
    shapes = {
        name.replace("embed.", "patch_embed.", 1).replace("levels.", "layers.", 1): tensor.shape
        for name, tensor in encoder.state_dict().items()
    }
    norm = {f"classifier.norm.{n}": p.shape for n, p in summary.norm.named_parameters()}
    head = {"classifier.head.weight": (10, 128), "classifier.head.bias": (10,)}
    return {
        name: golden_normal.fill(name, tuple(shape))
        for name, shape in {**shapes, **norm, **head}.items()
    }


def num_parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_patch_embedding_golden():
    golden_normal.assert_golden(golden_normal.fill_module(patch_embedding(3, 32)), "patch_embed_v2")


def test_block_golden():
    golden_normal.assert_golden(golden_normal.fill_module(VSSBlock(16, 0.1)), "vss_block")


def test_stage_golden():
    stage = Stage(16, [VSSBlock(16), VSSBlock(16)], downsample=True)
    golden_normal.assert_golden(golden_normal.fill_module(stage), "vss_stage")


@pytest.mark.parametrize("scan_backend", ["torch", "auto"])
def test_official_weights_give_the_official_maps_and_logits(tmp_path, scan_backend):
    golden = golden_normal.load("vssm_small")
    encoder = VMamba(DERM, scan_backend=scan_backend, **SMALL).eval()
    summary = encoder.summary()
    weights = released(encoder, summary)
    path = tmp_path / "vssm.pth"
    torch.save({"model": weights, "epoch": 264}, path)
    load_component(encoder, path, what="the encoder", summary=summary)
    x = golden["in"]["x"]
    with torch.no_grad():
        embedded, maps = encoder.stem(x), encoder(x)
        logits = nn.functional.linear(
            summary(maps), weights["classifier.head.weight"], weights["classifier.head.bias"]
        )
    expected = golden["out"]
    pairs = [(embedded, expected["patch_embed"]), (logits, expected["logits"])]
    pairs += [(x, expected[f"layer{level}"]) for level, x in enumerate(maps)]
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_official_names_and_published_size():
    shapes = golden_rule.shapes("vmamba_tiny_s1l8")
    with torch.device("meta"):
        encoder = VMamba(PHOTO)
        summary, head = encoder.summary(), nn.Linear(768, 1000)
        official = {name: torch.empty(shape) for name, shape in shapes.items()}
    renamed = encoder.rename_official(official)
    assert {n: t.shape for n, t in renamed.items()} == {
        n: t.shape for n, t in encoder.state_dict().items()
    }
    assert set(summary.rename_official(official)) == set(summary.state_dict())
    assert num_parameters(encoder.embed) == 43_200
    assert [num_parameters(level) for level in encoder.levels] == [
        367_680,
        1_454_208,
        15_165_696,
        12_447_744,
    ]
    assert num_parameters(encoder, summary, head) == 30_249_064


@pytest.mark.parametrize(("size", "millions"), [("small", 49), ("base", 87)])
def test_larger_ones_have_their_published_sizes(size, millions):
    with torch.device("meta"):
        encoder = VMamba(PHOTO, size=size)
        head = nn.Linear(encoder.output.channels, 1000)
    assert round(num_parameters(encoder, encoder.summary(), head) / 1e6) == millions


def test_older_names_and_convolutions_for_linears_load():
    encoder = VMamba(DERM, num_stages=2, **SMALL)
    new = released(VMamba(DERM, **SMALL), encoder.summary())
    old = {
        name.replace(".norm.", ".ln_1.", 1).replace(".op.", ".self_attention.")
        if name.startswith("layers.") and ".blocks." in name and ".op." not in name
        else name.replace(".op.", ".self_attention."): tensor[:, :, None, None]
        if name.endswith(("proj.weight", "fc1.weight", "fc2.weight"))
        else tensor
        for name, tensor in new.items()
    }
    assert set(old) != set(new)
    encoder.load_state_dict(encoder.rename_official(old))
    assert torch.equal(
        encoder.levels[1].blocks[0].mlp.fc1.weight, new["layers.1.blocks.0.mlp.fc1.weight"]
    )


def test_the_encoder_of_a_released_iimgf_net_loads():
    encoder = VMamba(DERM, num_stages=3, position_embedding=True, **SMALL)
    state = released(VMamba(DERM, **SMALL), encoder.summary())
    position = torch.randn(1, 16, 16, 16)
    whole = {f"mamba.{name}": tensor for name, tensor in state.items()}
    whole |= {"pos_embed": position, "fc_DIAG.weight": torch.zeros(5, 4)}
    encoder.load_state_dict(encoder.rename_official(whole))
    assert torch.equal(encoder.position, position)


def test_a_position_embedding_that_the_weights_lack_stays():
    encoder = VMamba(DERM, position_embedding=True, **SMALL)
    renamed = encoder.rename_official(released(VMamba(DERM, **SMALL), encoder.summary()))
    assert torch.equal(renamed["position"], encoder.position)
    x = torch.randn(1, 3, 64, 64)
    difference = encoder.stem(x) - encoder.embed(x)
    torch.testing.assert_close(difference, encoder.position, atol=1e-6, rtol=0)


def test_foreign_weights_are_refused():
    encoder = VMamba(DERM, num_stages=1, **SMALL)
    with pytest.raises(
        WeightsError, match=r"no VMamba's: 2 of 3 names are unknown, 'layer1\.weight' first"
    ):
        encoder.rename_official(
            {
                name: torch.zeros(1)
                for name in ("layer1.weight", "layers.3.x", "layers.0.blocks.0.odd")
            }
        )


@pytest.mark.parametrize("size", [(64, 64), (50, 70), (224, 224)])
@pytest.mark.parametrize("num_stages", [1, 3, 4])
def test_stages_declare_the_shapes_they_give(size, num_stages):
    with torch.device("meta"):
        encoder = VMamba(Modality("derm", "image", 3, size), num_stages=num_stages, **SMALL)
        maps = encoder(torch.empty(2, 3, *size))
    maps = maps if isinstance(maps, list) else [maps]
    assert [tuple(x.shape[1:]) for x in maps] == [
        (level.channels, *level.size) for level in encoder.output.levels
    ]


def test_what_iimgf_net_reads():
    with torch.device("meta"):
        encoder = VMamba(PHOTO, num_stages=3)
    assert str(encoder.output) == "pyramid of 3 maps (192x28x28, 384x14x14, 768x7x7)"
    assert VMambaSummary(encoder.output).output == FeatureSpec.vector(768)


def test_gradient_reaches_every_parameter():
    encoder = VMamba(DERM, position_embedding=True, drop_path=0.0, **SMALL)
    maps = encoder(torch.randn(2, 3, 64, 64))
    (encoder.summary()(maps).square().sum() + sum(x.square().sum() for x in maps)).backward()
    assert [name for name, p in encoder.named_parameters() if not p.grad.any()] == []


def test_drop_path_rises_to_the_last_block():
    with torch.device("meta"):
        encoder = VMamba(PHOTO)
    drops = [block.drop_path.drop_prob for level in encoder.levels for block in level.blocks]
    assert drops == pytest.approx([0.2 * i / 13 for i in range(14)])


def test_says_what_its_scans_run_on():
    assert VMamba(DERM, scan_backend="torch", **SMALL).backend == "torch"
    encoder = VMamba(DERM, **SMALL)
    told = [getattr(part, "backend", None) for part in encoder.modules()]
    assert [backend for backend in told if backend] in (["cpu"], ["torch"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_stages": 5}, "1 to 4 stages, not num_stages=5"),
        ({"scan_backend": "cdua"}, "no selective-scan backend 'cdua'"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(BadOption, match=text):
        VMamba(DERM, **options)
