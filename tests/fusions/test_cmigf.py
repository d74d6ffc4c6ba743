"""CMIGF against golden outputs of the released code, its equations, and what else it takes."""

import pytest
import torch

from fusionzoo.errors import BadOption, LayoutMismatch, WeightsError
from fusionzoo.fusions.cmigf import CMIGF, Block
from fusionzoo.interface import Context
from fusionzoo.models.assemble import plan
from fusionzoo.models.verify import verify_fusion
from fusionzoo.ops.iimgf_release import refined_mean
from fusionzoo.ops.patch_merging import PatchMerging
from fusionzoo.spec import DataSpec, FeatureSpec, Level, Modality, TaskSpec
from tests import golden_normal

MAPS = FeatureSpec.pyramid((Level(8, (4, 6), (8, 8)), Level(16, (2, 3), (16, 16))))
GIVEN = {"clinic": MAPS, "derm": MAPS}
CONTEXT = Context({})


def num_parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


def random_maps(spec: FeatureSpec) -> list[torch.Tensor]:
    return [torch.randn(2, level.channels, *level.size) for level in spec.levels]


def random_features(spec: FeatureSpec):
    if spec.layout == "tokens":
        return torch.randn(2, spec.num_tokens, spec.channels)
    return random_maps(spec) if spec.layout == "pyramid" else random_maps(spec)[0]


def test_block_golden():
    golden, state = golden_normal.load("cmigf_block"), golden_normal.official_state("cmigf_block")
    block = Block((24, 24), 2)
    block.load_state_dict(block.rename_official(state))
    x, y = (golden["in"][name].requires_grad_() for name in "xy")
    found = block([z.permute(0, 3, 1, 2) for z in (x, y)])
    found = {n: z.permute(0, 2, 3, 1) for n, z in zip("xy", found, strict=True)}
    for name, ours in found.items():
        torch.testing.assert_close(ours, golden["out"][name], atol=2e-5, rtol=1e-4)
    sum((ours * golden["in"][f"dout_{n}"]).sum() for n, ours in found.items()).backward()
    golden_normal.assert_gradients(block, block.rename_official, golden, {"x": x, "y": y})


def test_golden_of_two_blocks():
    """One map of each image: the last level, and so two blocks."""
    golden = golden_normal.load("cmigf_depth2")
    spec = FeatureSpec.map(16, (5, 4), (8, 8))
    fusion = CMIGF({"clinic": spec, "derm": spec})

    def rename(state):
        return fusion.rename_official({f"fusion_block0.{key}": x for key, x in state.items()})

    fusion.load_state_dict(rename(golden_normal.official_state("cmigf_depth2")))
    x, y = (golden["in"][name].requires_grad_() for name in "xy")
    refined = fusion.refine({"clinic": x, "derm": y}, CONTEXT)
    found = {n: z.permute(0, 2, 3, 1) for n, z in zip("xy", refined.values(), strict=True)}
    for name, ours in found.items():
        torch.testing.assert_close(ours, golden["out"][name], atol=2e-5, rtol=1e-4)
    sum((ours * golden["in"][f"dout_{n}"]).sum() for n, ours in found.items()).backward()
    golden_normal.assert_gradients(fusion, rename, golden, {"x": x, "y": y})


