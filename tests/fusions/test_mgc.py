"""MGC against golden outputs of the released code, its equations and options, and what it takes."""

import numpy as np
import pytest
import torch

from fusionzoo.errors import BadOption, LayoutMismatch, WeightsError
from fusionzoo.fusions.mgc import MGC
from fusionzoo.interface import Context
from fusionzoo.models.verify import verify_fusion
from fusionzoo.ops.iimgf_release import refined_mean
from fusionzoo.spec import FeatureSpec, Level
from tests import golden_normal

SIZES = [(8, 8), (4, 4), (2, 2)]
MAPS = FeatureSpec.pyramid(
    tuple(Level(c, s, (64 // s[0],) * 2) for c, s in zip((16, 32, 64), SIZES, strict=True))
)
GIVEN = {"clinic": MAPS, "derm": MAPS}
CONTEXT = Context({})


def num_parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


def random_features(spec: FeatureSpec):
    if spec.layout == "tokens":
        return torch.randn(2, spec.num_tokens, spec.channels)
    maps = [torch.randn(2, level.channels, *level.size) for level in spec.levels]
    return maps if spec.layout == "pyramid" else maps[0]


def released(**options) -> MGC:
    fusion = MGC(GIVEN, **options)
    fusion.load_state_dict(fusion.rename_official(golden_normal.official_state("mgc")))
    return fusion.eval()


@pytest.mark.parametrize("both_streams", [False, True])
def test_golden(both_streams):
    golden, fusion = golden_normal.load("mgc"), released(both_streams=both_streams)
    joined = [golden["in"][f"Z{level}"] for level in (1, 2, 3)]
    informed = fusion.coarse_to_fine(joined, SIZES)
    given_back = fusion.fine_to_coarse(informed, SIZES)
    found = {
        "aligned_Z2": fusion.upsampled(0, joined[1], SIZES),
        "aligned_Z3": fusion.upsampled(1, joined[2], SIZES),
        "K1": informed[0],
        "K2": informed[1],
        "shrunk_K1": fusion.downsampled(0, informed[0], SIZES),
        "R2": given_back[1],
        "shrunk_R2": fusion.downsampled(1, given_back[1], SIZES),
        "R3": given_back[2],
    }
    maps = [
        torch.stack(z.unflatten(2, size).chunk(2, dim=1))
        for z, size in zip(joined, SIZES, strict=True)
    ]
    features = {name: [both[i] for both in maps] for i, name in enumerate(GIVEN)}
    found["pooled"] = fusion.join(features, CONTEXT).features["fused"][:, 128:]
    assert set(found) == set(golden["out"])
    for name, ours in found.items():
        torch.testing.assert_close(ours, golden["out"][name], atol=2e-5, rtol=1e-4)


def published(**options) -> MGC:
    levels = ((192, 28), (384, 14), (768, 7))
    maps = FeatureSpec.pyramid(tuple(Level(c, (n, n), (224 // n,) * 2) for c, n in levels))
    with torch.device("meta"):
        return MGC({"clinic": maps, "derm": maps}, **options)


def test_published_sizes():
    fusion = published(both_streams=True)
    up, down = (fusion.ups, fusion.narrow), (fusion.widen,)
    assert sum(map(num_parameters, up)) == 1_639_960
    assert num_parameters(fusion.to_fine) == 221_184
    assert sum(map(num_parameters, down)) == 1_476_864
    assert num_parameters(fusion.to_coarse) == 811_008


def test_one_stream_of_each_pair_is_what_is_read():
    """Half of each pair, short of what C needs of the other sequence, is not built."""
    both, one = published(both_streams=True), published()
    assert num_parameters(both) == 4_149_016
    assert num_parameters(one) == 3_632_920
    golden = {**golden_normal.official_state("mgc")}
    unread = ("A_log_2", "D_2", "dt_proj_2.weight", "dt_proj_2.bias", "out_norm_2.weight")
    changed = {k: x + 1 if k.endswith(unread) else x for k, x in golden.items()}
    fusion = MGC(GIVEN)
    ours, theirs = fusion.rename_official(golden), fusion.rename_official(changed)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_second_streams_get_no_gradient():
    fusion = released(both_streams=True)
    features = {name: random_features(MAPS) for name in GIVEN}
    fusion.join(features, CONTEXT).features["fused"].square().sum().backward()
    silent = {n for n, p in fusion.named_parameters() if p.grad is None}
    assert silent == {n for n, _ in fusion.named_parameters() if ".second." in n}


def test_the_last_maps_and_what_was_fused_into_them():
    fusion = released()
    before, refined = ({n: random_features(MAPS) for n in GIVEN} for _ in range(2))
    context = Context({}, unrefined=before)
    found = fusion.join(refined, context).features["fused"]
    for index, name in enumerate(GIVEN):
        expected = refined_mean(before[name][-1], refined[name][-1])
        torch.testing.assert_close(found[:, 64 * index : 64 * (index + 1)], expected)
    alone = fusion.join(refined, CONTEXT).features["fused"]
    torch.testing.assert_close(alone[:, :64], refined["clinic"][-1].mean((2, 3)))
    torch.testing.assert_close(alone[:, 128:], found[:, 128:])
    buggy = released(official_layout_bug=True).join(refined, context).features["fused"]
    expected = refined_mean(before["derm"][-1], refined["derm"][-1], official_layout_bug=True)
    torch.testing.assert_close(buggy[:, 64:128], expected)
    torch.testing.assert_close(buggy[:, 128:], found[:, 128:])


def test_equation_without_scans():
    """With scans that add their arguments, the two ways through the levels in NumPy."""
    fusion = MGC(GIVEN, pool="cells").eval()

    class Add(torch.nn.Module):
        def forward(self, own, other):
            return (own + other).mT

    for scans in (fusion.to_fine, fusion.to_coarse):
        for level in range(2):
            scans[level] = Add()
    features = {name: random_features(MAPS) for name in GIVEN}
    found = fusion.join(features, CONTEXT).features["fused"][:, 128:].detach().numpy()
    p = {name: tensor.numpy() for name, tensor in fusion.state_dict().items()}

    def linear(name, level, x, axis):
        mapped = np.moveaxis(x, axis, -1) @ p[f"{name}.{level}.weight"].T
        return np.moveaxis(mapped + p[f"{name}.{level}.bias"], -1, axis)

    z = [np.concatenate([features[n][i].flatten(2).numpy() for n in GIVEN], 1) for i in range(3)]
    relu = lambda x: np.maximum(x, 0)  # noqa: E731
    up = [linear("narrow", i, relu(linear("ups", i, z[i + 1], 2)), 1) for i in range(2)]
    k = [z[0] + relu(up[0]), z[1] + up[1], z[2]]

    def pooled(x, side):
        return x.reshape(2, -1, side, 2, side, 2).max((3, 5)).reshape(2, -1, side * side)

    r = k[1] + k[1] + relu(linear("widen", 0, pooled(k[0], 4), 1))
    r = k[2] + k[2] + linear("widen", 1, pooled(r, 2), 1)
    np.testing.assert_allclose(found, r.mean(2), rtol=1e-4, atol=1e-5)


def test_options_of_paper_and_code():
    features = {name: random_features(MAPS) for name in GIVEN}
    plain = released().join(features, CONTEXT).features["fused"][:, 128:]
    for option in ({"relu": False}, {"residual": False}, {"pool": "cells"}, {"exchange": False}):
        other = released(**option).join(features, CONTEXT).features["fused"][:, 128:]
        assert not torch.allclose(other, plain, atol=1e-3), option


def test_maxima_over_runs_and_over_cells():
    x = torch.arange(16.0).reshape(1, 1, 16)
    x[0, 0, 3] = 99  # the end of the first row: a run of its own, and in the upper right cell
    sizes = [(4, 4), (2, 2), (1, 1)]
    given = {
        "a": FeatureSpec.pyramid((Level(1, (4, 4), (1, 1)), Level(1, (2, 2), (2, 2)))),
    }
    found = {}
    for pool in ("raster", "cells"):
        fusion = MGC(given, pool=pool)
        torch.nn.init.ones_(fusion.widen[0].weight)
        torch.nn.init.zeros_(fusion.widen[0].bias)
        found[pool] = fusion.downsampled(0, x, sizes).flatten().tolist()
    assert found == {"raster": [99, 7, 11, 15], "cells": [5, 99, 13, 15]}


def test_maps_of_another_size():
    larger = {n: [torch.randn(1, c, s, s) for c, s in ((16, 12), (32, 6), (64, 3))] for n in GIVEN}
    with pytest.raises(LayoutMismatch) as raised:
        MGC(GIVEN).join(larger, CONTEXT)
    assert str(raised.value).startswith(
        "MGC was built for maps of 8x8 and 4x4 and is given 12x12 and 6x6."
    )
    assert "mgc(upsample=interpolate)" in str(raised.value)
    free = MGC(GIVEN, upsample="interpolate", pool="cells")
    assert len(free.ups) == 0
    assert free.join(larger, CONTEXT).features["fused"].shape == (1, 256)


PICTURE = FeatureSpec.pyramid((Level(4, (7, 5), (4, 4)), Level(8, (4, 3), (8, 8))))
VOLUME = FeatureSpec.pyramid((Level(4, (4, 6, 6), (2,) * 3), Level(6, (2, 3, 3), (4,) * 3)))
TABLE, WORDS, SPOT = (
    FeatureSpec.vector(7),
    FeatureSpec.tokens(6, 12),
    FeatureSpec.map(5, (3,), (8,)),
)
TAKEN = {
    "two pictures": (PICTURE, PICTURE),
    "one picture": (PICTURE,),
    "two volumes": (VOLUME, VOLUME),
    "a volume and a picture": (VOLUME, PICTURE),
    "a picture and a table": (PICTURE, TABLE),
    "two pictures and a table": (PICTURE, PICTURE, TABLE),
    "tokens and a map": (WORDS, SPOT),
    "two tables": (TABLE, TABLE),
}


@pytest.mark.parametrize("options", [{}, {"upsample": "interpolate", "pool": "cells"}])
@pytest.mark.parametrize("specs", TAKEN.values(), ids=TAKEN)
def test_what_it_takes(specs, options):
    """Its output has the shape that it declares; a gradient reaches all weights and modalities."""
    given = {f"m{i}": spec for i, spec in enumerate(specs)}
    with torch.device("meta"):
        verify_fusion(MGC(given, **options), given, {}, "MGC", last=True)
    fusion = MGC(given, relu=False, **options)
    features = {name: random_features(spec) for name, spec in given.items()}
    leaves = [x for f in features.values() for x in (f if isinstance(f, list) else [f])]
    for leaf in leaves:
        leaf.requires_grad_()
    fusion.join(features, CONTEXT).features["fused"].square().sum().backward()
    silent = [n for n, p in fusion.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert all(leaf.grad is not None and leaf.grad.any() for leaf in leaves)


def test_one_level_is_the_means():
    fusion = MGC({"a": SPOT, "b": TABLE})
    features = {"a": torch.randn(2, 5, 3), "b": torch.randn(2, 7)}
    means = torch.cat([features["a"].mean(2), features["b"]], 1)
    found = fusion.join(features, CONTEXT).features["fused"]
    torch.testing.assert_close(found, torch.cat([means, means], 1))
    assert num_parameters(fusion) == 0


def test_fusions_before_it_keep_shapes():
    given = dict.fromkeys("ab", SPOT)
    before = {name: random_features(SPOT) for name in given}
    refined = {name: torch.randn(2, 5, 4) for name in given}
    with pytest.raises(LayoutMismatch, match=r"made \(5, 4\) of \(5, 3\)\. Use ones that keep"):
        MGC(given).join(refined, Context({}, unrefined=before))


def test_refusals():
    with pytest.raises(BadOption, match=r"two axes alone; given a: vector of 7 channels"):
        MGC({"a": TABLE, "b": PICTURE}, official_layout_bug=True)
    with pytest.raises(BadOption, match="no selective-scan backend 'cdua'"):
        MGC(GIVEN, scan_backend="cdua")
    with pytest.raises(WeightsError, match="Write 'clinic=derm="):
        MGC({"derm": MAPS, "clinic": MAPS}).rename_official({})
