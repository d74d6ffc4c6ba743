"""Late fusion: averaged probabilities, masks, and weights fitted by log loss."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionzoo.fusions.late import Late
from fusionzoo.interface import Context
from fusionzoo.spec import FeatureSpec

GIVEN = {"ct": FeatureSpec.vector(5), "table": FeatureSpec.vector(3)}


def context(batch: int, *, absent: dict[str, list[int]] | None = None) -> Context:
    present = {name: torch.ones(batch, dtype=torch.bool) for name in GIVEN}
    for name, rows in (absent or {}).items():
        present[name][rows] = False
    return Context(present)


def some_logits(batch: int = 4, scale: float = 3.0) -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(0)
    return {
        name: {"dx": scale * torch.randn(batch, 1), "stage": scale * torch.randn(batch, 3)}
        for name in GIVEN
    }


def test_probabilities_are_averaged() -> None:
    logits = some_logits()
    final = Late(GIVEN).decide(logits, context(4))
    binary = (logits["ct"]["dx"].sigmoid() + logits["table"]["dx"].sigmoid()) / 2
    several = (logits["ct"]["stage"].softmax(1) + logits["table"]["stage"].softmax(1)) / 2
    torch.testing.assert_close(final["dx"].sigmoid(), binary)
    torch.testing.assert_close(final["stage"].softmax(1), several)


def test_logits_are_averaged() -> None:
    logits = some_logits()
    logits["ct"]["stage"] += 100  # a common offset of one modality means nothing
    final = Late(GIVEN, average="logits").decide(logits, context(4))
    torch.testing.assert_close(final["dx"], (logits["ct"]["dx"] + logits["table"]["dx"]) / 2)
    mean = (logits["ct"]["stage"] + logits["table"]["stage"]) / 2
    torch.testing.assert_close(final["stage"].softmax(1), mean.softmax(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("average", ["probs", "logits", "learned"])
def test_absent_modalities_have_no_say(average: str) -> None:
    logits = some_logits()
    absent = {"ct": [1, 3], "table": [2, 3]}
    final = Late(GIVEN, average=average).decide(logits, context(4, absent=absent))
    torch.testing.assert_close(final["dx"][1], logits["table"]["dx"][1])
    torch.testing.assert_close(final["dx"][2], logits["ct"]["dx"][2])
    torch.testing.assert_close(final["stage"][1].softmax(0), logits["table"]["stage"][1].softmax(0))
    assert final["dx"][3].isfinite().all()  # nothing is there: both count


def test_extreme_logits_stay_finite() -> None:
    logits = {"ct": {"dx": torch.tensor([[200.0]])}, "table": {"dx": torch.tensor([[150.0]])}}
    final = Late(GIVEN).decide(logits, context(1))["dx"]
    assert final.item() == pytest.approx(150 + np.log(2), rel=1e-5)


def test_gradient_is_finite_with_an_absent_modality() -> None:
    logits = some_logits()
    logits["ct"]["dx"].requires_grad_()
    Late(GIVEN).decide(logits, context(4, absent={"ct": [0]}))["dx"].sum().backward()
    gradient = logits["ct"]["dx"].grad
    assert gradient[0] == 0
    assert (gradient[1:] != 0).all()


def log_loss(weight: float, logits: dict[str, dict[str, Tensor]], codes: Tensor) -> float:
    probs = [logits[name]["dx"][:, 0].double().sigmoid() for name in GIVEN]
    mixed = weight * probs[0] + (1 - weight) * probs[1]
    return -torch.where(codes == 1, mixed, 1 - mixed).log().mean().item()


def test_learned_weight_has_the_lowest_log_loss() -> None:
    torch.manual_seed(1)
    codes = torch.randint(2, (200,))
    signal = (2.0 * codes - 1)[:, None]
    logits = {
        "ct": {"dx": 1.5 * signal + 2 * torch.randn(200, 1)},
        "table": {"dx": signal + 2 * torch.randn(200, 1)},
    }
    fusion = Late(GIVEN, average="learned")
    fusion.fit(logits, {"dx": codes})
    grid = np.linspace(0, 1, 1001)
    best = grid[np.argmin([log_loss(w, logits, codes) for w in grid])]
    assert 0.1 < best < 0.9
    assert fusion.weights[0].item() == pytest.approx(best, abs=2e-3)
    assert fusion.weights.sum().item() == pytest.approx(1)
    final = fusion.decide(logits, context(200))["dx"].sigmoid()
    mixed = sum(w * logits[n]["dx"].sigmoid() for w, n in zip(fusion.weights, GIVEN, strict=True))
    torch.testing.assert_close(final, mixed)


def test_fit_uses_all_tasks_and_only_cases_with_a_label() -> None:
    logits = some_logits(batch=6)
    codes = {"dx": torch.tensor([0, 1, -1, -1, 0, 1]), "stage": torch.tensor([2, -1, 0, 1, -1, -1])}
    logits["ct"]["stage"][:4] = 4 * torch.eye(3)[codes["stage"][:4]]  # here the CT knows better
    fusion = Late(GIVEN, average="learned")
    fusion.fit(logits, codes)
    hidden = {n: {t: z.clone() for t, z in by.items()} for n, by in logits.items()}
    for by in hidden.values():
        by["dx"][2:4] = 1e6
        by["stage"][4:] = 1e6
    again = Late(GIVEN, average="learned")
    again.fit(hidden, codes)
    torch.testing.assert_close(again.weights, fusion.weights)
    only_dx = Late(GIVEN, average="learned")
    only_dx.fit(logits, {"dx": codes["dx"]})
    assert not torch.allclose(only_dx.weights, fusion.weights, atol=1e-3)


def test_fit_leaves_equal_weights_alone() -> None:
    fusion = Late(GIVEN)
    fusion.fit(some_logits(), {"dx": torch.tensor([0, 1, 0, 1])})
    learned = Late(GIVEN, average="learned")
    learned.fit(some_logits(), {"dx": torch.full((4,), -1)})
    assert fusion.weights.tolist() == learned.weights.tolist() == [0.5, 0.5]


def test_learned_weights_are_saved() -> None:
    fusion = Late(GIVEN, average="learned")
    fusion.weights.copy_(torch.tensor([0.2, 0.8]))
    again = Late(GIVEN, average="learned")
    again.load_state_dict(fusion.state_dict())
    assert again.weights[1].item() == pytest.approx(0.8)


def test_each_modality_is_an_output_with_its_own_loss() -> None:
    fusion = Late(GIVEN)
    vectors = {name: torch.randn(2, spec.channels) for name, spec in GIVEN.items()}
    joined = fusion.join(vectors, context(2))
    assert joined.features == vectors
    assert fusion.outputs == GIVEN
    assert fusion.supervised == {"ct": 1.0, "table": 1.0}
    assert all(need.layouts == ("vector",) for need in Late.needs(GIVEN).values())
