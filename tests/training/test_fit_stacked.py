"""A fusion with a second stage on cases held out, from the run to its saved model."""

import numpy as np
import pytest

from fusionzoo.api import open_run, predict_cases, run
from fusionzoo.fusions.fusionm4net import FusionM4Net
from fusionzoo.training import stages
from fusionzoo.training.observer import Observer
from tests.conftest import QUICK

FUSION = "fusionm4net(embed_dim=8, hidden_dim=16)"
SPEC = f"ct=penet3d(depth=14, width=0.25), table=identity -> {FUSION} -> linear"


class Notes(Observer):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize("recipe", ["staged", "joint"])
def test_the_second_stage_of_a_run(small_data, tmp_path, monkeypatch, recipe: str) -> None:
    told, parts, notes = [], [], Notes()
    fit, part = FusionM4Net.fit_stacked, stages.part_by_patient

    def watched(self, *judged):
        told.append(judged)
        fit(self, *judged)

    def parted(rows, groups, share, seed):
        parts.append((len(rows), share, *part(rows, groups, share, seed)))
        return parts[-1][2:]

    monkeypatch.setattr(FusionM4Net, "fit_stacked", watched)
    monkeypatch.setattr(stages, "part_by_patient", parted)
    settings = QUICK | {"recipe": recipe, "balance": "oversample"}
    record = run(
        SPEC,
        dataset=str(small_data),
        device="cpu",
        out=tmp_path,
        training=settings,
        observer=notes,
    )
    ((count, share, first, second),) = parts  # the second model has no second model of its own
    assert (count, share) == (record.split.counts["train"], 0.5)
    ((logits, targets, _, val_targets),) = told
    assert set(logits) == {"ct", "table", "columns"}
    assert [len(t["relapse"]) for t in (targets, val_targets)] == [
        len(second),
        record.split.counts["val"],
    ]
    assert any(f"on {len(first)} of the {count} training cases" in text for text in notes.notes)
    trained = {epoch["stage"] for epoch in record.training.history}
    alone = {"ct", "table", "held-out ct"} if recipe == "staged" else set()
    assert trained == {"fused", "held-out fused"} | alone
    opened = open_run(tmp_path / record.run_id)
    assert opened.model(opened.data).fusion.machines[0].fitted
    kept = opened.predictions().select(part="test", task="relapse", output="fused")
    again = predict_cases(opened, str(small_data)).set_index("case").loc[kept.cases]
    np.testing.assert_allclose(again["p_1"], kept.probs[:, 1], atol=1e-6)
