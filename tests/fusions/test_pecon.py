"""PECon: the released embedder and loss, two stages in one run, missing modalities."""

import pytest
import torch
from torch import Tensor, nn

from fusionzoo.errors import BadOption
from fusionzoo.fusions.pecon import Embedder, PECon
from fusionzoo.interface import Context
from fusionzoo.losses.contrastive import symmetric_info_nce
from fusionzoo.spec import FeatureSpec
from tests import golden_rule

GIVEN = {"ct": FeatureSpec.vector(10), "table": FeatureSpec.vector(7)}
STAGES = {"ct": [FeatureSpec.map(10, (2, 2), (8, 8))], "table": [FeatureSpec.vector(7)]}


def fusion(**options) -> PECon:
    torch.manual_seed(0)
    made = PECon(GIVEN, **{"embed_dim": 8, "align_steps": 2} | options)
    made.attach(STAGES, [])
    return made


def context(batch: int, **fields) -> Context:
    return Context({name: torch.ones(batch, dtype=torch.bool) for name in GIVEN}, **fields)


def vectors(batch: int = 6) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {name: torch.randn(batch, s.channels, requires_grad=True) for name, s in GIVEN.items()}


def test_golden_image_embedder_and_classifier() -> None:
    golden, state = golden_rule.load("pecon_img_head"), golden_rule.ruled_state("pecon_img_head")
    embedder, classifier = Embedder((2048, 512, 256, 128), dropout=0.5).eval(), nn.Linear(128, 2)
    places = {"fc1": "0", "fc2": "3", "fc3": "5"}
    embedder.load_state_dict(
        {
            f"{place}.{part}": state[f"img_model.{name}.{part}"]
            for name, place in places.items()
            for part in ("weight", "bias")
        }
    )
    classifier.load_state_dict({p: state[f"classifier.{p}"] for p in ("weight", "bias")})
    z = embedder(golden["in"]["x"])
    torch.testing.assert_close(z, golden["out"]["z"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(classifier(z), golden["out"]["logits"], atol=1e-4, rtol=1e-4)


def test_golden_loss() -> None:
    golden = golden_rule.load("pecon_clip_loss")
    made = fusion(align_steps=1)
    assert made.logit_scale.item() == pytest.approx(golden["param"]["logit_scale"].item())
    made.embedders["ct"], made.embedders["table"] = nn.Linear(10, 8), nn.Linear(7, 8)
    for ours, theirs in (("ct", "visual"), ("table", "text")):
        part = {p: golden["param"][f"{theirs}.l.{p}"] for p in ("weight", "bias")}
        made.embedders[ours].load_state_dict(part)
    joined = made.join({"ct": golden["in"]["image"], "table": golden["in"]["text"]}, context(5))
    loss = joined.losses["contrastive"]
    torch.testing.assert_close(loss, golden["out"]["loss"], atol=1e-4, rtol=1e-4)


def test_images_and_tables_have_embedders_of_their_own() -> None:
    made = PECon(GIVEN)
    made.attach(STAGES, [])
    widths = {
        name: [layer.out_features for layer in part if isinstance(layer, nn.Linear)]
        for name, part in made.embedders.items()
    }
    assert widths == {"ct": [512, 256, 128], "table": [128, 128]}
    drops = [layer.p for part in made.embedders.values() for layer in part if "Drop" in str(layer)]
    assert drops == [0.5, 0.4]


def test_first_aligns_then_classifies() -> None:
    made, x = fusion(), vectors()
    for _ in range(2):
        joined = made.join(x, context(6))
        assert set(joined.losses) == {"contrastive"}
        assert not any(z.requires_grad for z in joined.features.values())
    joined = made.join(x, context(6))
    assert joined.losses == {}
    assert all(z.requires_grad for z in joined.features.values())
    assert made.state_dict()["steps"] == 3


def test_evaluation_does_not_count_steps() -> None:
    made = fusion().eval()
    assert made.join(vectors(), context(6)).losses == {}
    assert made.steps == 0


def test_joint_has_both_losses_at_every_step() -> None:
    made = fusion(stages="joint", align_steps=0, weight=0.5)
    for _ in range(2):
        joined = made.eval().train().join(vectors(), context(6))
        assert all(z.requires_grad for z in joined.features.values())
        assert joined.losses["contrastive"] > 0


def test_cases_without_both_modalities_are_left_out_of_the_alignment() -> None:
    made, x, partly = fusion(), vectors(), context(6)
    for part in made.embedders.values():
        part[2].p = 0.0
    partly.present["table"][[1, 4]] = False
    kept = {name: value[[0, 2, 3, 5]] for name, value in x.items()}
    z = {name: made.embedders[name](value) for name, value in kept.items()}
    expected = symmetric_info_nce(z["ct"], z["table"], made.logit_scale.exp())
    torch.testing.assert_close(made.join(x, partly).losses["contrastive"], expected)
    partly.present["ct"][:] = False
    assert made.join(x, partly).losses["contrastive"] == 0


def test_logits_are_averaged_over_what_is_there() -> None:
    made, some = fusion(), context(4)
    logits = {name: {"dx": torch.randn(4, 1)} for name in GIVEN}
    some.present["ct"][[1, 3]] = False
    some.present["table"][3] = False
    final = made.decide(logits, some)["dx"]
    both = (logits["ct"]["dx"] + logits["table"]["dx"]) / 2
    expected = torch.stack([both[0], logits["table"]["dx"][1], both[2], both[3]])
    torch.testing.assert_close(final, expected)


@pytest.mark.parametrize("steps_before", [0, 2])
def test_gradient_reaches_every_parameter_and_modality(steps_before: int) -> None:
    made, x = fusion(), vectors(16)
    made.steps += steps_before
    joined = made.join(x, context(16))
    total = sum(joined.losses.values()) + sum(z.square().sum() for z in joined.features.values())
    total.backward()
    learn = dict(made.named_parameters())
    if steps_before:
        learn.pop("logit_scale")
    assert all(p.grad.abs().max() > 0 for p in [*learn.values(), *x.values()])


def test_negative_steps_are_refused() -> None:
    with pytest.raises(BadOption, match="align_steps=-1 is no number of steps"):
        PECon(GIVEN, align_steps=-1)
