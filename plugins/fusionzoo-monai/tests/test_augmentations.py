"""MONAI's transforms as augmentations."""

import numpy as np
import pytest
import torch
from fusionzoo_monai.monai_affine import MonaiAffine
from fusionzoo_monai.monai_bias_field import MonaiBiasField
from fusionzoo_monai.monai_smooth import MonaiSmooth

from fusionzoo import registry
from fusionzoo.conformance import check
from fusionzoo.data.transforms import case_keys, default_augmentations
from fusionzoo.errors import BadOption
from fusionzoo.spec import Modality

CT = Modality("ct", "volume", 1, (8, 12, 12))
AUGMENTATIONS = {
    "monai_affine": MonaiAffine,
    "monai_bias_field": MonaiBiasField,
    "monai_smooth": MonaiSmooth,
}
KEYS = case_keys(0, 0, np.arange(40))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_they_keep_what_the_interface_promises(name):
    assert registry.load("augmentation", name) is AUGMENTATIONS[name]
    check(name, kind="augmentation").require(at_least=8)


@pytest.mark.parametrize("cls", AUGMENTATIONS.values())
def test_about_so_many_cases_are_changed(cls):
    x = torch.rand(40, *CT.shape, generator=torch.Generator().manual_seed(0))
    for chance, low, high in ((0.0, 0, 0), (0.5, 10, 30), (1.0, 39, 40)):
        changed = cls(CT, chance=chance)(x, KEYS)
        count = int((changed != x).flatten(1).any(dim=1).sum())
        assert low <= count <= high


def test_an_affine_map_keeps_what_is_everywhere_the_same():
    x = torch.full((4, *CT.shape), 3.0)
    torch.testing.assert_close(MonaiAffine(CT, chance=1.0)(x, KEYS[:4]), x)


def test_a_blur_makes_neighbours_alike():
    x = torch.rand(4, *CT.shape, generator=torch.Generator().manual_seed(0))
    changed = MonaiSmooth(CT, chance=1.0, sigma=(1.0, 1.5))(x, KEYS[:4])
    assert (changed.diff(dim=-1).abs().mean() < 0.5 * x.diff(dim=-1).abs().mean()).item()


def test_a_bias_field_is_smooth_and_multiplies():
    x = torch.ones(4, *CT.shape)
    field = MonaiBiasField(CT, chance=1.0, strength=0.3)(x, KEYS[:4])
    assert field.diff(dim=-1).abs().max() < 0.5 * (field.max() - field.min())
    torch.testing.assert_close(
        MonaiBiasField(CT, chance=1.0, strength=0.3)(2 * x, KEYS[:4]), 2 * field
    )


def test_they_go_in_a_chain():
    chains = default_augmentations([CT], "monai_affine(turn=20)+monai_smooth")
    assert [type(part) for part in chains["ct"].parts] == [MonaiAffine, MonaiSmooth]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MonaiAffine(CT, chance=2), "chance=2 is none"),
        (lambda: MonaiBiasField(CT, degree=0), "degree=0: use 0 to 1, and 1 or more."),
        (lambda: MonaiSmooth(CT, sigma=(2.0, 1.0)), "two deviations above 0"),
    ],
)
def test_what_cannot_be_asked_for(make, message):
    with pytest.raises(BadOption) as caught:
        make()
    assert message in str(caught.value)
