"""The moving average of weights, against the recurrence written out."""

import torch
from torch import nn

from fusionzoo.training.average import WeightAverage


def test_it_follows_the_recurrence():
    module = nn.Linear(1, 1, bias=False)
    average = WeightAverage(module, 0.5)
    expected = module.weight.item()
    for step, value in enumerate([1.0, 3.0, -2.0, 0.5]):
        nn.init.constant_(module.weight, value)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with average.applied():
        torch.testing.assert_close(module.weight.item(), expected)
    assert module.weight.item() == 0.5


def test_running_statistics_are_averaged_and_frozen_parts_are_not():
    module = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    module[0].requires_grad_(False)
    average = WeightAverage(module, 0.9)
    for norm in module:
        norm.running_mean.fill_(4.0)
    average.update()
    with average.applied():
        assert torch.equal(module[0].running_mean, torch.full((2,), 4.0))
        torch.testing.assert_close(module[1].running_mean, torch.full((2,), 3.6))


def test_it_goes_on_from_its_state():
    module = nn.Linear(2, 2)
    first = WeightAverage(module, 0.9)
    for _ in range(3):
        nn.init.normal_(module.weight)
        first.update()
    second = WeightAverage(module, 0.9)
    second.restore(first.state())
    nn.init.normal_(module.weight)
    first.update()
    second.update()
    with first.applied():
        one = module.weight.clone()
    with second.applied():
        assert torch.equal(one, module.weight)
