"""PEfusion: the released joint network, the elastic net against scikit-learn, all seven schemes."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from fusionzoo.errors import LayoutMismatch
from fusionzoo.fusions import pefusion
from fusionzoo.fusions.pefusion import PEFusion
from fusionzoo.interface import Context
from fusionzoo.spec import FeatureSpec, TaskSpec
from tests import golden_rule

SCHEMES = (
    "early",
    "joint_all",
    "joint_separate",
    "late_nn_average",
    "late_elastic_average",
    "late_separate_average",
    "late_meta",
)
GIVEN = {
    "ct": FeatureSpec.vector(6),
    "table": FeatureSpec.vector(5),
    "labs": FeatureSpec.vector(3),
}
STAGES = {
    "ct": [FeatureSpec.map(6, (2, 2), (8, 8))],
    "table": [FeatureSpec.vector(5)],
    "labs": [FeatureSpec.vector(3)],
}
TASKS = (TaskSpec("dx", ("no", "yes")), TaskSpec("stage", ("i", "ii", "iii")))


@pytest.fixture(autouse=True)
def _small_grid(monkeypatch):
    small = {"C": (0.1, 10.0), "l1_ratio": (0.1, 0.9), "class_weight": (None,), "max_iter": (500,)}
    monkeypatch.setattr(pefusion, "GRID", small)


def fusion(scheme: str, tasks: tuple[TaskSpec, ...] = TASKS) -> PEFusion:
    torch.manual_seed(0)
    made = PEFusion(GIVEN, scheme=scheme)
    made.attach(STAGES, tasks)
    return made


def cases(count: int = 60) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Features, presence and targets; the tables know the classes, a little noisily."""
    torch.manual_seed(1)
    features = {name: torch.randn(count, spec.channels) for name, spec in GIVEN.items()}
    noise = 0.7 * torch.randn(count)
    codes = (features["table"][:, 0] - features["labs"][:, 1] + noise > 0).long()
    stage = (features["table"][:, 2] + noise).clamp(-1, 1).round().long() + 1
    present = {name: torch.ones(count, dtype=torch.bool) for name in GIVEN}
    return features, present, {"dx": codes, "stage": stage}


def head_logits(count: int = 60) -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(2)
    return {
        name: {task.name: torch.randn(count, task.num_logits) for task in TASKS} for name in GIVEN
    }


def test_golden_joint_network() -> None:
    golden = golden_rule.load("pefusion_joint_h0")
    given = {"table": FeatureSpec.vector(7), "ct": FeatureSpec.vector(24)}
    made = PEFusion(given, scheme="joint_separate").eval()
    made.attach(STAGES, [])
    param = golden["param"]
    names = {
        "feature_fcnns.0.feed_forward.": "networks.0.",
        "feature_fcnns.1.feed_forward.": "networks.1.",
        "classifier_layers.feed_forward.0.": "classifier.0.",
    }
    made.load_state_dict(
        {
            key.replace(official, ours): value
            for official, ours in names.items()
            for key, value in param.items()
            if key.startswith(official)
        }
    )
    x = {"table": golden["in"]["tab"], "ct": golden["in"]["img"]}
    present = {name: torch.ones(4, dtype=torch.bool) for name in x}
    fused = made.join(x, Context(present)).features["fused"]
    last = "classifier_layers.feed_forward.2."
    logit = fused @ param[f"{last}weight"].T + param[f"{last}bias"]
    torch.testing.assert_close(logit, golden["out"]["logit"], atol=1e-4, rtol=1e-4)


def test_networks_begin_small() -> None:
    made = PEFusion({"ct": FeatureSpec.vector(400)}, scheme="early", num_neurons=100)
    made.attach({"ct": [FeatureSpec.map(400, (1, 1), (1, 1))]}, [])
    assert made.classifier[0].weight.std().item() == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize(
    ("scheme", "groups"),
    [
        ("early", (("ct", "table", "labs"),)),
        ("joint_all", (("ct",), ("table", "labs"))),
        ("joint_separate", (("ct",), ("table",), ("labs",))),
        ("late_elastic_average", (("table", "labs"),)),
        ("late_separate_average", (("table",), ("labs",))),
    ],
)
def test_what_shares_a_network_or_an_elastic_net(scheme: str, groups: tuple) -> None:
    assert fusion(scheme).groups == groups


def test_elastic_average_is_the_mean_of_image_and_elastic_net() -> None:
    made, (x, present, targets) = fusion("late_elastic_average").eval(), cases()
    made.fit_features(x, present, targets)
    table = torch.cat([x["table"], x["labs"]], dim=1)
    logits = head_logits()
    joined = made.join(x, Context(present))
    final = made.decide(logits | joined.logits, Context(present))
    elastic = torch.sigmoid(table @ made.weight_0_0.T + made.bias_0_0)
    expected = (logits["ct"]["dx"].sigmoid() + elastic) / 2
    torch.testing.assert_close(final["dx"].sigmoid(), expected)
    several = torch.softmax(table @ made.weight_0_1.T + made.bias_0_1, dim=1)
    expected = (logits["ct"]["stage"].softmax(1) + several) / 2
    torch.testing.assert_close(final["stage"].softmax(1), expected)
    assert ((elastic[:, 0] > 0.5) == targets["dx"].bool()).float().mean() > 0.75


