"""Hidden layers shared by the tasks."""

import pytest
import torch

from fusionzoo.heads.mlp import MLP
from fusionzoo.spec import FeatureSpec, TaskSpec

TASKS = (TaskSpec("dx", ("no", "yes")), TaskSpec("stage", ("I", "II", "III")))


def test_equation() -> None:
    head = MLP(FeatureSpec.vector(4), TASKS, hidden=(6,)).eval()
    x = torch.randn(5, 4)
    first, task = head.trunk[0], head.layers[0]
    hidden = (x @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(head(x)["dx"], hidden @ task.weight.T + task.bias)


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
def test_shapes_and_gradient(hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    head = MLP(FeatureSpec.vector(4), TASKS, hidden=hidden, dropout=0.1)
    logits = head(torch.randn(32, 4))
    assert {task: tuple(z.shape) for task, z in logits.items()} == {"dx": (32, 1), "stage": (32, 3)}
    sum(z.square().sum() for z in logits.values()).backward()
    assert all(p.grad.abs().max() > 0 for p in head.parameters())
    assert len(head.trunk) == 3 * len(hidden)
