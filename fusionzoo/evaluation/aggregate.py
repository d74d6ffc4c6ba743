"""From parts to wholes: one prediction for all cases of a patient, or all parts of a case."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fusionzoo.errors import BadOption, RunError
from fusionzoo.evaluation.predictions import Predictions

HOWS = ("max", "mean")
WHOLES = ("patient", "case")


def aggregate(predictions: Predictions, how: str = "max", *, by: str = "patient") -> Predictions:
    """One row per patient or case instead of one per part, for every part, task and output.

    For two classes the probability of class 1 is the largest (`max`) or the mean of the parts, and
    class 0 gets the rest. For more classes this is done per class, and `max` is divided by its sum.

    Args:
        predictions: Predictions of parts: of all cases (windows, scans, lesions) of a patient, or
            of the windows or pairs of a case, which are called `case/0`, `case/1`, and so on.
        how: `max` or `mean`.
        by: `patient` or `case`; a case stays one of its patient.

    Raises:
        BadOption: Another `how` or `by`.
        RunError: Parts have different labels, so that there is none for the whole; or cases have
            no parts.
    """
    for value, known in ((how, HOWS), (by, WHOLES)):
        if value not in known:
            raise BadOption(
                f"Predictions can't be aggregated by {value!r}. There are: {', '.join(known)}."
            )
    frame = predictions.frame.assign(
        whole=predictions.frame["group"] if by == "patient" else _wholes(predictions.frame["case"])
    )
    keys = ["part", "task", "output", "group", "whole"]
    known_labels = frame[frame["label"] >= 0].groupby(keys)["label"].nunique()
    if (known_labels > 1).any():
        _, task, _, _, whole = known_labels.index[known_labels > 1][0]
        parts, remedy = {"patient": ("cases", "per case"), "case": ("parts", "part by part")}[by]
        raise RunError(
            f"Task {task!r}: {by} {whole!r} has {parts} with different labels, so none as a whole. "
            f"Score it {remedy} instead."
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
    return Predictions(rows.assign(case=rows["whole"]).drop(columns="whole"), predictions.tasks)


def _wholes(cases: pd.Series) -> pd.Series:
    """What stands before the last '/', where each such name has the parts 0, 1, 2, ..."""
    split = cases.str.rpartition("/")
    numbers = split[2].where(split[2].str.fullmatch("[0-9]+"), "-1").astype(int)
    parts = pd.DataFrame({"whole": split[0], "number": numbers}).drop_duplicates()
    counts = parts.groupby("whole")["number"].agg(["min", "max", "size"])
    wrong = counts[(counts["min"] != 0) | (counts["max"] != counts["size"] - 1)]
    if len(wrong) or (split[0] == "").any():
        shown = cases[(split[0] == "") | split[0].isin(wrong.index)].iloc[0]
        raise RunError(
            f"Cases of this run aren't called case/0, case/1, ..., as {shown!r}, so that they have "
            "no parts to put together. Score them as they are."
        )
    return split[0]
