"""One linear layer per task."""

import torch
from torch.nn import functional as F

from fusionzoo.heads.linear import Linear
from fusionzoo.spec import FeatureSpec, TaskSpec

TASKS = (TaskSpec("dx", ("no", "yes")), TaskSpec("stage", ("I", "II", "III")))


def test_each_task_has_its_own_map() -> None:
    head = Linear(FeatureSpec.vector(4), TASKS)
    x = torch.randn(5, 4)
    logits = head(x)
    assert list(logits) == ["dx", "stage"]
    assert logits["dx"].shape == (5, 1)
    torch.testing.assert_close(
        logits["stage"], F.linear(x, head.layers[1].weight, head.layers[1].bias)
    )


def test_gradient_reaches_every_parameter() -> None:
    head = Linear(FeatureSpec.vector(4), TASKS)
    sum(z.square().sum() for z in head(torch.randn(5, 4)).values()).backward()
    assert all(p.grad.abs().max() > 0 for p in head.parameters())
