import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fusionzoo.api import open_run
from tests import small_manifest


def test_a_run_that_is_logged(call, tmp_path):
    path = small_manifest.write(tmp_path / "data")
    out = tmp_path / "runs"
    quick = ["--set", "fuse_epochs=2", "--device", "cpu", "--out", out, "--dataset", path]
    spec = ["--spec", "table=mlp -> linear", "--logger", "tensorboard"]
    code, _, errors = call("run", *spec, *quick)
    assert code == 0, errors
    (run,) = (p.parent for p in out.glob("*/record.json"))
    events = EventAccumulator(str(run / "tensorboard" / "table"))
    events.Reload()
    record = open_run(run).record
    losses = [report["train_loss"] for report in record.training.history]
    found = [event.value for event in events.Scalars("train_loss")]
    assert found == pytest.approx(losses, rel=1e-5)
    results = EventAccumulator(str(run / "tensorboard" / "results"))
    results.Reload()
    (auroc,) = results.Scalars("relapse/table/auroc")
    value = record.evaluation.row("relapse", "table").metrics["auroc"].value
    assert abs(auroc.value - value) < 1e-6
    code, _, errors = call("run", *spec[:2], "--logger", "wanbd", *quick)
    assert (code, "Closest: wandb" in errors) == (2, True)
