"""Temperature scaling: one number per task that makes probabilities honest, from validation cases.

Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, Sec. 4.2.
Differs from the paper: fitted on the saved probabilities, whose logarithms stand for the logits;
two classes have one logit, to which it is Platt's scaling without an offset.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusionzoo.errors import RunError
from fusionzoo.evaluation.metrics import check_scored
from fusionzoo.evaluation.predictions import Predictions, Selection
from fusionzoo.evaluation.weighted import LOG_FLOOR, Array, Labels
from fusionzoo.schema import dumps, from_json
from fusionzoo.storage import write_atomic

#: The file in a run's folder, and the version of its keys.
CALIBRATION, SCHEMA = "calibration.json", 1
#: Temperatures that are looked at, and labelled validation cases below which one is doubtful.
LOWEST, HIGHEST, FEW = 0.05, 20.0, 50
#: Mean log losses that differ by less are taken to be equal.
_FLAT = 1e-9


@dataclass(frozen=True)
class Temperature:
    """The temperature of one output for one task.

    Args:
        task: The task.
        output: The output.
        value: T; probabilities become softmax(log p / T), so that T above 1 makes them milder.
        num_cases: Labelled validation cases that it was fitted on.
        log_loss_before: Mean log loss of these cases at T = 1.
        log_loss_after: The same at T.
        reason: Why T is 1 although nothing was fitted, or what to beware of.
    """

    task: str
    output: str
    value: float
    num_cases: int
    log_loss_before: float
    log_loss_after: float
    reason: str = ""


@dataclass(frozen=True)
class Calibration:
    """All temperatures of a run.

    Args:
        schema: Version of these keys, `SCHEMA`.
        predictions_digest: Digest of the predictions that they were fitted on.
        temperatures: One per task and output.
    """

    schema: int
    predictions_digest: str
    temperatures: tuple[Temperature, ...]

    def of(self, task: str, output: str) -> Temperature:
        """One temperature; KeyError where there is none."""
        return {(t.task, t.output): t for t in self.temperatures}[task, output]


def scale(probs: Array, temperature: float) -> Array:
    """Probabilities at a temperature: softmax(log p / T) over the last axis.

    Example:
        >>> scale(np.array([0.2, 0.8]), 2.0).round(3).tolist()
        [0.333, 0.667]
    """
    if temperature == 1:
        return probs
    scores = np.log(np.clip(probs, LOG_FLOOR, 1.0)) / temperature
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def scale_threshold(threshold: float, temperature: float) -> float:
    """Where a threshold on the probability of class 1 comes to lie: the same cases are above it."""
    if threshold <= 0 or threshold >= 1:
        return threshold
    return float(scale(np.array([1 - threshold, threshold]), temperature)[1])


def fit_temperature(labels: Labels, probs: Array) -> tuple[float, str]:
    """The temperature of the least mean log loss, and what to beware of.

    The loss is convex in 1 / T, so there is one minimum; it is looked for between `LOWEST` and
    `HIGHEST`.

    Args:
        labels: Class codes, `cases`; -1 where missing.
        probs: `cases classes`.
    """
    from scipy.optimize import minimize_scalar

    known = check_scored(labels, probs).kept
    labels, probs = labels[known], probs[known]
    if len(set(labels.tolist())) < 2:
        return 1.0, "validation has fewer than two classes, so nothing was fitted"

    def loss(inverse: float) -> float:
        return mean_log_loss(labels, scale(probs, 1 / inverse))

    found = minimize_scalar(
        loss, bounds=(1 / HIGHEST, 1 / LOWEST), method="bounded", options={"xatol": 1e-6}
    )
    for edge in (LOWEST, HIGHEST):
        if loss(1 / edge) <= loss(found.x) + _FLAT:
            return edge, "at the edge of what is looked at: validation says nothing about it"
    few = f"fitted on {len(labels)} cases only" if len(labels) < FEW else ""
    return float(1 / found.x), few


def mean_log_loss(labels: Labels, probs: Array) -> float:
    """Mean of -log of the probability of the true class; NaN without a case."""
    if not len(labels):
        return float("nan")
    own = np.take_along_axis(probs, labels[:, None], axis=1)
    return float(-np.log(np.maximum(own, LOG_FLOOR)).mean())


def fit_calibration(predictions: Predictions) -> Calibration:
    """A temperature for every task and output, fitted on the part `val`.

    Raises:
        RunError: There is no validation part.
    """
    if "val" not in predictions.parts:
        raise RunError(
            f"The predictions have no part 'val' to fit a temperature on; they have "
            f"{', '.join(predictions.parts)}. Train with a validation part."
        )
    found = []
    for task in predictions.tasks:
        for output in predictions.outputs:
            chosen = predictions.select(part="val", task=task.name, output=output)
            found.append(_fitted(task.name, output, chosen))
    return Calibration(SCHEMA, predictions.digest, tuple(found))


def _fitted(task: str, output: str, chosen: Selection) -> Temperature:
    value, reason = fit_temperature(chosen.labels, chosen.probs)
    known = chosen.labels >= 0
    labels, probs = chosen.labels[known], chosen.probs[known]
    before, after = mean_log_loss(labels, probs), mean_log_loss(labels, scale(probs, value))
    return Temperature(task, output, value, len(labels), before, after, reason)


def calibrated(predictions: Predictions, calibration: Calibration) -> Predictions:
    """The same predictions with every probability at its temperature.

    Raises:
        RunError: The temperatures were fitted on other predictions.
    """
    _refuse_others(predictions, calibration, "the calibration")
    frame = predictions.frame.copy()
    for task in predictions.tasks:
        names = [f"p{k}" for k in range(len(task.classes))]
        for output in predictions.outputs:
            rows = (frame["task"] == task.name) & (frame["output"] == output)
            probs = frame.loc[rows, names].to_numpy(dtype=float)
            frame.loc[rows, names] = scale(probs, calibration.of(task.name, output).value)
    return Predictions(frame, predictions.tasks)


def load_or_fit(folder: str | os.PathLike[str], predictions: Predictions) -> Calibration:
    """The calibration in a run's folder; fitted and written there first where it isn't there yet.

    A file of other predictions, such as an earlier run of the same name left, is replaced.

    Args:
        folder: The run's folder.
        predictions: Its predictions.

    Raises:
        RunError: There is no validation part, or a file can't be read or written.
    """
    path = Path(folder) / CALIBRATION
    if path.is_file():
        found = read_calibration(path)
        if found.predictions_digest == predictions.digest:
            return found
    fitted = fit_calibration(predictions)
    write_atomic(path, dumps(fitted) + "\n")
    return fitted


def read_calibration(path: str | os.PathLike[str]) -> Calibration:
    """Read and check a file of temperatures.

    Raises:
        RunError: It is absent, damaged or of another version.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"Can't read {path} ({error}). Delete it; it is fitted again.") from error
    return from_json(Calibration, data, str(path))


def _refuse_others(predictions: Predictions, calibration: Calibration, what: str) -> None:
    if predictions.digest != calibration.predictions_digest:
        raise RunError(
            f"These predictions have digest {predictions.digest[:12]}, and {what} was fitted on "
            f"{calibration.predictions_digest[:12]}. Fit it again."
        )
