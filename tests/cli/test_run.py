"""`fusionzoo run` with weights from files: they are tested, kept apart, and refused in words."""

import json

import pytest
import torch

from fusionzoo.data.datasets.manifest import Manifest
from fusionzoo.models.assemble import assemble

SPEC = "table=mlp -> linear"


@pytest.fixture
def weights(small_data, tmp_path):
    """Encoder weights of another seed."""
    donor = assemble(SPEC, Manifest(path=small_data).spec, seed=9).trunks["table"].encoder
    torch.save(donor.state_dict(), tmp_path / "mlp.pt")
    return tmp_path / "mlp.pt"


def test_weights_are_tested_without_training(call, small_data, weights, tmp_path):
    common = ("run", "--spec", SPEC, "--dataset", small_data, "--out", tmp_path / "runs")
    common += ("--device", "cpu", "--set", "recipe=untrained")
    code, out, _ = call(*common, "--weights", f"mlp={weights}")
    assert code == 0
    assert f"weights={str(weights)!r}" in out
    assert "trained in 0 s" in out
    (record,) = (tmp_path / "runs").glob("*/record.json")
    told = json.loads(record.read_text())
    assert told["training"]["settings"]["recipe"] == "untrained"
    assert told["training"]["history"] == []
    code, _, _ = call(*common)
    assert code == 0
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 2


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("mpl={}", "names a part 'mpl'. Closest: mlp. The spec has: mlp, linear."),
        ("{}", "doesn't fit head 'linear'"),
        ("mlp={}x", "No weights file at"),
    ],
)
def test_weights_that_do_not_fit(call, small_data, weights, tmp_path, told, said):
    code, _, errors = call(
        *("run", "--spec", SPEC, "--dataset", small_data, "--out", tmp_path / "runs"),
        *("--set", "recipe=untrained", "--weights", told.format(weights)),
    )
    assert code == 2
    assert said in errors
    assert "Traceback" not in errors
