"""From cases to patients: one prediction for all cases (windows, scans, lesions) of a group."""

from __future__ import annotations

import numpy as np

from fusionzoo.errors import BadOption, RunError
from fusionzoo.evaluation.predictions import Predictions

HOWS = ("max", "mean")


def aggregate(predictions: Predictions, how: str = "max") -> Predictions:
    """One row per patient instead of one per case, for every part, task and output.

    For two classes the probability of class 1 is the largest (`max`) or the mean of the patient's
    cases, and class 0 gets the rest. For more classes this is done per class, and `max` is divided
    by its sum.

    Args:
        predictions: Per-case predictions.
        how: `max` or `mean`.

    Raises:
        BadOption: Another `how`.
        RunError: Cases of one patient have different labels, so that there is no label for the
            patient.
    """
    if how not in HOWS:
        raise BadOption(
            f"Predictions can't be aggregated by {how!r}. There are: {', '.join(HOWS)}."
        )
    frame = predictions.frame
    keys = ["part", "task", "output", "group"]
    known = frame[frame["label"] >= 0].groupby(keys)["label"].nunique()
    if (known > 1).any():
        _, task, _, patient = known.index[known > 1][0]
        raise RunError(
            f"Task {task!r}: patient {patient!r} has cases with different labels, so none as a "
            "whole. Score it per case instead."
        )
    probs = [name for name in frame.columns if name[0] == "p" and name[1:].isdigit()]
    rows = frame.groupby(keys, as_index=False).agg({"label": "max", **dict.fromkeys(probs, how)})
    values = rows[probs].to_numpy(dtype=float, copy=True)
    binary = (
        rows["task"]
        .map({task.name: task.binary for task in predictions.tasks})
        .to_numpy(dtype=bool)
    )
    values[binary, 0] = 1 - values[binary, 1]
    rows[probs] = values / np.nansum(values, axis=1, keepdims=True)
    return Predictions(rows.assign(case=rows["group"]), predictions.tasks)
