import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from fusionzoo.data.transforms import (
    CHOICES,
    GOLDEN_GAMMA,
    PRESETS,
    Affine,
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
CLINIC, DERM = Modality("clinic", "image", 3, (8, 8)), Modality("derm", "image", 3, (8, 8))


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
        default_augmentations((CLINIC,), "iimgf_net")["clinic"],
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
    with pytest.raises(BadOption, match=r"no augmentation 'strong'. Use one of: auto, none, iimgf"):
        default_augmentations((ct,), "strong")
    for preset in CHOICES[2:]:
        assert default_augmentations((ct, table), preset) == {"ct": PRESETS["volume"]}


def smooth(size=(12, 9), count=64):
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.random((count, 2, *size)).astype(np.float32))


@pytest.mark.parametrize(("interpolation", "order"), [("bilinear", 1), ("nearest", 0)])
def test_an_affine_map_is_scipy_s_with_mirrored_borders(interpolation, order):
    affine = Affine(move=0.2, zoom=0.5, turn=45.0, interpolation=interpolation)
    x = smooth()
    found = augment(x, Augmentation(affine=affine), keys()).numpy()
    down, right, zoom, turn = uniform(keys(), 4, "affine").T * 2 - 1
    angle, zoom = np.deg2rad(45 * turn), 1 + 0.5 * zoom
    centre = (np.array(x.shape[2:]) - 1) / 2
    agree = []
    for case in range(64):
        cos, sin = np.cos(angle[case]) / zoom[case], np.sin(angle[case]) / zoom[case]
        back = np.array([[cos, -sin], [sin, cos]])  # rows, columns
        move = 0.2 * np.array([down[case] * 12, right[case] * 9])
        offset = centre - back @ (centre + move)
        for channel in range(2):
            expected = affine_transform(
                x[case, channel].numpy(), back, offset, order=order, mode="mirror"
            )
            agree.append(np.abs(found[case, channel] - expected) < 1e-4)
    # Nearest pixels may differ where a place is half way between two.
    assert np.mean(agree) == 1 if order else np.mean(agree) > 0.995


def test_an_affine_map_by_nearest_pixel_makes_no_new_value():
    x = smooth()
    nearest = Affine(move=0.1, zoom=0.8, turn=45.0, interpolation="nearest")
    found = augment(x, Augmentation(affine=nearest), keys())
    assert set(found[0, 0].flatten().tolist()) <= set(x[0, 0].flatten().tolist())
    assert not torch.equal(found, x)


def test_an_affine_map_leaves_volumes():
    x = volumes()
    assert augment(x, Augmentation(affine=Affine(turn=45.0)), keys()) is x


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(chance=0.25, max_shift=1, intensity=0.5),
        Augmentation(affine=Affine(move=0.3, chance=0.25)),
        Augmentation(intensity=0.5, values_chance=0.25),
    ],
)
def test_a_chance_leaves_the_other_cases_as_they_are(augmentation):
    x = smooth(count=800)
    found = augment(x, augmentation, keys(index=np.arange(800)))
    same = (found == x).flatten(1).all(dim=1)
    assert 0.7 < same.double().mean() < 0.8


def test_a_chance_of_a_turn():
    x = torch.arange(9.0).view(3, 3).expand(800, 1, 3, 3)
    turned = Augmentation(rotations=True, rotations_chance=0.5)
    found = augment(x, turned, keys(index=np.arange(800)))
    shares = [sum(torch.equal(c, x[0].rot90(k, (1, 2))) for c in found) / 800 for k in range(4)]
    np.testing.assert_allclose(shares, [0.625, 0.125, 0.125, 0.125], atol=0.05)


def pair(preset, count=400):
    """Both images of cases whose second image is the first one, augmented."""
    x = smooth((8, 8), count)
    chosen = default_augmentations((CLINIC, DERM), preset)
    return x, *(augment(x, chosen[n], keys(index=np.arange(count)), modality=n) for n in chosen)


def test_the_released_chain_treats_the_second_image_as_a_mask():
    x, clinic, derm = pair("iimgf_net_official")
    untouched = (derm == x).flatten(1).all(dim=1)
    assert 0.5 < untouched.double().mean() < 0.7
    assert (clinic == x).flatten(1).all(dim=1)[~untouched].sum() == 0
    for case in range(0, 400, 9):
        assert set(derm[case, 0].flatten().tolist()) <= set(x[case, 0].flatten().tolist())
    # Where nothing but geometry on whole pixels happened, both images are the same.
    assert 40 < ((clinic == derm).flatten(1).all(dim=1) & ~untouched).sum() < 160
    assert clinic.min() >= 0
    assert clinic.max() <= 1


def test_the_symmetric_chain_shares_the_geometry_alone():
    x, clinic, derm = pair("iimgf_net")
    assert (clinic.amax(dim=(1, 2, 3)) > 1).any()
    # One linear map of the values tells the two images apart.
    for case in range(0, 400, 7):
        first, second = clinic[case].flatten().double(), derm[case].flatten().double()
        spread = torch.corrcoef(torch.stack([first, second]))[0, 1]
        assert spread == pytest.approx(1, abs=1e-6)
    both = [(image == x).flatten(1).all(dim=1) for image in (clinic, derm)]
    assert not torch.equal(*both)


def test_the_released_chain_needs_values_from_0_to_1():
    full = default_augmentations((CLINIC,), "iimgf_net_official")["clinic"]
    x = smooth((8, 8)) * 3 - 1
    with pytest.raises(BadOption) as caught:
        augment(x, full, keys(), modality="clinic")
    assert "values from 0 to 1; those of 'clinic' go from -1 to 2. Open the data set" in str(
        caught.value
    )
