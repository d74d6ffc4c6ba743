"""One linear layer per task."""

import pytest
import torch
from torch.nn import functional as F

from fusionzoo.errors import WeightsError
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


def test_two_outputs_for_two_classes_learn_as_two_logits_do() -> None:
    """The logit is their difference: same cross-entropy, same gradients, same probability."""
    head = Linear(FeatureSpec.vector(4), TASKS, binary="two")
    x, codes = torch.randn(5, 4), torch.tensor([0, 1, 1, 0, 1])
    logit = head(x)["dx"]
    assert logit.shape == (5, 1)
    pairs = F.linear(x, head.layers[0].weight, head.layers[0].bias)
    torch.testing.assert_close(torch.sigmoid(logit)[:, 0], pairs.softmax(1)[:, 1])
    ours = F.binary_cross_entropy_with_logits(logit[:, 0], codes.float())
    theirs = F.cross_entropy(pairs, codes)
    torch.testing.assert_close(ours, theirs)
    parameters = tuple(head.layers[0].parameters())
    for a, b in zip(
        torch.autograd.grad(ours, parameters), torch.autograd.grad(theirs, parameters), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_the_eight_classifiers_of_iimgf_net() -> None:
    classes = {"DIAG": 5, "PN": 3, "BWV": 2, "VS": 3, "PIG": 3, "STR": 3, "DaG": 3, "RS": 2}
    tasks = [TaskSpec(name, tuple("abcde"[:n])) for name, n in classes.items()]
    head = Linear(FeatureSpec.vector(3072), tasks, binary="two")
    assert sum(p.numel() for p in head.parameters()) == 73_752


def test_released_classifiers_go_by_name() -> None:
    tasks = (TaskSpec("BWV", ("absent", "present")), TaskSpec("DIAG", tuple("abcde")))
    official = {"fc_diag": 5, "fc_pn": 3, "fc_bwn": 2}
    state = {f"{name}.weight": torch.randn(n, 4) for name, n in official.items()}
    state |= {f"{name}.bias": torch.randn(n) for name, n in official.items()}
    x = torch.randn(3, 4)
    for binary in ("one", "two"):
        head = Linear(FeatureSpec.vector(4), tasks, binary=binary)
        head.load_state_dict(head.rename_official(state))
        logits = head(x)
        for name, key in (("DIAG", "fc_diag"), ("BWV", "fc_bwn")):
            expected = F.linear(x, state[f"{key}.weight"], state[f"{key}.bias"])
            expected = expected.diff(dim=1) if name == "BWV" else expected
            torch.testing.assert_close(logits[name], expected)
    with pytest.raises(WeightsError, match="no classifier for dx, stage; they have: bwn, diag, pn"):
        Linear(FeatureSpec.vector(4), TASKS).rename_official(state)
