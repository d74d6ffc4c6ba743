from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from fusionzoo.data.tabular import fit_encoders
from fusionzoo.interface import Batch
from fusionzoo.spec import Modality
from fusionzoo.stress.perturbations import LEVELS, UNITS, Perturber, Probe, levels_of
from tests.data.toy_dataset import balanced

CT = Modality("ct", "volume", 1, (12, 16, 16))
TABLE = Modality("table", "table", 3)
ROWS = np.arange(80)


@pytest.fixture
def perturber():
    dataset = balanced()
    return Perturber(dataset, fit_encoders(dataset, ROWS), ("ct", "table"), seed=7)


def batch(absent=()):
    present = torch.ones(80, dtype=torch.bool)
    present[list(absent)] = False
    ct = torch.randn(80, 1, 12, 16, 16, generator=torch.Generator().manual_seed(0)) * 3 + 5
    ct[~present] = 0
    everyone = torch.ones(80, dtype=torch.bool)
    inputs = {"ct": ct, "table": torch.ones(80, 3)}
    return Batch(inputs, {"ct": present, "table": everyone}, {}, torch.arange(80))


def test_a_dropped_modality_is_zeros_and_not_present(perturber):
    given = batch(absent=(3,))
    found = perturber.batch(given, Probe("drop", CT, 1.0, 0))
    assert not found.present["ct"].any()
    assert not found.inputs["ct"].any()
    assert torch.equal(found.inputs["table"], given.inputs["table"])
    assert given.inputs["ct"].any()


def test_a_case_keeps_the_last_thing_that_it_has(perturber):
    given = batch(absent=(3,))
    found = perturber.batch(given, Probe("drop", TABLE, 1.0, 0))
    assert found.present["table"].nonzero().flatten().tolist() == [3]
    assert found.inputs["table"][3].all()


def test_partial_drops_are_nested_shares_of_those_that_can_lose_it(perturber):
    masks = [perturber.dropped(ROWS, "ct", share, 0) for share in LEVELS["drop"]]
    assert [mask.sum() for mask in masks] == [0, 20, 40, 60, 80]
    for less, more in pairwise(masks):
        assert (more | ~less).all()
    assert (perturber.dropped(ROWS, "ct", 0.5, 1) != masks[2]).any()
    again = Perturber(perturber.dataset, perturber.encoders, perturber.read, seed=7)
    assert (again.dropped(ROWS, "ct", 0.5, 0) == masks[2]).all()


def test_empty_cells_become_what_the_table_says(perturber):
    given = batch()
    all_empty = perturber.batch(given, Probe("cells", TABLE, 1.0, 0)).inputs["table"]
    median = (39.5 - perturber.encoders["table"].offset[0]) / perturber.encoders["table"].scale[0]
    torch.testing.assert_close(all_empty, torch.tensor([[median, 0.0, 0.0]]).repeat(80, 1))
    whole = torch.from_numpy(
        perturber.encoders["table"].transform(perturber.dataset.table("table"))
    )
    hit = (perturber.batch(given, Probe("cells", TABLE, 0.25, 0)).inputs["table"] != whole).any(1)
    more = (perturber.batch(given, Probe("cells", TABLE, 0.75, 0)).inputs["table"] != whole).any(1)
    assert 0.25 < hit.float().mean() < 0.6
    assert (more | ~hit).all()


def test_noise_is_normal_in_deviations_of_the_image(perturber):
    given = batch(absent=(3,))
    found = perturber.batch(given, Probe("noise", CT, 0.5, 0)).inputs["ct"]
    assert not found[3].any()
    added = (found - given.inputs["ct"])[0].flatten() / given.inputs["ct"][0].std()
    assert kstest(added.numpy() / 0.5, "norm").pvalue > 0.001
    again = perturber.batch(given, Probe("noise", CT, 0.5, 0)).inputs["ct"]
    assert torch.equal(found, again)
    other = perturber.batch(given, Probe("noise", CT, 0.5, 1)).inputs["ct"]
    assert not torch.equal(found, other)
    assert not torch.equal(found[0] - given.inputs["ct"][0], found[1] - given.inputs["ct"][1])


def test_a_shift_moves_by_whole_voxels_along_every_axis(perturber):
    given = batch()
    found = perturber.batch(given, Probe("shift", CT, 2.0, 0)).inputs["ct"]
    sides = set()
    for case in range(80):
        ours = [
            steps
            for steps in ((a, b, c) for a in (-2, 2) for b in (-2, 2) for c in (-2, 2))
            if torch.equal(_inner(found[case, 0], steps), _inner(given.inputs["ct"][case, 0], None))
        ]
        assert len(ours) == 1
        sides.add(ours[0])
    assert len(sides) == 8
    assert found.shape == given.inputs["ct"].shape


def _inner(x, steps):
    """The middle of an image, or where it is after a move by `steps`."""
    steps = steps or (0, 0, 0)
    return x[tuple(slice(2 + s, n - 2 + s) for s, n in zip(steps, x.shape, strict=True))]


def test_an_image_is_not_moved_out_of_sight():
    assert levels_of("shift", CT) == (0.0, 1.0, 2.0, 4.0)
    assert levels_of("shift", Modality("derm", "image", 3, (64, 64))) == LEVELS["shift"]
    assert levels_of("noise", CT) == LEVELS["noise"]
    assert all(levels[0] == 0 for levels in LEVELS.values())
    assert set(UNITS) == set(LEVELS)
