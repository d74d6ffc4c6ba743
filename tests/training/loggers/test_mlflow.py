import importlib.util
import subprocess
import sys

import pytest

from fusionzoo.errors import MissingExtra
from fusionzoo.training.loggers.mlflow import Logger
from tests.training.loggers.told import SETTINGS

INSTALLED = all(importlib.util.find_spec(name) for name in ("mlflow", "sqlalchemy"))
#: In a process of its own: MLflow's dependencies change how Python finds packages.
TWICE = """
import sys
from pathlib import Path
from fusionzoo.training.loggers.mlflow import Logger
from tests.training.loggers.told import RESULTS, SETTINGS, tell

folder = Path(sys.argv[1]) / "runs" / "one"
with Logger(folder, "one", SETTINGS) as logger:
    tell(logger, "ct", 2)
    first = logger.run
with Logger(folder, "one", SETTINGS) as logger:
    tell(logger, "ct", 3, done=2)
    logger.results(RESULTS)
assert logger.run == first
assert (folder.parent / "mlflow.db").is_file()
found = logger.client.get_run(first)
assert found.info.run_name == "one"
assert found.info.status == "FINISHED"
assert found.data.params["spec"] == "ct=penet3d -> linear"
assert found.data.params["training"] == '{"epochs": 3}'
history = logger.client.get_metric_history(first, "ct/train_loss")
assert [(m.step, m.value) for m in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
assert found.data.metrics["test/relapse/fused/auroc"] == 0.75
with Logger(folder, "one", SETTINGS) as logger:
    assert logger.run != first
"""


def test_without_mlflow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(MissingExtra, match=r"pip install 'fusionzoo\[mlflow\]'"):
        Logger(tmp_path / "run", "run", SETTINGS)


@pytest.mark.skipif(not INSTALLED, reason="needs the extra mlflow")
def test_parameters_metrics_and_one_run_across_a_resume(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    command = [sys.executable, "-c", TWICE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