def test_published_sizes():
    levels = ((192, 28), (384, 14), (768, 7))
    maps = FeatureSpec.pyramid(tuple(Level(c, (n, n), (224 // n,) * 2) for c, n in levels))
    with torch.device("meta"):
        fusion = CMIGF({"clinic": maps, "derm": maps})
    assert [num_parameters(level) for level in fusion.levels] == [178_560, 670_464, 5_188_608]
    carries = [[num_parameters(merge) for merge in both] for both in fusion.carries]
    assert carries == [[296_448] * 2, [1_182_720] * 2]


def test_a_level_reads_what_the_one_before_gave():
    torch.manual_seed(0)
    fusion = CMIGF(GIVEN).eval()
    x, y = random_maps(MAPS), random_maps(MAPS)
    refined = fusion.refine({"clinic": x, "derm": y}, CONTEXT)
    first = fusion.levels[0][0]([x[0], y[0]])
    carried = [merge(f) for merge, f in zip(fusion.carries[0], first, strict=True)]
    second = [x[1] + carried[0], y[1] + carried[1]]
    for block in fusion.levels[1]:
        second = block(second)
    for index, name in enumerate(GIVEN):
        torch.testing.assert_close(refined[name][0], first[index])
        torch.testing.assert_close(refined[name][1], second[index])
    assert len(fusion.levels[1]) == 2


@pytest.mark.parametrize("bug", [False, True])
def test_joined_it_is_the_mean_of_maps_and_what_was_fused(bug):
    options = {"append_means": True, "official_layout_bug": bug}
    fusion = CMIGF(GIVEN, **options).eval()
    features = {name: random_maps(MAPS) for name in GIVEN}
    refined = fusion.refine(features, CONTEXT)
    joined = fusion.join(features, CONTEXT).features["fused"]
    means = [refined_mean(features[n][-1], refined[n][-1], official_layout_bug=bug) for n in GIVEN]
    fused = [refined[n][-1].mean((2, 3)) for n in GIVEN]
    torch.testing.assert_close(joined, torch.cat([*means, *fused], 1))
    assert fusion.outputs["fused"].channels == joined.shape[1] == 64
    assert CMIGF(GIVEN).outputs["fused"].channels == 32


def test_a_vector_is_spread_over_the_map_and_averaged():
    torch.manual_seed(0)
    block = Block((6, 4), 2, num_states=2)
    x, vector = torch.randn(2, 6, 3, 5), torch.randn(2, 4, 1, 1)
    found = block([x, vector])
    wide = [block.enter[0](x.movedim(1, -1)).movedim(-1, 1)]
    wide.append(block.enter[1](vector[..., 0, 0])[:, :, None, None].expand(2, 6, 3, 5))
    u, v = (torch.nn.functional.silu(block.conv(z)).flatten(2) for z in wide)
    scanned_u, scanned_v = block.scans(u, v)
    expected = x + block.leave[0](scanned_u).mT.reshape(x.shape)
    torch.testing.assert_close(found[0], expected)
    expected = vector[..., 0, 0] + block.leave[1](scanned_v.mean(1))
    torch.testing.assert_close(found[1][..., 0, 0], expected)


def test_volumes_have_a_convolution_along_three_axes():
    torch.manual_seed(0)
    block = Block((4, 4), 3, num_states=2)
    x, y = torch.randn(2, 2, 4, 3, 4, 5)
    maps = [block.enter[i](z.movedim(1, -1)).movedim(-1, 1) for i, z in enumerate((x, y))]
    u, v = (torch.nn.functional.silu(block.conv(z)).flatten(2) for z in maps)
    scanned, _ = block.scans(u, v)
    torch.testing.assert_close(block([x, y])[0], x + block.leave[0](scanned).mT.reshape(x.shape))


def test_sizes_that_do_not_halve_are_filled_up_with_zeros():
    odd = FeatureSpec.pyramid((Level(4, (3, 5), (1, 1)), Level(6, (2, 5), (2, 1))))
    fusion = CMIGF({"a": odd, "b": odd}, num_states=2).eval()
    merge = fusion.carries[0][0]
    assert isinstance(merge, PatchMerging)
    assert (merge.cell, merge.norm.normalized_shape) == ((2, 1), (8,))
    features = {name: random_maps(odd) for name in "ab"}
    refined = fusion.refine(features, CONTEXT)
    assert [tuple(x.shape[1:]) for x in refined["a"]] == [(4, 3, 5), (6, 2, 5)]
    first = fusion.levels[0][0]([maps[0] for maps in features.values()])
    carried = [
        merge(torch.nn.functional.pad(f, (0, 0, 0, 1)))
        for merge, f in zip(fusion.carries[0], first, strict=True)
    ]
    maps = [maps[1] + f for maps, f in zip(features.values(), carried, strict=True)]
    for block in fusion.levels[1]:
        maps = block(maps)
    torch.testing.assert_close(refined["a"][1], maps[0])


def test_other_sizes_than_those_it_was_built_for():
    fusion = CMIGF(GIVEN).eval()
    larger = {n: [torch.randn(1, 8, 6, 10), torch.randn(1, 16, 3, 5)] for n in GIVEN}
    refined = fusion.refine(larger, CONTEXT)
    assert [x.shape for x in refined["derm"]] == [x.shape for x in larger["derm"]]


def test_without_exchange_nothing_meets():
    fusion = CMIGF(GIVEN, exchange=False).eval()
    x, y, z = (random_maps(MAPS) for _ in range(3))
    with_y = fusion.refine({"clinic": x, "derm": y}, CONTEXT)["clinic"]
    with_z = fusion.refine({"clinic": x, "derm": z}, CONTEXT)["clinic"]
    for ours, theirs in zip(with_y, with_z, strict=True):
        assert torch.equal(ours, theirs)


def test_drop_path_leaves_a_case_as_it_was():
    torch.manual_seed(0)
    block = Block((4, 4), 2, drop_path=0.999999).train()
    x, y = torch.randn(2, 3, 4, 5, 5)
    assert torch.equal(block([x, y])[0], x)
    assert not torch.equal(block.eval()([x, y])[0], x)


FINE = FeatureSpec.pyramid((Level(4, (9, 9), (2, 2)), *MAPS.levels))
VOLUME = FeatureSpec.pyramid((Level(4, (4, 6, 6), (2,) * 3), Level(6, (2, 3, 3), (4,) * 3)))
OTHERS = {
    "another picture": FeatureSpec.pyramid((Level(4, (7, 5), (4, 4)), Level(8, (4, 3), (8, 8)))),
    "one map": FeatureSpec.map(5, (3, 3), (8, 8)),
    "a volume": VOLUME,
    "tokens": FeatureSpec.tokens(6, 12),
    "a vector": FeatureSpec.vector(7),
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_it_takes(other, turned):
    """Its refined features and its output have the shapes that it declares; all weights learn."""
    given = {"one": MAPS, "two": other}
    given = dict(reversed(given.items())) if turned else given
    with torch.device("meta"):
        declared = CMIGF(given, num_states=2)
    for last in (False, True):
        verify_fusion(declared, given, {}, "CMIGF", last=last)
    fusion = CMIGF(given, num_states=2)
    features = {name: random_features(spec) for name, spec in given.items()}
    fusion.join(features, CONTEXT).features["fused"].square().sum().backward()
    silent = [n for n, p in fusion.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_pyramids_are_cut_to_as_many_levels():
    needs = CMIGF.needs({"a": FINE, "b": MAPS}, depths=None)
    assert [need.num_levels for need in needs.values()] == [2, 2]
    needs = CMIGF.needs({"a": FINE, "b": FINE}, depths=(2,))
    assert [need.num_levels for need in needs.values()] == [1, 1]


DATA = DataSpec(
    "toy",
    (*(Modality(n, "image", 3, (32, 32)) for n in ("clinic", "derm")), Modality("t", "table", 5)),
    (TaskSpec("dx", ("no", "yes")),),
)
SHARED = "clinic=derm=vmamba(channels=8, depths=(1, 1, 1, 1), num_stages=2)"


def test_in_a_chain_of_a_model():
    stages = plan(f"{SHARED} -> cmigf+cmigf+mgc -> linear", DATA).stages
    assert [stage.part for stage in stages[-4:-1]] == ["cmigf", "cmigf", "mgc"]


@pytest.mark.parametrize(
    ("spec", "error", "told"),
    [
        (f"{SHARED} -> cmigf(depths=(1, 0)) -> linear", BadOption, "positive number"),
        (
            f"{SHARED}, t=mlp -> cmigf -> linear",
            LayoutMismatch,
            "'cmigf' joins exactly 2 modalities; the spec has 3",
        ),
        (
            "clinic=timm(resnet10t), t=mlp -> cmigf(official_layout_bug=True) -> linear",
            BadOption,
            "two axes alone; given clinic: pyramid of 5 maps",
        ),
        (
            f"{SHARED} -> cmigf(scan_backend=cdua) -> linear",
            BadOption,
            "no selective-scan backend 'cdua'",
        ),
    ],
)
def test_refusals(spec, error, told):
    with pytest.raises(error) as raised:
        plan(spec, DATA)
    assert told in str(raised.value)


def test_released_weights_know_their_order():
    with pytest.raises(WeightsError, match="Write 'clinic=derm="):
        CMIGF({"derm": MAPS, "clinic": MAPS}).rename_official({})
