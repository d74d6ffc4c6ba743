"""DrFuse against the released code: features, predictions and every loss."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fusionzoo.fusions.drfuse import DrFuse, pool_logits
from fusionzoo.interface import Context
from fusionzoo.spec import FeatureSpec, TaskSpec
from tests import golden_rule

TASKS = (TaskSpec("dx", ("no", "yes")), TaskSpec("stage", ("I", "II", "III")))
STAGES = {"ct": [FeatureSpec.map(8, (2, 2), (8, 8))], "table": [FeatureSpec.vector(6)]}


def built(tasks: tuple[TaskSpec, ...] = TASKS, **options) -> DrFuse:
    torch.manual_seed(0)
    given = {"ct": FeatureSpec.vector(8), "table": FeatureSpec.vector(6)}
    fusion = DrFuse(given, hidden_dim=16, **options)
    fusion.attach(STAGES, tasks)
    return fusion


def official(param: dict[str, Tensor]) -> DrFuse:
    """The released core; its features come as one vector, the shared half first."""
    given = {name: FeatureSpec.vector(32) for name in STAGES}
    fusion = DrFuse(given, hidden_dim=16)
    fusion.attach(STAGES, TASKS[:1])
    names = {
        "shared_project": "project",
        "attn_proj": "attention",
        "ehr_model.fc_distinct": "classify.table",
        "fuse_model_shared": "classify.shared",
        "cxr_model_linear": "classify.image",
    }
    state = fusion.state_dict()
    for key, value in param.items():
        for theirs, ours in names.items():
            if key.startswith(theirs):
                state[key.replace(theirs, ours)] = value
    for part, half in (("shared", 0), ("distinct", 1)):
        for name in ("table", "image"):
            state[f"{part}.{name}.weight"] = torch.eye(32)[16 * half : 16 * half + 16]
            state[f"{part}.{name}.bias"] = torch.zeros(16)
    fusion.load_state_dict(state)
    return fusion


@pytest.mark.parametrize("name", ["drfuse_core_K1_paired", "drfuse_core_K1_missing"])
def test_golden_of_the_released_code(name: str) -> None:
    golden = golden_rule.load(name)
    given, out, param = golden["in"], golden["out"], golden["param"]
    fusion = official(param)
    features = {
        "ct": torch.cat([given["img_shared"], given["img_distinct"]], dim=1),
        "table": torch.cat([given["ehr_shared"], given["ehr_distinct"]], dim=1),
    }
    paired = given["pairs"].bool()
    present = {"ct": paired, "table": torch.ones(4, dtype=torch.bool)}
    joined = fusion.join(features, Context(present, {"dx": given["y"][:, 0].long()}))
    close = {"atol": 1e-4, "rtol": 1e-4}
    fused = joined.features["logit0"]
    torch.testing.assert_close(fused, out["feat_final"][:, 0], **close)
    logit = F.linear(fused, param["final_pred_fc.weight"], param["final_pred_fc.bias"])
    torch.testing.assert_close(logit.sigmoid(), out["pred_final"], **close)
    losses = joined.losses
    torch.testing.assert_close(losses["table"], out["loss_pred_ehr"], **close)
    torch.testing.assert_close(losses["image"], out["loss_pred_img"], **close)
    torch.testing.assert_close(losses["shared"], out["loss_pred_shared"], **close)
    # The release's divergence also counts the rows without an image; ours doesn't.
    extra = out["jsd"] - joined_jsd(out, paired)
    torch.testing.assert_close(losses["disentangle"] + extra, out["loss_disentangle"], **close)
    final = F.binary_cross_entropy_with_logits(logit, given["y"])
    total = final + sum(losses.values()) + extra
    torch.testing.assert_close(total, out["loss_total"], **close)


def joined_jsd(out: dict[str, Tensor], paired: Tensor) -> Tensor:
    p = out["feat_ehr_shared"][paired].sigmoid()
    q = out["feat_cxr_shared"][paired].sigmoid()
    m = (p + q) / 2
    return 0.5 * (p * (p / m).log() + q * (q / m).log()).sum() / paired.sum()


def test_pooled_logits() -> None:
    a, b = torch.randn(2, 50).double()
    expected = torch.log(2 * (a + b).exp() + a.exp() + b.exp()) - torch.log(2 + a.exp() + b.exp())
    torch.testing.assert_close(pool_logits(a, b), expected)
    assert pool_logits(torch.tensor([200.0]), torch.tensor([-200.0])).isfinite().all()


def features(batch: int = 12) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {"ct": torch.randn(batch, 8), "table": torch.randn(batch, 6)}


def context(batch: int = 12, *, targets: bool = True, images: bool = True) -> Context:
    torch.manual_seed(2)
    present = {"ct": torch.full((batch,), images), "table": torch.ones(batch, dtype=torch.bool)}
    codes = {"dx": torch.randint(2, (batch,)), "stage": torch.randint(3, (batch,))}
    return Context(present, codes if targets else None)


def test_each_logit_comes_from_the_head_of_its_own_vector() -> None:
    fusion = built()
    assert list(fusion.outputs) == ["logit0", "logit1", "logit2", "logit3"]
    logits = {
        name: {
            "dx": torch.full((2, 1), 10.0 * i),
            "stage": 10.0 * i + torch.arange(3.0).repeat(2, 1),
        }
        for i, name in enumerate(fusion.outputs)
    }
    final = fusion.decide(logits, context(2))
    assert final["dx"].tolist() == [[0.0], [0.0]]
    assert final["stage"].tolist() == [[10.0, 21.0, 32.0]] * 2


def test_the_image_of_a_case_without_one_is_not_read() -> None:
    fusion = built()
    x = features()
    first = fusion.join(x, context(images=False))
    second = fusion.join(x | {"ct": 5 + x["ct"]}, context(images=False))
    torch.testing.assert_close(first.features, second.features)
    torch.testing.assert_close(first.losses, second.losses)


def test_missing_labels_do_not_count() -> None:
    fusion, x, some = built(), features(), context()
    codes = {task: value.clone() for task, value in some.targets.items()}
    for value in codes.values():
        value[6:] = -1
    losses = fusion.join(x, Context(some.present, codes)).losses
    half = {name: value[:6] for name, value in x.items()}
    kept = Context(
        {n: p[:6] for n, p in some.present.items()}, {t: c[:6] for t, c in codes.items()}
    )
    expected = fusion.join(half, kept).losses
    for name in ("table", "shared", "image", "ranking"):
        torch.testing.assert_close(losses[name], expected[name])


def test_without_targets_only_the_features_are_compared() -> None:
    assert list(built().join(features(), context(targets=False)).losses) == ["disentangle"]


def test_gradient_reaches_every_parameter() -> None:
    fusion = built()
    joined = fusion.join(features(), context())
    total = sum(x.square().sum() for x in joined.features.values()) + sum(joined.losses.values())
    total.backward()
    assert all(p.grad.abs().max() > 0 for p in fusion.parameters())