def test_elastic_net_is_scikit_learns(monkeypatch) -> None:
    one = {"C": (0.5,), "l1_ratio": (0.3,), "class_weight": ("balanced",), "max_iter": (5000,)}
    monkeypatch.setattr(pefusion, "GRID", one)
    made, (x, present, targets) = fusion("late_separate_average", TASKS[:1]), cases()
    made.fit_features(x, present, targets)
    weight, bias = made.weight_0_0[0].double().numpy(), made.bias_0_0.item()
    # What saga minimises, from its definition: the gradient vanishes up to the l1 term.
    table, codes = x["table"].double().numpy(), targets["dx"].numpy()
    balance = len(codes) / (2 * np.bincount(codes))[codes]
    residual = balance * (1 / (1 + np.exp(-(table @ weight + bias))) - codes)
    slope = 0.5 * residual @ table + 0.7 * weight
    assert residual.sum() == pytest.approx(0, abs=0.05)
    active = weight != 0
    np.testing.assert_allclose(slope[active], -0.3 * np.sign(weight[active]), atol=0.02)
    assert (np.abs(slope[~active]) <= 0.32).all()


def test_hyperparameters_are_searched_by_auroc(monkeypatch) -> None:
    useless_or_good = {"C": (1e-9, 1.0), "l1_ratio": (0.9,), "class_weight": (None,)}
    monkeypatch.setattr(pefusion, "GRID", useless_or_good)
    made, (x, present, targets) = fusion("late_elastic_average", TASKS[:1]), cases()
    made.fit_features(x, present, targets)
    assert made.weight_0_0.abs().max() > 0.5


def test_absent_tables_and_labels_take_no_part_in_the_fit() -> None:
    x, present, targets = cases()
    hidden = {name: value.clone() for name, value in x.items()}
    for rows, name in ((slice(0, 10), "table"), (slice(0, 10), "labs"), (slice(10, 20), "table")):
        hidden[name][rows] = 1e3
    present["table"][:10] = present["labs"][:10] = False
    targets["dx"][10:20] = -1
    made, plain = (fusion("late_elastic_average", TASKS[:1]) for _ in range(2))
    made.fit_features(hidden, present, targets)
    kept = [{k: v[20:] for k, v in part.items()} for part in (x, present, targets)]
    plain.fit_features(*kept)
    torch.testing.assert_close(made.weight_0_0, plain.weight_0_0)


def test_judges_of_absent_modalities_have_no_say() -> None:
    made, (x, present, targets) = fusion("late_elastic_average").eval(), cases()
    made.fit_features(x, present, targets)
    present["ct"][0] = present["table"][1] = present["labs"][1] = False
    logits = head_logits()
    joined = made.join(x, Context(present))
    final = made.decide(logits | joined.logits, Context(present))["dx"]
    torch.testing.assert_close(final[0], joined.logits["elastic:table+labs"]["dx"][0])
    torch.testing.assert_close(final[1], logits["ct"]["dx"][1])


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s.startswith("late")])
def test_before_fitting_the_classifiers_are_averaged(scheme: str) -> None:
    made, (x, present, _) = fusion(scheme), cases()
    joined, logits = made.join(x, Context(present)), head_logits()
    assert joined.logits == {}
    mean = torch.stack([by["dx"].sigmoid() for by in logits.values()]).mean(0)
    final = made.decide(logits, Context(present))["dx"].sigmoid()
    torch.testing.assert_close(final, mean)


def test_meta_is_a_logistic_regression_on_validation_logits() -> None:
    made, (_, present, targets) = fusion("late_meta"), cases()
    logits = head_logits()
    logits["ct"]["dx"] += 2.0 * targets["dx"][:, None]
    made.fit(logits, targets)
    stacked = torch.cat([by["dx"] for by in logits.values()], dim=1)
    theirs = LogisticRegression(max_iter=1000).fit(stacked.double().numpy(), targets["dx"].numpy())
    ours = made.decide(logits, Context(present))["dx"][:, 0]
    np.testing.assert_allclose(ours, theirs.decision_function(stacked.numpy()), atol=1e-4)


def test_one_class_alone_leaves_the_classifiers() -> None:
    made, (x, present, targets) = fusion("late_elastic_average"), cases()
    made.fit_features(x, present, targets | {"dx": torch.zeros_like(targets["dx"])})
    assert not made.fitted


def test_what_was_fitted_is_saved() -> None:
    made, (x, present, targets) = fusion("late_elastic_average"), cases()
    made.fit_features(x, present, targets)
    again = fusion("late_elastic_average")
    again.load_state_dict(made.state_dict())
    assert again.fitted
    torch.testing.assert_close(again.weight_0_1, made.weight_0_1)


@pytest.mark.parametrize("scheme", SCHEMES[:3])
def test_gradient_reaches_every_parameter(scheme: str) -> None:
    made, (x, present, _) = fusion(scheme), cases(8)
    x = {name: value.requires_grad_() for name, value in x.items()}
    made.join(x, Context(present)).features["fused"].square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in [*made.parameters(), *x.values()])


def test_late_schemes_supervise_each_modality() -> None:
    assert fusion("late_elastic_average").supervised == dict.fromkeys(GIVEN, 1.0)
    assert fusion("early").supervised == {"final": 1.0}


def test_an_elastic_net_needs_a_table() -> None:
    made = PEFusion({"a": FeatureSpec.vector(6), "b": FeatureSpec.vector(6)})
    images = {"a": STAGES["ct"], "b": STAGES["ct"]}
    with pytest.raises(
        LayoutMismatch, match=r"none of a, b goes through vectors\. Use scheme=late_"
    ):
        made.attach(images, TASKS)
