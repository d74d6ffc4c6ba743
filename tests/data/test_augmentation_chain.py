"""Augmentations by name, as a plugin adds them."""

import numpy as np
import pytest
import torch

from fusionzoo import registry
from fusionzoo.data.augmentation_chain import augmentations_by_name
from fusionzoo.data.loader import CaseLoader
from fusionzoo.data.tabular import fit_encoders
from fusionzoo.data.transforms import augment, case_keys, default_augmentations, uniform
from fusionzoo.errors import BadOption, UnknownComponent
from fusionzoo.interface import AbstractAugmentation
from fusionzoo.spec import Modality
from fusionzoo.training.config import TrainConfig
from tests.data.toy_dataset import balanced

CT, DERM = Modality("ct", "volume", 1, (4, 4, 4)), Modality("derm", "image", 3, (4, 4))


class AddLevel(AbstractAugmentation):
    accepts = frozenset({"volume"})

    def __init__(self, modality: Modality, *, level: float = 1.0):
        super().__init__(modality)
        self.level = level

    def __call__(self, x, keys):
        drawn = torch.from_numpy(uniform(keys, 1, "level")).to(x)
        return x + self.level * drawn.reshape(-1, *(1 for _ in x.shape[1:]))


class Double(AbstractAugmentation):
    def __call__(self, x, keys):
        return 2 * x


@pytest.fixture(autouse=True)
def registered():
    with (
        registry.lent("augmentation", "add_level", AddLevel),
        registry.lent("augmentation", "double", Double),
    ):
        yield


def test_a_chain_in_its_order_with_options():
    chain = augmentations_by_name("add_level(level=3)+double", [CT])["ct"]
    keys = case_keys(0, 0, np.arange(2))
    x = torch.zeros(2, 1, 4, 4, 4)
    wanted = 6 * torch.from_numpy(uniform(keys, 1, "level"))[:, 0]
    torch.testing.assert_close(augment(x, chain, keys)[:, 0, 0, 0, 0], wanted.float())


def test_parts_leave_alone_what_they_do_not_accept():
    assert set(default_augmentations([CT, DERM], "add_level")) == {"ct"}
    both = default_augmentations([CT, DERM], "add_level+double")
    assert [len(chain.parts) for chain in both.values()] == [2, 1]


def test_what_is_not_there():
    with pytest.raises(UnknownComponent, match="No augmentation is called 'add_levle'"):
        augmentations_by_name("add_levle", [CT])
    with pytest.raises(BadOption, match="Augmentation 'add_level' has no option 'lvl'"):
        augmentations_by_name("add_level(lvl=1)", [CT])


def test_the_training_setting_and_the_loader_take_it():
    assert TrainConfig(augment="add_level(level=0.5)+double").augment
    data = balanced()
    rows = np.arange(4)
    encoders = fit_encoders(data, rows)
    chosen = default_augmentations(data.spec.modalities, "double")
    plain = CaseLoader(data, rows, encoders, batch_size=4).batch(0)
    changed = CaseLoader(data, rows, encoders, batch_size=4, augmentation=chosen).batch(0)
    for name in chosen:
        torch.testing.assert_close(changed.inputs[name], 2 * plain.inputs[name])
