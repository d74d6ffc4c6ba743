"""The loop: which place is called when, what is shared and stacked, what is missing."""

import pytest
import torch

from fusionzoo.errors import DataError
from fusionzoo.interface import Batch
from fusionzoo.models.assemble import assemble
from tests.models.toy_parts import DATA, LOG

pytestmark = pytest.mark.usefixtures("toys")


def batch_of(count=3, seed=0, absent=()):
    generator = torch.Generator().manual_seed(seed)
    inputs = {m.name: torch.randn(count, *m.shape, generator=generator) for m in DATA.modalities}
    present = {m.name: torch.ones(count, dtype=torch.bool) for m in DATA.modalities}
    for name, row in absent:
        inputs[name][row] = 0
        present[name][row] = False
    targets = {t.name: torch.zeros(count, dtype=torch.long) for t in DATA.tasks}
    return Batch(inputs, present, targets, torch.arange(count))


def run(spec, **options):
    model = assemble(spec, DATA, seed=0)
    return model, model(batch_of(**options))


def test_a_modality_alone_goes_from_encoder_to_head():
    model, output = run("table=toy_vector -> toy_head")
    assert LOG == ["table stage 0", "table stage 1", "head"]
    assert {name: tuple(x.shape) for name, x in output.logits.items()} == {
        "malignant": (3, 1),
        "grade": (3, 3),
    }
    assert output.by_output == {"table": output.logits}
    assert output.losses == {}
    assert (model.fusion, model.exchanges, model.supervised) == (None, False, {"final": 1.0})


def test_a_pyramid_is_what_each_stage_emits():
    model = assemble("derm=toy_maps -> toy_head", DATA)
    x = batch_of().inputs["derm"]
    pyramid = model.trunks["derm"].encoder(x)
    states = [model.trunks["derm"].encoder.convs[0](x)]
    states.append(model.trunks["derm"].encoder.convs[1](states[0]))
    for level, state in zip(pyramid, states, strict=True):
        torch.testing.assert_close(level, torch.relu(state))


def test_without_exchange_each_branch_runs_on_its_own():
    run("derm=toy_maps+toy_neck, table=toy_vector -> toy_refine+toy_join -> toy_head")
    assert [
        *("derm stem", "derm stage 0", "derm emit 0", "derm stage 1", "derm emit 1", "neck"),
        *("table stage 0", "table stage 1"),
        *("refine", "join", "head", "head", "decide"),
    ] == LOG


def test_with_exchange_all_encoders_go_stage_by_stage():
    spec = "ct=toy_maps(widths=(2, 3, 4)), table=toy_vector -> toy_exchange -> toy_head"
    model, output = run(spec)
    assert [
        "ct stem",
        *("ct stage 0", "table stage 0", "exchange 0", "ct emit 0"),
        *("ct stage 1", "table stage 1", "exchange 1", "ct emit 1"),
        *("ct stage 2", "exchange 2", "ct emit 2"),
        *("join", "head"),
    ] == LOG
    assert model.exchanges
    assert model.fusion.attached == ({"ct": 3, "table": 2}, 2)
    assert set(output.losses) == {"toy"}


def test_exchange_reaches_the_next_stage_and_the_features():
    model, output = run("table=toy_vector, labs=toy_vector -> toy_exchange -> toy_head")
    batch = batch_of()
    means = []
    for name in ("table", "labs"):
        first, second = model.trunks[name].encoder.layers
        means.append((second(first(batch.inputs[name]) + 1) + 1).mean(dim=1))
    expected = model.heads["fused"](sum(means)[:, None])
    torch.testing.assert_close(output.logits["grade"], expected["grade"])


def test_outputs_have_heads_of_their_own_and_decide_joins_them():
    model, output = run("table=toy_vector, labs=toy_vector -> toy_join -> toy_head")
    assert set(model.heads) == {"table", "labs"}
    assert model.supervised == {"table": 0.5, "labs": 0.5}
    each = torch.stack([output.by_output[name]["grade"] for name in ("table", "labs")])
    torch.testing.assert_close(output.logits["grade"], each.mean(0))


def test_shared_encoders_are_one_module():
    model, output = run("clinic=derm=toy_maps -> toy_join -> toy_head")
    assert [f.name for f in model.features] == ["clinic", "derm"]
    assert list(model.trunks) == ["clinic=derm"]
    assert [key for key in LOG if key.endswith("stem")] == ["clinic stem"]
    batch = batch_of()
    batch.inputs["clinic"] = batch.inputs["derm"]
    same = model(batch).by_output
    (features, _) = model.fusion.seen[-1]
    torch.testing.assert_close(features["clinic"], features["derm"])
    assert not torch.equal(same["clinic"]["grade"], output.by_output["clinic"]["grade"])


@pytest.mark.parametrize("neck", ["", "+toy_neck"])
def test_in_training_a_shared_encoder_sees_all_its_images_at_once(neck):
    model = assemble(f"clinic=derm=toy_maps{neck} -> toy_join -> toy_head", DATA, seed=0)
    batch, found = batch_of(), []
    for training in (True, False):
        LOG.clear()
        model.train(training).zero_grad()
        output = model(batch).logits["grade"]
        output.square().sum().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append((LOG.count("clinic stem"), [output.detach(), *gradients]))
    (at_once, joined), (one_by_one, apart) = found
    assert (at_once, one_by_one) == (1, 2)
    for a, b in zip(joined, apart, strict=True):
        torch.testing.assert_close(a, b)


def test_a_shared_encoder_with_batch_statistics_sees_one_image_after_the_other():
    model = assemble("clinic=derm=toy_maps -> toy_join -> toy_head", DATA, seed=0)
    model.trunks["clinic=derm"].encoder.own = torch.nn.BatchNorm2d(2)
    LOG.clear()
    model(batch_of())
    assert LOG.count("clinic stem") == 2


