"""Cached features of frozen trunks: the plain pass, augmented views, pyramids."""

import pytest
import torch
from lightning_fabric import Fabric

from fusionzoo.interface import Batch
from fusionzoo.models.assemble import assemble
from fusionzoo.spec import DataSpec, Modality, TaskSpec
from fusionzoo.training.cache import FeatureCache, cached_bytes, encode_all

TASK = TaskSpec("y", ("no", "yes"))
DATA = DataSpec(
    "toy", (Modality("ct", "volume", 1, (4, 16, 16)), Modality("table", "table", 3)), (TASK,)
)


def batches(rows, features, size=2):
    for start in range(0, len(rows), size):
        index = torch.tensor(rows[start : start + size])
        parts = slice(start, start + size)
        if isinstance(features, list):
            yield index, [level[parts] for level in features]
        else:
            yield index, features[parts]


@pytest.fixture
def vectors():
    return torch.arange(10.0).reshape(5, 2)


def test_the_plain_pass_is_given_back_by_case(vectors):
    cache = FeatureCache(10)
    cache.add_plain(batches([7, 2, 9, 0, 4], vectors))
    for epoch in (-1, 0, 5):
        torch.testing.assert_close(cache(torch.tensor([0, 7, 7]), epoch), vectors[[3, 0, 0]])


def test_training_goes_round_the_views_and_evaluation_reads_the_plain_pass(vectors):
    cache = FeatureCache(10)
    cache.add_plain(batches([7, 2, 9, 0, 4], vectors))
    for view in (1, 2):
        cache.add_view(batches([9, 7], torch.full((2, 2), 100.0 * view)))
    asked = torch.tensor([7, 2])
    for epoch, value in ((0, 100.0), (1, 200.0), (2, 100.0)):
        expected = torch.stack([torch.full((2,), value), vectors[1]])
        torch.testing.assert_close(cache(asked, epoch), expected)
    torch.testing.assert_close(cache(asked, -1), vectors[:2])


def test_a_pyramid_stays_one():
    levels = [torch.randn(3, 2, 4, 4), torch.randn(3, 5, 2, 2)]
    cache = FeatureCache(3)
    cache.add_plain(batches([2, 0, 1], levels))
    cache.add_view(batches([0], [level[:1] + 1 for level in levels]))
    found = cache(torch.tensor([2, 0]), 0)
    assert isinstance(found, list)
    for level, features in zip(found, levels, strict=True):
        torch.testing.assert_close(level, torch.stack([features[0], features[0] + 1]))


def test_a_pyramid_of_one_level_stays_one():
    cache = FeatureCache(2)
    cache.add_plain(batches([0, 1], [torch.zeros(2, 3)]))
    assert isinstance(cache(torch.tensor([1]), -1), list)


def test_a_case_that_was_left_out_is_not_taken_for_another(vectors):
    cache = FeatureCache(10)
    cache.add_plain(batches([7, 2, 9, 0, 4], vectors))
    with pytest.raises(AssertionError, match="left out"):
        cache(torch.tensor([7, 3]), -1)
    with pytest.raises(AssertionError, match="left out"):
        cache.add_view(batches([1], torch.zeros(1, 2)))


def loader(count=5, size=2):
    generator = torch.Generator().manual_seed(0)
    for start in range(0, count, size):
        index = torch.arange(start, min(start + size, count))
        inputs = {
            m.name: torch.randn(len(index), *m.shape, generator=generator) for m in DATA.modalities
        }
        present = {name: torch.ones(len(index), dtype=torch.bool) for name in inputs}
        yield Batch(inputs, present, {"y": torch.zeros(len(index), dtype=torch.long)}, index)


class Batches(list):
    """Batches that stay as they are, as a loader."""

    def set_epoch(self, epoch):
        pass

    def batch(self, number):
        return self[number]

    def sizes(self, number):
        return (len(self[number].index),)


def test_encoded_features_are_those_of_evaluation_and_can_be_trained_on():
    spec = "ct=penet3d(width=0.25, depth=14), table=mlp -> concat -> linear"
    model = assemble(spec, DATA)
    feature = model.features[0]
    trunk = model.trunk(feature)
    cache = FeatureCache(5)
    stream = encode_all(trunk, model, feature, Batches(loader()), Fabric(accelerator="cpu"))
    index, first = next(stream)
    assert not torch.is_inference_mode_enabled()
    cache.add_plain([(index, first), *stream])
    assert not trunk.training
    with torch.no_grad():
        expected = torch.cat([trunk(model.read(feature, batch)) for batch in loader()])
    found = cache(torch.arange(5), -1)
    torch.testing.assert_close(found, expected)
    linear = torch.nn.Linear(found.shape[1], 1)
    linear(found).sum().backward()
    torch.testing.assert_close(linear.weight.grad, found.sum(dim=0, keepdim=True))


@pytest.mark.parametrize(("part", "each"), [("", 64), ("+e3d_msca", 24)])
def test_the_memory_that_a_cache_takes(part, each):
    spec = f"ct=penet3d(width=0.25, depth=14){part}, table=mlp -> concat -> linear"
    model = assemble(spec, DATA).eval()
    batch = next(loader())
    needed = cached_bytes(model, model.features[:1], batch, num_cases=100, views=3)
    assert needed == 4 * each * 100 * (3 + 1)
