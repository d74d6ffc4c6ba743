from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusionzoo.evaluation.predictions import Predictions, prediction_rows
from fusionzoo.spec import TaskSpec

GOLDEN = Path(__file__).parents[1] / "golden" / "evaluation"
BINARY = TaskSpec("malignancy", ("benign", "malignant"))
GRADES = TaskSpec("grade", ("low", "middle", "high"))


@pytest.fixture
def squamous():
    """43 patients of a published test set: label, and the probability that its model gave."""
    return pd.read_csv(GOLDEN / "squamous_43_patients.csv")


def make_predictions(*, cases_per_patient=2, tasks=(BINARY, GRADES), num_patients=40, seed=0):
    """Predictions of three outputs, the fused one the best, with some labels missing."""
    rng = np.random.default_rng(seed)
    blocks = []
    for part in ("val", "test"):
        num_cases = num_patients * cases_per_patient
        cases = [f"{part}-{i:03d}" for i in range(num_cases)]
        groups = [f"{part}-patient-{i // cases_per_patient:03d}" for i in range(num_cases)]
        for task in tasks:
            classes = len(task.classes)
            labels = rng.integers(0, classes, num_cases)
            labels[:2] = -1
            for output, signal in (("fused", 1.5), ("ct", 0.7), ("table", 0.4)):
                logits = rng.normal(size=(num_cases, classes)) + signal * np.eye(classes)[labels]
                probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
                named = {"part": part, "task": task, "output": output}
                blocks.append(
                    prediction_rows(cases=cases, groups=groups, labels=labels, probs=probs, **named)
                )
    return Predictions.collect(blocks, tasks)


@pytest.fixture
def predictions():
    return make_predictions()


@pytest.fixture
def independent():
    """One case a patient, one task."""
    return make_predictions(cases_per_patient=1, tasks=(BINARY,), num_patients=60)
