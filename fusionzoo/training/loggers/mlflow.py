"""MLflow: a run of the experiment `fusionzoo`, on its server or in a file beside the runs."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusionzoo.errors import MissingExtra
from fusionzoo.training.loggers.logger import AbstractLogger

EXPERIMENT = "fusionzoo"
#: Tag by which a resumed run finds its MLflow run again.
TAG = "fusionzoo.run_id"
#: Characters that MLflow keeps of a parameter.
_MOST = 6000


class Logger(AbstractLogger):
    """Parameters, one metric a stage and value, and the results.

    Goes to `MLFLOW_TRACKING_URI` where that is set, else to `mlflow.db` in the folder of all runs:
    `mlflow ui --backend-store-uri sqlite:///runs/mlflow.db` shows it.

    Raises:
        MissingExtra: MLflow is not installed.
    """

    def __init__(self, folder: Path, run_id: str, settings: Mapping[str, Any]):
        super().__init__(folder, run_id, settings)
        try:
            import sqlalchemy as sqlalchemy
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise MissingExtra(
                "Logging to MLflow needs it to be installed: pip install 'fusionzoo[mlflow]'."
            ) from None
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        home = folder.absolute().parent
        home.mkdir(parents=True, exist_ok=True)
        address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}"
        self.client = MlflowClient(tracking_uri=address)
        self.run = self._found() or self._made()

    def _experiment(self) -> str:
        known = self.client.get_experiment_by_name(EXPERIMENT)
        if known is not None:
            return str(known.experiment_id)
        return str(self.client.create_experiment(EXPERIMENT))

    def _found(self) -> str | None:
        """The MLflow run of an earlier process that was interrupted."""
        query = f"tags.`{TAG}` = '{self.run_id}' and attributes.status != 'FINISHED'"
        runs = self.client.search_runs([self._experiment()], query, max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def _made(self) -> str:
        run = self.client.create_run(
            self._experiment(), run_name=self.run_id, tags={TAG: self.run_id}
        )
        for name, value in self.settings.items():
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            self.client.log_param(run.info.run_id, name, text[:_MOST])
        return str(run.info.run_id)

    def scalars(self, stage: str, epoch: int, values: Mapping[str, float]) -> None:
        """One point a value, at its epoch."""
        for name, value in values.items():
            self.client.log_metric(self.run, f"{stage}/{name}".replace(":", "-"), value, step=epoch)

    def results(self, values: Mapping[str, float]) -> None:
        """What came out at the end."""
        for name, value in values.items():
            self.client.log_metric(self.run, f"test/{name}".replace(":", "-"), value)
        self.client.set_terminated(self.run, "FINISHED")
