"""The optimiser, the learning rate, and which outputs learn from which cases."""

import pytest
import torch
from torch import nn

from fusionzoo.interface import Batch
from fusionzoo.models.model import ModelOutput
from fusionzoo.spec import TaskSpec
from fusionzoo.training.config import TrainConfig
from fusionzoo.training.loop import (
    _optimizer,
    learning_rate_share,
    separate_gradients,
    total_loss,
)
from tests import golden_rule

TASK = TaskSpec("task", ("no", "yes"))


def test_the_schedule_by_samples_is_the_released_one():
    golden = golden_rule.load("lr_schedule")
    config = TrainConfig(schedule="samples", batch_size=1)
    for step, factor in zip(golden["in"]["iter"], golden["out"]["factor"], strict=True):
        share = learning_rate_share(int(step), 0, config)
        assert share == pytest.approx(float(factor), rel=1e-5, abs=1e-9)


def test_the_schedule_by_samples_counts_cases_not_steps():
    one, four = (TrainConfig(schedule="samples", batch_size=size) for size in (1, 4))
    assert learning_rate_share(40, 0, one) == learning_rate_share(10, 0, four) == 0.004


def test_cosine_rises_over_the_warmup_and_falls_to_zero():
    config = TrainConfig(warmup=0.1)
    shares = [learning_rate_share(step, 100, config) for step in range(101)]
    assert shares[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert shares[10] == 1
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[55] == pytest.approx(0.5)
    assert shares[100] == pytest.approx(0, abs=1e-12)
    constant = TrainConfig(schedule="constant", warmup=0.1)
    assert {learning_rate_share(step, 100, constant) for step in range(10, 100)} == {1.0}


def test_norms_and_biases_decay_only_when_asked():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    groups = _optimizer(module, TrainConfig(weight_decay=0.5), 0.1, "cpu").param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.5), (3, 0.0)]
    config = TrainConfig(weight_decay=0.5, decay_all=True, optimizer="sgd", dampening=0.9)
    (group,) = _optimizer(module, config, 0.1, "cpu").param_groups
    assert (len(group["params"]), group["weight_decay"]) == (4, 0.5)
    assert (group["momentum"], group["dampening"]) == (0.9, 0.9)


def test_adam_couples_the_penalty_and_adamw_does_not():
    def after(optimizer):
        module = nn.Linear(2, 1, bias=False)
        nn.init.constant_(module.weight, 2.0)
        config = TrainConfig(optimizer=optimizer, weight_decay=0.5)
        made = _optimizer(module, config, 0.1, "cpu")
        module(torch.tensor([[1.0, 0.0]])).sum().backward()
        made.step()
        return type(made), module.weight.detach().flatten().tolist()

    adam, adamw = after("adam"), after("adamw")
    assert (adam[0], adamw[0]) == (torch.optim.Adam, torch.optim.AdamW)
    # The first step of Adam is lr in the direction of gradient plus penalty, whatever their size.
    assert adam[1] == pytest.approx([1.9, 1.9], abs=1e-6)
    # AdamW shrinks the weight by lr * decay, and steps where there is a gradient only.
    assert adamw[1] == pytest.approx([1.8, 1.9], abs=1e-6)


def batch(targets):
    count = len(targets)
    present = torch.ones(count, dtype=torch.bool)
    return Batch({}, {"ct": present}, {"task": torch.tensor(targets)}, torch.arange(count))


def test_the_loss_sums_outputs_by_weight_and_adds_auxiliary_losses():
    cases = batch([0, 1])
    near, far = torch.tensor([[-2.0], [2.0]]), torch.tensor([[1.0], [-1.0]])
    output = ModelOutput({"task": near}, {"a": {"task": near}, "b": {"task": far}}, {})
    output.losses["extra"] = torch.tensor(0.25)
    supervised = {"final": 1.0, "b": 0.5}
    found = total_loss(output, cases, {}, [TASK], supervised, "bce")
    bce = nn.functional.binary_cross_entropy_with_logits
    target = torch.tensor([[0.0], [1.0]])
    torch.testing.assert_close(found, bce(near, target) + 0.5 * bce(far, target) + 0.25)


def test_a_modality_s_own_output_learns_only_where_it_is_present():
    logits = torch.tensor([[3.0], [-1.0]], requires_grad=True)
    output = ModelOutput({"task": logits}, {"ct": {"task": logits}}, {})
    present = {"ct": torch.tensor([True, False])}
    total_loss(output, batch([1, 1]), present, [TASK], {"ct": 1.0}, "bce").backward()
    assert logits.grad[0] != 0
    assert logits.grad[1] == 0


def test_gradients_in_one_memory_are_taken_apart():
    """Two biases that are added to each other as views; scaled in place, each is scaled once."""
    weights = [nn.Parameter(torch.ones(3)) for _ in range(3)]
    biases = weights[:2]
    scaled = torch.arange(3.0).view(1, 3) * weights[2]
    (scaled + biases[0].view(1, 3) + biases[1].view(1, 3)).mul(
        torch.tensor([1.0, 2, 4])
    ).sum().backward()
    assert biases[0].grad.data_ptr() == biases[1].grad.data_ptr()
    kept = weights[2].grad
    separate_gradients([*weights, nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(0))])
    for bias in biases:
        bias.grad.mul_(0.5)
    assert [bias.grad.tolist() for bias in biases] == [[0.5, 1, 2]] * 2
    assert weights[2].grad is kept
