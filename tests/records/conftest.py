import numpy as np
import pytest

from fusionzoo.evaluation.predictions import Predictions, prediction_rows
from fusionzoo.evaluation.report import evaluate
from fusionzoo.records.environment import collect_environment
from fusionzoo.records.record import (
    SCHEMA,
    Cost,
    DataFacts,
    RunRecord,
    SplitFacts,
    TrainingFacts,
)
from fusionzoo.spec import TaskSpec

TASK = TaskSpec("malignancy", ("benign", "malignant"))
ENVIRONMENT = collect_environment(kernels={"selective_scan": "reference"})


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    cases = [f"c{i}" for i in range(30)]
    blocks = []
    for part in ("val", "test"):
        labels = rng.integers(0, 2, 30)
        for output in ("fused", "ct"):
            named = {"part": part, "task": TASK, "output": output}
            probs = 0.3 * labels + 0.7 * rng.random(30)
            rows = prediction_rows(cases=cases, groups=cases, labels=labels, probs=probs, **named)
            blocks.append(rows)
    return Predictions.collect(blocks, [TASK])


@pytest.fixture
def make_record(predictions):
    """A record of these predictions; only the id varies."""

    def make(run_id="run-0"):
        return RunRecord(
            schema=SCHEMA,
            protocol="1",
            run_id=run_id,
            spec="ct=penet3d, table=kan -> msca -> linear",
            spec_hash="ab" * 32,
            options={"penet3d": {"width": 0.25, "depth": None}},
            conversions=("ct: pool 3 maps to vectors",),
            data=DataFacts("lidc", {"size": [12, 48, 48]}, "cd" * 32),
            split=SplitFacts("holdout(0.6, 0.2)", None, "ef" * 32, {"train": 90, "val": 30}),
            seed=0,
            training=TrainingFacts({"epochs": 2}, ({"epoch": 1, "loss": 0.7}, {"loss": 0.6})),
            evaluation=evaluate(predictions, replicates=30),
            predictions_digest=predictions.digest,
            cost=Cost(1234, flops=10**12, train_seconds=3.25),
            environment=ENVIRONMENT,
            started="2026-01-01T00:00:00+00:00",
            finished="2026-01-01T00:01:00+00:00",
        )

    return make
