import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionzoo.errors import RunError
from fusionzoo.evaluation.calibration import (
    CALIBRATION,
    calibrated,
    fit_calibration,
    fit_temperature,
    load_or_fit,
    read_calibration,
    scale,
    scale_threshold,
)
from fusionzoo.evaluation.predictions import Predictions, prediction_rows
from fusionzoo.spec import TaskSpec

TASKS = (TaskSpec("bad", ("no", "yes")), TaskSpec("grade", ("a", "b", "c")))


def overconfident(num, sharpness, classes, seed=0):
    """Labels drawn from honest probabilities, and probabilities that are sharper by a factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (num, classes))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (honest.cumsum(axis=1) > rng.random((num, 1))).argmax(axis=1)
    return labels, scale(honest, 1 / sharpness), honest


def predictions(num=400, parts=("val", "test"), sharpness=3.0):
    blocks = []
    for number, part in enumerate(parts):
        for task in TASKS:
            labels, probs, _ = overconfident(num, sharpness, len(task.classes), number)
            labels[:3] = -1
            for output in ("fused", "ct"):
                blocks.append(
                    prediction_rows(
                        cases=[f"{part}{i}" for i in range(num)],
                        groups=[f"{part}{i // 2}" for i in range(num)],
                        part=part,
                        task=task,
                        output=output,
                        labels=labels,
                        probs=probs,
                    )
                )
    return Predictions.collect(blocks, TASKS)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_over_and_underconfidence(classes, sharpness):
    labels, probs, honest = overconfident(20_000, sharpness, classes)
    value, reason = fit_temperature(labels, probs)
    assert value == pytest.approx(sharpness, rel=0.05)
    assert reason == ""
    np.testing.assert_allclose(scale(probs, sharpness), honest, atol=2e-5)


def test_it_is_the_minimum_of_the_loss():
    labels, probs, _ = overconfident(300, 2.0, 3)
    value, _ = fit_temperature(labels, probs)
    logits = np.log(probs)

    def loss(temperature):
        scores = logits / temperature
        log_probs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return -log_probs[np.arange(len(labels)), labels].mean()

    grid = np.linspace(0.3, 6, 2000)
    assert value == pytest.approx(grid[np.argmin([loss(t) for t in grid])], abs=0.005)


def test_two_classes_are_a_sigmoid_of_the_scaled_logit():
    logit, temperature = 1.7, 2.5
    prob = 1 / (1 + np.exp(-logit))
    expected = 1 / (1 + np.exp(-logit / temperature))
    assert scale(np.array([1 - prob, prob]), temperature)[1] == pytest.approx(expected, rel=1e-12)


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0.01, 0.99), st.floats(0.1, 10)
)
def test_order_and_calls_stay_the_same(positives, threshold, temperature):
    p = np.array(positives)
    scaled = scale(np.stack([1 - p, p], axis=1), temperature)
    assert ((scaled >= 0) & (scaled <= 1)).all()
    np.testing.assert_allclose(scaled.sum(axis=1), 1, atol=1e-12)
    assert (np.diff(scaled[np.argsort(p, kind="stable"), 1]) >= -1e-15).all()
    clear = np.abs(p - threshold) > 1e-9
    called = scaled[:, 1] >= scale_threshold(threshold, temperature)
    np.testing.assert_array_equal(called[clear], (p >= threshold)[clear])


def test_certain_probabilities_stay_finite():
    scaled = scale(np.array([[0.0, 1.0], [1.0, 0.0]]), 0.5)
    assert np.isfinite(scaled).all()
    assert scale_threshold(1.0, 3.0) == 1.0


def test_every_task_and_output_has_one_and_labels_of_the_test_part_have_no_say():
    made = predictions()
    found = fit_calibration(made)
    assert [(t.task, t.output) for t in found.temperatures] == [
        (task.name, output) for task in TASKS for output in ("fused", "ct")
    ]
    assert all(t.num_cases == 397 for t in found.temperatures)
    assert all(t.log_loss_after < t.log_loss_before for t in found.temperatures)
    frame = made.frame.copy()
    test = frame["part"] == "test"
    frame.loc[test & (frame["label"] >= 0), "label"] = 0
    again = fit_calibration(Predictions(frame, TASKS))
    assert again.temperatures == found.temperatures


def test_calibrated_predictions_lose_less():
    made = predictions()
    before = made.select(part="test", task="grade", output="fused")
    after = calibrated(made, fit_calibration(made)).select(
        part="test", task="grade", output="fused"
    )
    known = before.labels >= 0
    losses = [-np.log(s.probs[known, s.labels[known]]).mean() for s in (before, after)]
    assert losses[1] < losses[0] - 0.1
    np.testing.assert_array_equal(before.probs.argmax(axis=1), after.probs.argmax(axis=1))


def test_what_cannot_be_fitted_says_why():
    assert fit_temperature(np.array([1, 1]), np.array([[0.4, 0.6]] * 2)) == (
        1.0,
        "validation has fewer than two classes, so nothing was fitted",
    )
    perfect = np.array([[0.9, 0.1], [0.1, 0.9]] * 30)
    value, reason = fit_temperature(np.array([0, 1] * 30), perfect)
    assert value == 0.05
    assert reason == "at the edge of what is looked at: validation says nothing about it"
    labels, probs, _ = overconfident(20, 2.0, 2)
    assert fit_temperature(labels, probs)[1] == "fitted on 20 cases only"
    with pytest.raises(RunError, match="no part 'val' to fit a temperature on; they have test"):
        fit_calibration(predictions(10, parts=("test",)))


def test_it_is_kept_beside_the_run_and_belongs_to_its_predictions(tmp_path):
    made = predictions(100)
    first = load_or_fit(tmp_path, made)
    written = (tmp_path / CALIBRATION).read_bytes()
    assert load_or_fit(tmp_path, made) == first == read_calibration(tmp_path / CALIBRATION)
    assert (tmp_path / CALIBRATION).read_bytes() == written
    other = predictions(100, sharpness=1.0)
    with pytest.raises(RunError, match="was fitted on"):
        calibrated(other, first)
    assert load_or_fit(tmp_path, other).predictions_digest == other.digest
    (tmp_path / CALIBRATION).write_text("{")
    with pytest.raises(RunError, match=r"Can't read .*calibration.json .* it is fitted again"):
        read_calibration(tmp_path / CALIBRATION)
