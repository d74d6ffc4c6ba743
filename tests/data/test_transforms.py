import numpy as np
import pytest
import torch

from fusionzoo.data.transforms import (
    GOLDEN_GAMMA,
    PRESETS,
    Augmentation,
    _mix,
    augment,
    case_keys,
    default_augmentations,
    uniform,
)
from fusionzoo.errors import BadOption
from fusionzoo.spec import Modality

INDEX = np.arange(64)


def keys(seed=0, epoch=0, index=INDEX, copy=0):
    return case_keys(seed, epoch, index, copy)


def volumes(count=64, size=(4, 4, 4)):
    cells = int(np.prod(size))
    one = torch.arange(cells, dtype=torch.float32).view(1, *size)
    return one + cells * torch.arange(count, dtype=torch.float32).view(-1, 1, *(1,) * len(size))


def test_the_mixer_is_splitmix64():
    # The first outputs of SplitMix64 from state 0.
    states = np.arange(1, 4, dtype=np.uint64) * GOLDEN_GAMMA
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert _mix(states).tolist() == expected


def test_uniform_numbers_are_uniform_and_uncorrelated():
    draws = uniform(keys(index=np.arange(20000)), 3)
    assert draws.shape == (20000, 3)
    assert draws.min() >= 0
    assert draws.max() < 1
    np.testing.assert_allclose(draws.mean(axis=0), 0.5, atol=0.01)
    np.testing.assert_allclose(draws.var(axis=0), 1 / 12, atol=0.002)
    assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.03
    assert np.abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.03


def test_keys_differ_in_every_part():
    some = [
        keys(),
        keys(seed=1),
        keys(epoch=1),
        keys(copy=1),
        keys(index=INDEX + 64),
        keys(seed=-1),
    ]
    assert len(np.unique(np.concatenate(some))) == 6 * 64
    assert (uniform(keys(), 1, "a") != uniform(keys(), 1, "b")).all()


@pytest.mark.parametrize(
    "augmentation",
    [
        *PRESETS.values(),
        Augmentation(noise=0.5),
        Augmentation(flips=True),
        Augmentation(max_shift=1),
    ],
)
@pytest.mark.parametrize("size", [(4, 6, 6), (6, 6), (4, 6), (2, 4, 6)])
def test_a_case_is_changed_the_same_way_in_any_batch(augmentation, size):
    channels = 3 if len(size) == 2 else 1
    x = volumes(size=size).expand(-1, channels, *size).clone()
    whole = augment(x, augmentation, keys())
    chosen = np.array([5, 17, 3])
    part = augment(x[chosen], augmentation, keys(index=chosen))
    assert whole.shape == x.shape
    assert whole.dtype == x.dtype
    torch.testing.assert_close(part, whole[chosen], rtol=0, atol=0)


def test_none_changes_nothing_and_no_preset_changes_its_input():
    x = volumes()
    assert augment(x, PRESETS["none"], keys()) is x
    augment(x, PRESETS["volume"], keys())
    torch.testing.assert_close(x, volumes())


def test_flips_reach_all_eight_mirror_images_of_a_volume():
    x = volumes(1).expand(64, 1, 4, 4, 4)
    seen = augment(x, Augmentation(flips=True), keys())
    wanted = [x[0].flip(dims) for dims in ((), (1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3))]
    counts = [sum(torch.equal(case, image) for case in seen) for image in wanted]
    assert sum(counts) == 64
    assert min(counts) > 0


@pytest.mark.parametrize(("size", "turns"), [((3, 3), (0, 1, 2, 3)), ((2, 3), (0, 2))])
def test_rotations_are_quarter_turns_in_the_plane_of_the_last_axes(size, turns):
    x = volumes(1, size).expand(64, 1, *size)
    seen = augment(x, Augmentation(rotations=True), keys())
    counts = [sum(torch.equal(case, x[0].rot90(k, (1, 2))) for case in seen) for k in turns]
    assert sum(counts) == 64
    assert min(counts) > 0


def test_shifts_move_by_whole_voxels_and_repeat_the_border():
    x = torch.arange(5.0).expand(64, 1, 5, 5)
    seen = augment(x, Augmentation(max_shift=2), keys())
    wanted = [torch.arange(5.0).add(k).clamp(0, 4).expand(1, 5, 5) for k in (-2, -1, 0, 1, 2)]
    counts = [sum(torch.equal(case, image) for case in seen) for image in wanted]
    assert sum(counts) == 64
    assert min(counts) > 0


def test_geometry_is_shared_by_modalities_and_intensity_is_not():
    x = volumes()
    flips = Augmentation(flips=True, rotations=True, max_shift=1)
    assert torch.equal(
        augment(x, flips, keys(), modality="ct"), augment(x, flips, keys(), modality="pet")
    )
    scale = Augmentation(intensity=0.1)
    ct, pet = (augment(x + 1, scale, keys(), modality=name) for name in ("ct", "pet"))
    assert not torch.isclose(ct, pet).flatten(1).all(dim=1).any()


def test_intensity_stays_in_its_range():
    seen = augment(torch.ones(64, 1, 2, 2, 2), Augmentation(intensity=0.2), keys())
    assert 0.8 <= seen.min() < 0.85
    assert 1.15 < seen.max() <= 1.2
    assert torch.equal(seen, seen[:, :, :1, :1, :1].expand_as(seen))


def test_noise_has_its_deviation():
    seen = augment(torch.zeros(64, 1, 8, 8, 8), Augmentation(noise=0.5), keys())
    assert abs(seen.mean()) < 0.01
    assert abs(seen.std() - 0.5) < 0.01


def test_colour_keeps_what_it_stretches_around():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(64, 3, 4, 4, generator=generator)
    stretched = augment(x, Augmentation(contrast=0.5), keys())
    torch.testing.assert_close(stretched.mean(dim=(1, 2, 3)), x.mean(dim=(1, 2, 3)))
    coloured = augment(x, Augmentation(saturation=0.5), keys())
    torch.testing.assert_close(coloured.mean(dim=1), x.mean(dim=1))
    brighter = augment(x, Augmentation(brightness=0.5), keys()) - x
    torch.testing.assert_close(brighter, brighter[:, :1, :1, :1].expand_as(x))
    for changed in (stretched, coloured, brighter):
        assert not torch.allclose(changed, x)


def test_the_preset_of_each_kind():
    ct, derm = Modality("ct", "volume", 1, (2, 2, 2)), Modality("derm", "image", 3, (4, 4))
    table = Modality("table", "table", 3)
    assert default_augmentations((ct, derm, table)) == {
        "ct": PRESETS["volume"],
        "derm": PRESETS["image"],
    }
    assert default_augmentations((ct,), "none") == {"ct": Augmentation()}
    with pytest.raises(BadOption, match=r"no augmentation 'strong'. Use one of: auto, none"):
        default_augmentations((ct,), "strong")
