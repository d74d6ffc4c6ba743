from pathlib import Path

import numpy as np
import pytest

from fusionzoo.evaluation.bootstrap import Resampling
from fusionzoo.evaluation.plots import plot_robustness
from fusionzoo.evaluation.robustness import SCHEMA, Curve, Robustness, Scorer


@pytest.fixture
def found(predictions):
    chosen = predictions.select(part="test", task="malignancy", output="fused")
    groups = chosen.groups.astype(str)
    resampling = Resampling.draw(groups, replicates=50, seed=0)
    scorer = Scorer(chosen.labels, groups, 0.5, resampling, chosen.probs)
    worse = [chosen.probs * 0.9 + 0.05, chosen.probs[::-1].copy()]
    points = (scorer.point(0.0, [chosen.probs]), scorer.point(0.5, worse), scorer.point(1.0, worse))
    curves = (
        Curve("malignancy", "drop", "ct", "share", points),
        Curve("malignancy", "drop", "table", "share", points),
        Curve("malignancy", "noise", "ct", "deviations", points),
        Curve("malignancy", "cells", "table", "share", (), "refused"),
    )
    return Robustness(
        SCHEMA, "run", predictions.digest, "fused", 80, 40, 0, 2, 50, 0.95, 0.0, curves
    )


def test_a_point_is_the_mean_over_draws_with_paired_changes(found, predictions):
    chosen = predictions.select(part="test", task="malignancy", output="fused")
    first, half, _ = found.curves[0].points
    known = chosen.labels >= 0
    positive, scores = chosen.labels[known] == 1, chosen.probs[known, 1]
    wins = scores[positive][:, None] > scores[~positive][None, :]
    assert first.metrics["auroc"].value == pytest.approx(wins.mean())
    assert first.changes["auroc"].value == 0
    other = chosen.probs[::-1][known, 1]
    lost = (other[positive][:, None] > other[~positive][None, :]).mean()
    assert half.metrics["auroc"].value == pytest.approx((wins.mean() + lost) / 2)
    assert half.changes["auroc"].value == pytest.approx((lost - wins.mean()) / 2)
    assert half.metrics["auroc"].low < half.metrics["auroc"].value < half.metrics["auroc"].high
    assert half.num_changed == 80
    assert first.num_changed == 0


def test_the_interval_of_untouched_inputs_is_the_plain_bootstrap(found, predictions):
    from fusionzoo.evaluation.bootstrap import bootstrap_intervals

    chosen = predictions.select(part="test", task="malignancy", output="fused")
    plain = bootstrap_intervals(
        chosen.labels, chosen.probs, chosen.groups, replicates=50, names=["auroc"]
    )["auroc"]
    ours = found.curves[0].points[0].metrics["auroc"]
    np.testing.assert_allclose((ours.low, ours.high), (plain.low, plain.high), atol=0.02)


def test_panels_and_lines(found, monkeypatch):
    figures = []
    monkeypatch.setattr(
        "fusionzoo.evaluation.plots.robustness.save",
        lambda figure, path: figures.append(figure) or Path(path),
    )
    plot_robustness("x.png", found, "malignancy")
    (figure,) = figures
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Modality dropped",
        "Image noise",
    ]
    legends = [[t.get_text() for t in axes.get_legend().get_texts()] for axes in figure.axes]
    assert legends == [["ct", "table"], ["ct"]]
    assert "80 test cases, 40 patients" in figure._suptitle.get_text()


def test_the_same_bytes_every_time(tmp_path, found):
    first, again = (
        plot_robustness(tmp_path / name, found, "malignancy", metric="accuracy").read_bytes()
        for name in ("a.png", "b.png")
    )
    assert first == again
    assert first.startswith(b"\x89PNG")
