"""From flags to a combo: what is not said comes from the data set."""

import pytest

from fusionzoo import registry
from fusionzoo.errors import BadOption, SpecError, UnknownComponent
from fusionzoo.models.complete import complete
from fusionzoo.spec import DataSpec, Modality, TaskSpec

TASKS = (TaskSpec("malignant", ("no", "yes")),)
CT, TABLE = Modality("ct", "volume", 1, (4, 8, 8)), Modality("table", "table", 7)
LUNG = DataSpec("lung", (CT, TABLE), TASKS)
SKIN = DataSpec(
    "skin",
    (
        Modality("clinic", "image", 3, (32, 32)),
        Modality("derm", "image", 3, (32, 32)),
        Modality("meta", "table", 4),
    ),
    TASKS,
)
ONLY_TABLE = DataSpec("table", (TABLE,), TASKS)


@pytest.mark.parametrize(
    ("encoders", "fusion", "head", "data", "spec"),
    [
        (["penet3d"], "msca", None, LUNG, "ct=penet3d, table=kan -> msca -> linear"),
        ([], "msca", None, LUNG, "ct=penet3d, table=kan -> msca -> linear"),
        (["mlp"], "concat", "mlp", LUNG, "ct=penet3d, table=mlp -> concat -> mlp"),
        (["mlp", "penet3d"], "late", None, LUNG, "ct=penet3d, table=mlp -> late -> linear"),
        (["penet3d+e3d_msca"], None, None, LUNG, "ct=penet3d+e3d_msca -> linear"),
        (["mlp"], None, None, LUNG, "table=mlp -> linear"),
        (["table=mlp, ct=penet3d"], "msca", None, LUNG, "ct=penet3d, table=mlp -> msca -> linear"),
        (
            ["ct=penet3d(width=0.25)", "table=kan"],
            "msca+late",
            "mlp(hidden=(8,))",
            LUNG,
            "ct=penet3d(width=0.25), table=kan -> msca+late -> mlp(hidden=(8))",
        ),
        (
            ["timm(resnet18)"],
            "concat",
            None,
            SKIN,
            "clinic=timm(resnet18), derm=timm(resnet18), meta=kan -> concat -> linear",
        ),
        (
            [],
            "concat",
            None,
            SKIN,
            "clinic=timm(resnet18), derm=timm(resnet18), meta=kan -> concat -> linear",
        ),
        (
            ["clinic=derm=timm(resnet18)"],
            "concat",
            None,
            SKIN,
            "clinic=derm=timm(resnet18), meta=kan -> concat -> linear",
        ),
        (["clinic+derm=timm(resnet18)"], None, None, SKIN, "clinic+derm=timm(resnet18) -> linear"),
        (
            ["derm=timm(resnet34)", "timm(resnet18)"],
            "concat",
            None,
            SKIN,
            "clinic=timm(resnet18), derm=timm(resnet34), meta=kan -> concat -> linear",
        ),
        ([], None, None, ONLY_TABLE, "table=kan -> linear"),
    ],
)
def test_what_is_not_said_is_filled(encoders, fusion, head, data, spec):
    assert str(complete(encoders, fusion, head, data)) == spec


@pytest.mark.parametrize(
    ("encoders", "fusion", "head", "message"),
    [
        (
            ["ct=penet3d", "ct=resnet3d"],
            None,
            None,
            "--encoder names 'ct' more than once. Give each modality one encoder.",
        ),
        (
            ["tabel=kan"],
            "concat",
            None,
            "No modality is called 'tabel'. Closest: table. Data set 'lung' has: ct, table.",
        ),
        (
            ["penet3d", "penet3d"],
            "concat",
            None,
            "Encoder 'penet3d' reads volume, and no such modality of 'lung' is left. "
            "It has: ct (volume), table (table).",
        ),
        (
            [],
            None,
            None,
            "2 modalities (ct, table) need a fusion: add --fusion concat, for instance. "
            f"'fusionzoo list fusions' shows all {len(registry.names('fusion'))}.",
        ),
        (["penet3d"], "msca", "linear+mlp", "The head is one component; 'linear+mlp' has 2."),
    ],
)
def test_what_can_not_be_filled_is_said(encoders, fusion, head, message):
    with pytest.raises(BadOption) as caught:
        complete(encoders, fusion, head, LUNG)
    assert str(caught.value) == message


def test_texts_that_can_not_be_read_show_their_place():
    with pytest.raises(SpecError, match=r"Expected ',' or the end of the encoders, found '->'"):
        complete(["penet3d -> linear"], None, None, LUNG)
    with pytest.raises(UnknownComponent, match="No encoder is called 'penet'"):
        complete(["penet"], None, None, LUNG)