def test_shared_encoders_work_between_stages_too():
    _, output = run("clinic=derm=toy_maps -> toy_exchange -> toy_head")
    assert LOG.count("clinic stage 1") == 2
    assert torch.isfinite(output.logits["grade"]).all()


def test_stacked_inputs_are_joined_on_channels():
    model, _ = run("clinic+derm=toy_maps, table=toy_vector -> toy_join -> toy_head")
    feature = model.features[0]
    assert (feature.name, feature.modalities) == ("clinic+derm", ("clinic", "derm"))
    assert model.trunks["clinic+derm"].encoder.convs[0].in_channels == 6
    batch = batch_of()
    expected = torch.cat([batch.inputs["clinic"], batch.inputs["derm"]], dim=1)
    torch.testing.assert_close(model.read(feature, batch), expected)


def test_stacked_inputs_are_there_where_one_of_them_is():
    model = assemble("clinic+derm=toy_maps, table=toy_vector -> toy_join -> toy_head", DATA)
    absent = [("clinic", 0), ("clinic", 1), ("derm", 1)]
    context = model.context(batch_of(absent=absent))
    assert context.present["clinic+derm"].tolist() == [True, False, True]


ABSENT = [("table", 1), ("derm", 0)]


@pytest.mark.parametrize("layout", ["vector", "tokens", "map", "pyramid"])
def test_features_of_missing_modalities_are_zero(layout):
    spec = f"derm=toy_maps, clinic=toy_maps -> toy_join(layout={layout}) -> toy_head"
    model = assemble(spec, DATA)
    context = model.context(batch_of(absent=[("derm", 0)]))
    features = model.encode(batch_of(absent=[("derm", 0)]), context, {})
    features = {f.name: model.adapters[f.adapter](features[f.name]) for f in model.features}
    masked = model._without_missing(features, context)
    for name, absent in (("derm", True), ("clinic", False)):
        levels = masked[name] if layout == "pyramid" else [masked[name]]
        before = features[name] if layout == "pyramid" else [features[name]]
        for found, was in zip(levels, before, strict=True):
            assert bool((found[0] == 0).all()) == absent
            torch.testing.assert_close(found[1:], was[1:])


def test_a_missing_modality_that_is_not_finite_does_no_harm():
    model = assemble("table=toy_vector, labs=toy_vector -> toy_join -> toy_head", DATA)
    batch = batch_of(absent=[("table", 1)])
    batch.inputs["table"][1] = torch.nan
    assert torch.isfinite(model(batch).logits["grade"]).all()


def test_a_fusion_that_masks_by_itself_gets_what_there_is():
    spec = "table=toy_vector, labs=toy_vector -> toy_join(policy=mask) -> toy_head"
    model, _ = run(spec, absent=[("table", 1)])
    ((features, context),) = model.fusion.seen
    assert (features["table"][1] != 0).any()
    assert context.present["table"].tolist() == [True, False, True]


def test_a_fusion_that_refuses_missing_modalities_says_which():
    spec = "table=toy_vector, labs=toy_vector -> toy_join(policy=refuse) -> toy_head"
    run(spec)
    with pytest.raises(DataError) as caught:
        run(spec, absent=[("labs", 0), ("labs", 2)])
    assert str(caught.value) == (
        "1 problem in the input of ToyJoin, a fusion that needs every modality:\n"
        "  - 2 cases of a batch have no 'labs'. Leave them out, or use a fusion that takes them "
        "(concat, late)."
    )


def test_targets_are_shown_to_fusions_while_training_only():
    model, _ = run("table=toy_vector, labs=toy_vector -> toy_join -> toy_head")
    model.eval()
    model(batch_of())
    (_, training), (_, evaluation) = model.fusion.seen
    assert set(training.targets) == {"malignant", "grade"}
    assert training.index.tolist() == [0, 1, 2]
    assert (evaluation.targets, evaluation.index) == (None, None)


def test_the_last_fusion_of_a_chain_sees_what_was_not_refined():
    model, _ = run("derm=toy_maps, table=toy_vector -> toy_refine+toy_refine+toy_join -> toy_head")
    ((features, context),) = model.fusion.seen
    assert set(context.unrefined) == {"derm", "table"}
    for name, before in context.unrefined.items():
        assert torch.equal(features[name], 4 * before)
    model, _ = run("derm=toy_maps, table=toy_vector -> toy_join -> toy_head")
    assert model.fusion.seen[0][1].unrefined is None


def test_streams_that_are_known_are_not_encoded_again():
    model = assemble("derm=toy_maps, table=toy_vector -> toy_join -> toy_head", DATA).eval()
    batch = batch_of()
    known = {"derm": model.trunk(model.features[0])(model.read(model.features[0], batch))}
    whole = model(batch).logits
    LOG.clear()
    torch.testing.assert_close(model(batch, known).logits, whole)
    assert not any(entry.startswith("derm") for entry in LOG)


def test_known_streams_take_the_type_of_the_weights():
    """They may have been encoded before the weights were made double."""
    model = assemble("derm=toy_maps, table=toy_vector -> toy_join -> toy_head", DATA).eval()
    batch = batch_of()
    known = {"derm": model.trunk(model.features[0])(model.read(model.features[0], batch))}
    model.double()
    encoded = model.encode(batch, model.context(batch), known)["derm"]
    levels = encoded if isinstance(encoded, list) else [encoded]
    assert {level.dtype for level in levels} == {torch.float64}
    assert [x.dtype for x in model._typed([torch.zeros(1)])] == [torch.float64]
