from pathlib import Path

import numpy as np
import pytest

from fusionzoo.evaluation.plots import plot_calibration
from fusionzoo.evaluation.plots.calibration import reliability
from fusionzoo.evaluation.report import evaluate


def test_bins_hold_equal_numbers_of_cases():
    probs = np.linspace(0, 1, 40)
    means, shares = reliability(probs, probs > 0.5, 4)
    np.testing.assert_allclose(means, probs.reshape(4, 10).mean(axis=1))
    np.testing.assert_allclose(shares, [0, 0, 1, 1])


def test_few_cases_make_few_bins():
    means, shares = reliability(np.array([0.2, 0.4, 0.9]), np.array([False, True, True]), 8)
    assert means == pytest.approx([0.5])
    assert shares == pytest.approx([2 / 3])


@pytest.mark.parametrize("task", ["malignancy", "grade"])
def test_the_same_bytes_every_time(tmp_path, predictions, task):
    evaluation = evaluate(predictions, replicates=20)
    first, again = (
        plot_calibration(tmp_path / name, predictions, evaluation, task).read_bytes()
        for name in ("a.png", "b.png")
    )
    assert first == again
    assert first.startswith(b"\x89PNG")


def test_curves_are_named_with_their_error(predictions, monkeypatch):
    figures = []
    monkeypatch.setattr(
        "fusionzoo.evaluation.plots.calibration.save",
        lambda figure, path: figures.append(figure) or Path(path),
    )
    evaluation = evaluate(predictions, replicates=20)
    plot_calibration("a.png", predictions, evaluation, "malignancy")
    plot_calibration("b.png", predictions, evaluation, "grade")
    legends = [
        [text.get_text() for text in figure.axes[0].get_legend().get_texts()] for figure in figures
    ]
    assert legends[0][0] == f"fused  {evaluation.row('malignancy', 'fused').metrics['ece']}"
    assert legends[1] == ["fused", "ct", "table"]
    chosen = predictions.select(part="test", task="grade", output="fused")
    known = chosen.labels >= 0
    right = (chosen.probs.argmax(axis=1) == chosen.labels)[known]
    x, y = figures[1].axes[0].lines[1].get_xydata().T
    assert np.average(y, weights=[len(b) for b in np.array_split(right, len(y))]) == pytest.approx(
        right.mean()
    )
    assert (np.diff(x) > 0).all()
