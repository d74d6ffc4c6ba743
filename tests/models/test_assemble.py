"""From a spec to a model: seeds, suggestions, plans, and every refusal with what would fit."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fusionzoo import registry
from fusionzoo.errors import (
    BadOption,
    LayoutMismatch,
    SpecError,
    UnknownComponent,
    WeightsError,
)
from fusionzoo.grammar import parse, spec_hash
from fusionzoo.models.assemble import assemble, assemble_meta, plan, suggest
from fusionzoo.spec import DataSpec, Modality, TaskSpec
from tests.models.toy_parts import DATA, ToyMaps

CT_TABLE = DataSpec(
    "lung",
    (Modality("ct", "volume", 1, (12, 48, 48)), Modality("table", "table", 7)),
    (TaskSpec("malignant", ("no", "yes")),),
    suggestions={"penet3d": {"width": 0.25, "depth": 14}, "mlp": {"channels": 8}},
)
pytestmark = pytest.mark.usefixtures("toys")

BOTH = "table=toy_vector, labs=toy_vector -> toy_join -> toy_head"


def weights(model, prefix=""):
    return {k: v.clone() for k, v in model.state_dict().items() if k.startswith(prefix)}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert one
    for key in one:
        assert torch.equal(one[key], other[key]), key


def test_a_seed_gives_the_same_weights_whatever_was_drawn_before():
    torch.manual_seed(1)
    first = assemble(BOTH, DATA, seed=3)
    torch.manual_seed(2)
    torch.rand(7)
    assert_equal(weights(first), weights(assemble(BOTH, DATA, seed=3)))
    other = weights(assemble(BOTH, DATA, seed=4))
    assert not torch.equal(
        weights(first)["heads.table.layers.0.weight"], other["heads.table.layers.0.weight"]
    )


# In a process of its own, because the type checker of the tests draws from python's generator.
DRAWS = """
import random
import numpy, torch
from fusionzoo.models.assemble import assemble, plan
from tests.models.toy_parts import DATA, register

def state():
    return random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

register()
before = state()
for build in (assemble, plan):
    for spec in ("table=toy_random -> linear", "ct=penet3d, table=kan -> msca -> linear"):
        build(spec, DATA)
        assert state() == before, (build, spec)
