"""A fusion that fits itself on training features, from the run to its saved model."""

import pytest
import torch
from safetensors.torch import load_file

from fusionzoo.api import open_run, run
from fusionzoo.fusions import pefusion
from tests.conftest import QUICK

SPEC = "ct=penet3d(depth=14, width=0.25), table=identity -> pefusion -> linear"


@pytest.mark.parametrize("recipe", ["staged", "joint"])
def test_the_elastic_net_of_a_run(small_data, tmp_path, monkeypatch, recipe: str) -> None:
    seen = []
    one = {"C": (1.0,), "l1_ratio": (0.1,), "class_weight": (None,), "max_iter": (500,)}
    monkeypatch.setattr(pefusion, "GRID", one)
    fit = pefusion.PEFusion.fit_features

    def watched(self, features, present, targets):
        seen.append((len(features["table"]), self.training, targets))
        fit(self, features, present, targets)

    monkeypatch.setattr(pefusion.PEFusion, "fit_features", watched)
    record = run(
        SPEC,
        dataset=str(small_data),
        device="cpu",
        out=tmp_path,
        training=QUICK | {"recipe": recipe, "balance": "oversample"},
    )
    ((cases, training, targets),) = seen
    assert not training
    assert cases == record.split.counts["train"]
    assert all(len(codes) == cases for codes in targets.values())
    saved = load_file(tmp_path / record.run_id / "model.safetensors")
    weights = {key: value for key, value in saved.items() if key.endswith("weight_0_0")}
    assert any(bool(value) for key, value in saved.items() if key.endswith(".fitted"))
    (weight,) = weights.values()
    assert weight.abs().max() > 0
    opened = open_run(tmp_path / record.run_id)
    again = opened.model(opened.data)
    assert torch.equal(again.fusion.weight_0_0, weight)
