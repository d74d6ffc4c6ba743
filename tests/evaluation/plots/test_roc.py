from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from sklearn.metrics import roc_auc_score

from fusionzoo.errors import RunError
from fusionzoo.evaluation.plots import plot_roc
from fusionzoo.evaluation.plots.roc import GRID, roc_band, roc_points
from fusionzoo.evaluation.report import evaluate

RNG = np.random.default_rng(0)
POSITIVE = RNG.integers(0, 2, 50) == 1
SCORES = np.round(0.3 * POSITIVE + 0.7 * RNG.random(50), 1)


def test_the_area_under_the_points_is_the_auroc():
    weights = np.r_[np.ones((1, 50)), RNG.multinomial(50, np.full(50, 0.02), size=3)]
    x, y = roc_points(POSITIVE, SCORES, weights)
    assert (x[:, 0] == 0).all()
    assert (y[:, -1] == 1).all()
    for row, counts in enumerate(weights.astype(int)):
        area = roc_auc_score(np.repeat(POSITIVE, counts), np.repeat(SCORES, counts))
        assert np.trapezoid(y[row], x[row]) == pytest.approx(area)


def test_the_band_holds_the_curve():
    weights = RNG.multinomial(50, np.full(50, 0.02), size=300).astype(float)
    low, high = roc_band(POSITIVE, SCORES, weights, 0.95)
    x, y = roc_points(POSITIVE, SCORES, np.ones((1, 50)))
    curve = np.interp(GRID, x[0], y[0])
    assert (low <= curve + 1e-12).all()
    assert (curve <= high + 1e-12).all()
    assert (np.diff(low) >= 0).all()
    assert (high - low).max() > 0.2


def test_replicates_without_a_class_are_left_out():
    weights = np.stack([np.ones(50), POSITIVE.astype(float)])
    low, high = roc_band(POSITIVE, SCORES, weights, 0.95)
    np.testing.assert_array_equal(low, high)
    assert np.isnan(roc_band(POSITIVE, SCORES, weights[1:], 0.95)[0]).all()


@pytest.mark.parametrize("task", ["malignancy", "grade"])
def test_the_same_bytes_every_time(tmp_path, predictions, task):
    evaluation = evaluate(predictions, replicates=50)
    paths = [plot_roc(tmp_path / f"{i}.png", predictions, evaluation, task) for i in (1, 2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    pixels = imread(paths[0])
    assert pixels.shape == (832, 832, 4)
    assert pixels[..., :3].std() > 0.05


def test_user_settings_and_pyplot_are_left_alone(tmp_path, predictions):
    import matplotlib

    evaluation = evaluate(predictions, replicates=50)
    plain = plot_roc(tmp_path / "a.png", predictions, evaluation, "grade").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert plot_roc(tmp_path / "b.png", predictions, evaluation, "grade").read_bytes() == plain
        assert matplotlib.rcParams["font.size"] == 30


def test_outputs_are_drawn_with_their_auroc(tmp_path, predictions, monkeypatch):
    figures = []
    monkeypatch.setattr(
        "fusionzoo.evaluation.plots.roc.save",
        lambda figure, path: figures.append(figure) or Path(path),
    )
    evaluation = evaluate(predictions, replicates=50)
    plot_roc(tmp_path / "a.png", predictions, evaluation, "malignancy")
    (axes,) = figures[0].axes
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    expected = [f"{r.output}  {r.metrics['auroc']}" for r in evaluation.results[:3]]
    assert legend == expected
    assert axes.get_aspect() == 1
    chance = axes.lines[0]
    assert chance.get_linestyle() == "--"
    assert chance.get_xydata().tolist() == [[0, 0], [1, 1]]
    metrics = evaluation.row("malignancy", "fused").metrics
    dots = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert dots[0] == pytest.approx(
        [1 - metrics["specificity"].value, metrics["sensitivity"].value]
    )


def test_an_unknown_task_has_no_row(tmp_path, independent, predictions):
    evaluation = evaluate(independent, replicates=10)
    with pytest.raises(RunError, match="has no row grade/fused"):
        plot_roc(tmp_path / "a.png", predictions, evaluation, "grade")