random.random()
assert state() != before
"""


def test_the_process_draws_as_if_nothing_had_been_built():
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", DRAWS], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_parts_that_draw_from_other_generators_are_seeded_too():
    first = assemble("table=toy_random -> linear", DATA, seed=5)
    random.seed(1)
    np.random.seed(1)
    second = assemble("table=toy_random -> linear", DATA, seed=5)
    assert_equal(weights(first), weights(second))


def test_a_branch_does_not_depend_on_the_others():
    alone = assemble("table=toy_vector -> toy_head", DATA)
    together = assemble("derm=toy_maps, " + BOTH, DATA)
    assert_equal(weights(alone, "trunks.table"), weights(together, "trunks.table"))
    assert_equal(weights(alone, "heads.table"), weights(together, "heads.table"))
    labs = weights(together, "trunks.labs")
    assert not torch.equal(
        labs["trunks.labs.encoder.layers.0.weight"],
        weights(together)["trunks.table.encoder.layers.0.weight"],
    )


def test_the_same_part_twice_in_a_chain_is_two_parts():
    spec = "ct=penet3d+e3d_msca+e3d_msca(channels=12) -> linear"
    resolved = plan(spec, CT_TABLE)
    assert resolved.options["ct:e3d_msca"]["channels"] == 24
    assert resolved.options["ct:e3d_msca:1"]["channels"] == 12
    first, second = assemble(spec, CT_TABLE).trunks["ct"].necks
    one, other = first.mixers[0].expand.conv.weight, second.mixers[0].expand.conv.weight
    assert not torch.equal(one, other)


def test_a_default_device_does_not_matter():
    with torch.device("meta"):
        model = assemble(BOTH, DATA)
    assert {p.device.type for p in model.parameters()} == {"cpu"}


def test_suggestions_are_written_out_and_can_be_overridden():
    resolved = plan("ct=penet3d(depth=26), table=mlp -> concat -> linear", CT_TABLE)
    assert str(resolved.combo) == (
        "ct=penet3d(depth=26, width=0.25), table=mlp(channels=8) -> concat -> linear"
    )
    assert resolved.options["ct:penet3d"]["width"] == 0.25
    assert resolved.options["ct:penet3d"]["depth"] == 26
    again = suggest(resolved.combo, CT_TABLE)
    assert again == resolved.combo


def test_a_suggestion_for_an_encoder_leaves_a_head_of_that_name_alone():
    combo = suggest(parse("table=mlp -> mlp"), CT_TABLE)
    assert str(combo) == "table=mlp(channels=8) -> mlp"


def test_an_option_without_its_name_means_the_same():
    data = DataSpec("d", (Modality("derm", "image", 3, (32, 32)),), CT_TABLE.tasks)
    one = plan("derm=timm(resnet18) -> linear", data)
    other = plan("derm=timm(name=resnet18) -> linear", data)
    assert one.hash == other.hash == spec_hash(one.combo)
    with pytest.raises(BadOption, match="given the option 'name' twice"):
        plan("derm=timm(resnet18, name=resnet34) -> linear", data)


MMCAF = "ct=penet3d+e3d_msca(dropout=0.3), table=kan -> msca -> linear"


def test_a_plan_shows_parts_conversions_shapes_and_parameters():
    resolved = plan("ct=penet3d, table=kan -> msca -> linear", CT_TABLE)
    rows = [(s.feature, s.part, s.gives, s.parameters, s.conversion) for s in resolved.stages]
    penet = "penet3d(depth=14, width=0.25)"
    pyramid = "pyramid of 3 maps (64x6x12x12, 128x3x6x6, 256x2x3x3)"
    model = assemble("ct=penet3d, table=kan -> msca -> linear", CT_TABLE)
    summary = sum(p.numel() for p in model.trunks["ct"].reduction.parameters())
    encoder = sum(p.numel() for p in model.trunks["ct"].encoder.parameters())
    assert rows == [
        ("ct", penet, pyramid, encoder, False),
        ("table", "kan", "vector of 24 channels", 1680, False),
        ("ct", "summary", "vector of 64 channels", summary, True),
        ("ct", "project to 24", "vector of 24 channels", 64 * 24 + 24, True),
        ("fusion", "msca", "fused: vector of 24 channels", 4848, False),
        ("head fused", "linear", "malignant: 1 logit", 25, False),
    ]
    assert resolved.conversions == (
        "ct: summary -> vector of 64 channels",
        "ct: project to 24 -> vector of 24 channels",
    )
    assert sum(row[3] for row in rows) == sum(p.numel() for p in model.parameters())
    assert model.plan == resolved


def test_a_plan_of_the_full_size_allocates_nothing():
    full = DataSpec("full", (Modality("ct", "volume", 1, (12, 192, 192)), CT_TABLE.modalities[1]), CT_TABLE.tasks)  # fmt: skip # noqa: E501
    model = assemble_meta(MMCAF, full)
    assert {t.device.type for t in model.state_dict().values()} == {"meta"}
    assert model.training
    assert sum(s.parameters for s in model.plan.stages) == sum(
        p.numel() for p in model.parameters()
    )


@pytest.mark.parametrize(
    ("name", "works"), [("keys", False), ("type", False), ("training", False), ("fused", False),
                        ("final", False), ("key", True), ("kind", True)]
)  # fmt: skip
def test_a_modality_with_a_name_that_models_need_is_refused(name, works):
    data = DataSpec("mine", (Modality(name, "table", 3),), CT_TABLE.tasks)
    if works:
        assert assemble(f"{name}=mlp -> linear", data)
        return
    with pytest.raises(BadOption) as caught:
        assemble(f"{name}=mlp -> linear", data)
    assert str(caught.value) == (
        f"A modality can't be called {name!r}: models use that name themselves. Rename it in data "
        f"set 'mine', to '{name}_input' for instance."
    )


def test_all_unknown_names_are_told_at_once():
    with pytest.raises(UnknownComponent) as caught:
        plan("cts=toy_map+toy_nek, table=kan -> msac -> liner", DATA)
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "Data set 'toy' has no modality 'cts'. Closest: ct. It has: derm, clinic, ct, table, labs."
    )
    starts = ["Data", "No encoder", "No neck", "No fusion", "No head"]
    assert all(map(str.startswith, lines, starts))
    assert len(lines) == 5


def test_texts_and_options_that_can_not_be_read():
    with pytest.raises(SpecError):
        assemble("ct=", DATA)
    with pytest.raises(BadOption) as caught:
        assemble("table=toy_vector(chanels=3) -> linear", DATA)
    assert str(caught.value) == (
        "Encoder 'toy_vector' has no option 'chanels'. Closest: channels. "
        "It takes: channels, more. Given in 'table=toy_vector(chanels=3) -> linear'."
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "table=mlp(channels=-3) -> linear",
            "Encoder 'mlp(channels=-3)' for 'table' can't be built: ",
        ),
        (
            "table=mlp(dropout=2) -> linear",
            "Encoder 'mlp(dropout=2)' for 'table' can't be built: dropout probability has to be "
            "between 0 and 1, but got 2",
        ),
        (
            "ct=penet3d(depth=15) -> linear",
            "Encoder 'penet3d(depth=15)' for 'ct': Encoder 'penet3d' has no depth 15.",
        ),
    ],
)
def test_options_that_a_part_can_not_use(spec, message):
    with pytest.raises(BadOption) as caught:
        plan(spec, DATA)
    assert str(caught.value).startswith(message)


def test_a_file_of_weights_is_looked_for_before_anything_is_trained():
    with pytest.raises(WeightsError, match=r"No weights file at 'nowhere\.pt'"):
        plan("table=mlp(weights='nowhere.pt') -> linear", DATA)


def refusal(spec, data=DATA):
    with pytest.raises(LayoutMismatch) as caught:
        plan(spec, data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "ct=kan -> linear",
            "Encoder 'kan' reads table; 'ct' is a volume of shape (1, 4, 8, 8). "
            "Encoders that fit: ",
        ),
        (
            "table=toy_vector, labs=kan+e3d_msca -> concat -> linear",
            "Neck 'e3d_msca' needs a pyramid with 3 spatial axes for 'labs'; encoder 'kan' gives a "
            "vector of 24 channels. No encoder of the zoo gives that for this modality.",
        ),
        (
            "ct=toy_maps(widths=(4,))+e3d_msca -> linear",
            "Neck 'e3d_msca' needs a pyramid with 3 spatial axes for 'ct'; encoder 'toy_maps' "
            "gives a map 4x2x4x4. Encoders that do: ",
        ),
        (
            "derm=toy_maps(widths=(2, 2, 2))+toy_neck -> linear",
            "Neck 'toy_neck' needs a pyramid of 2 maps with 2 spatial axes for 'derm'; encoder "
            "'toy_maps' gives a pyramid of 3 maps (2x4x4, 2x2x2, 2x1x1). Encoders that do: ",
        ),
        (
            "table=toy_vector, derm=toy_maps -> toy_join(layout=map) -> linear",
            "Fusion 'toy_join' needs a map for 'table'; encoder 'toy_vector' gives a vector of 4 "
            "channels. No encoder of the zoo gives that for this modality.",
        ),
        (
            "derm=toy_whole, clinic=toy_maps -> toy_join(layout=pyramid) -> linear",
            "Fusion 'toy_join' needs a pyramid for 'derm'; encoder 'toy_whole' gives a map 4x8x8. "
            "Encoders that do: ",
        ),
        (
            "derm=toy_whole, table=toy_vector -> toy_exchange -> linear",
            "Fusion 'toy_exchange' exchanges features between the encoders' stages; the encoder of "
            "derm can't be run stage by stage. Use a staged encoder (penet3d, mlp) or a fusion "
            "that joins at the end.",
        ),
        (
            "table=mlp -> msca -> linear",
            "Fusion 'msca' joins at least 2 modalities; the spec has 1 (table). "
            "Leave it out: '... -> linear'.",
        ),
        (
            "ct=penet3d, table=mlp, labs=mlp -> daft -> linear",
            "Fusion 'daft' joins exactly 2 modalities; the spec has 3 (ct, table, labs). "
            "Fusions for any number: concat, late.",
        ),
        (
            "table=mlp, labs=mlp -> concat+late -> linear",
            "Fusion 'concat' ends a chain; '+late' can't come after it.",
        ),
        (
            "table=mlp, labs=mlp -> toy_refine -> linear",
            "Fusion 'toy_refine' refines features and can't end a chain; add one that joins: "
            "'toy_refine+concat'.",
        ),
        (
            "table=mlp, labs=mlp -> toy_refine+toy_join(width=7) -> linear",
            "Fusion 'toy_join' needs a vector of 7 channels for 'table'; the fusion before it "
            "gives a vector of 24 channels.",
        ),
        (
            "derm=ct=toy_maps -> concat -> linear",
            "'derm' and 'ct' can't share an encoder: one is a image of (3, 8, 8), the other a "
            "volume of (1, 4, 8, 8). Give each its own: 'derm=toy_maps, ct=toy_maps'.",
        ),
        (
            "derm+table=toy_maps -> linear",
            "Inputs stacked on channels need one kind and size: derm is a image of (3, 8, 8), "
            "table is a table of (5,). Give each an encoder of its own, or resize them in the "
            "data set.",
        ),
    ],
)
def test_refusals_say_what_was_found_and_what_would_fit(spec, message):
    found = refusal(spec)
    assert found.startswith(message) if message.endswith(": ") else found == message


def test_an_encoder_that_would_fit_is_named():
    found = refusal("ct=toy_maps(widths=(4,))+e3d_msca -> linear")
    named = found.rpartition("Encoders that do: ")[2].removesuffix(".").split(", ")
    assert {"penet3d", "toy_maps"} <= set(named)
    assert "kan" not in named


def test_shared_encoders_must_be_wanted_alike(monkeypatch):
    from tests.models.toy_parts import ToyJoin

    def needs(cls, given, **options):
        return {name: Need(("vector",), channels=8 + i) for i, name in enumerate(given)}

    from fusionzoo.spec import Need

    monkeypatch.setattr(ToyJoin, "needs", classmethod(needs))
    assert refusal("clinic=derm=toy_maps -> toy_join -> linear") == (
        "clinic=derm share one encoder, but the fusion needs a vector of 8 channels of one and a "
        "vector of 9 channels of the other. Give each an encoder of its own: 'derm=toy_maps'."
    )


def test_the_first_neck_is_told_what_the_encoder_gives():
    assert "encoder 'toy_whole' gives a map" in refusal("derm=toy_whole+toy_neck -> linear")
    twice = refusal("derm=toy_maps+toy_neck+e3d_msca -> linear")
    assert "neck 'toy_neck' gives a pyramid of 2 maps (8x4x4, 16x2x2)" in twice


def test_a_part_that_reads_values_while_it_is_made_can_be_planned():
    class Reads(ToyMaps):
        def __init__(self, modality, *, widths: tuple[int, ...] = (4, 8)):
            super().__init__(modality, widths=widths)
            self.rates = [rate.item() for rate in torch.linspace(0, 0.5, 3)]

    with registry.lent("encoder", "reads", Reads):
        model = assemble_meta("ct=reads -> linear", DATA)
        assert {p.device.type for p in model.parameters()} == {"meta"}
        assert model.trunks["ct"].encoder.rates == [0.0, 0.25, 0.5]
