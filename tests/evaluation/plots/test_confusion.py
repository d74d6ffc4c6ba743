import itertools
from pathlib import Path

import numpy as np
import pytest

from fusionzoo.errors import RunError
from fusionzoo.evaluation.plots import plot_confusion
from fusionzoo.evaluation.report import evaluate


@pytest.fixture
def evaluation(predictions):
    return evaluate(predictions, replicates=20)


@pytest.fixture
def figures(monkeypatch):
    kept = []
    monkeypatch.setattr(
        "fusionzoo.evaluation.plots.confusion.save",
        lambda figure, path: kept.append(figure) or Path(path),
    )
    return kept


def test_the_same_bytes_every_time(tmp_path, predictions, evaluation):
    first, again = (
        plot_confusion(tmp_path / name, predictions, evaluation, "grade").read_bytes()
        for name in ("a.png", "b.png")
    )
    assert first == again
    assert first.startswith(b"\x89PNG")


@pytest.mark.parametrize("task", ["malignancy", "grade"])
def test_counts_and_row_percentages(predictions, evaluation, figures, task):
    plot_confusion("a.png", predictions, evaluation, task)
    (axes,) = figures[0].axes
    texts = [text.get_text() for text in axes.texts]
    counts = np.array(evaluation.row(task, "fused").confusion)
    shares = 100 * counts / counts.sum(axis=1, keepdims=True)
    assert texts[::2] == [str(count) for count in counts.ravel()]
    assert texts[1::2] == [f"{share:.0f} %" for share in shares.ravel()]
    names = predictions.task(task).classes
    assert tuple(label.get_text() for label in axes.get_yticklabels()) == names


def test_the_threshold_is_told(predictions, evaluation, figures):
    plot_confusion("a.png", predictions, evaluation, "malignancy", output="ct", title="CT only")
    (axes,) = figures[0].axes
    threshold = evaluation.row("malignancy", "ct").threshold.value
    assert axes.get_xlabel() == f"Predicted class\n(threshold {threshold:.3f})"
    assert axes.get_title(loc="left") == "CT only"


def test_a_class_without_cases_has_no_percentage(independent, figures):
    from fusionzoo.evaluation.predictions import Predictions

    frame = independent.frame.copy()
    frame.loc[(frame["part"] == "test") & (frame["label"] == 1), "label"] = -1
    predictions = Predictions(frame, independent.tasks)
    plot_confusion("a.png", predictions, evaluate(predictions, replicates=10), "malignancy")
    assert [text.get_text() for text in figures[0].axes[0].texts][5::2] == ["-", "-"]


def test_an_unknown_output(predictions, evaluation):
    with pytest.raises(RunError, match="has no row grade/pet"):
        plot_confusion("a.png", predictions, evaluation, "grade", output="pet")


def test_long_names_stay_on_the_figure(predictions, figures):
    import dataclasses

    from fusionzoo.evaluation.predictions import Predictions

    names = ("adenocarcinoma", "squamous cell carcinoma", "large cell neuroendocrine carcinoma")
    tasks = [
        dataclasses.replace(task, classes=names[: len(task.classes)]) for task in predictions.tasks
    ]
    named = Predictions(predictions.frame, tuple(tasks))
    evaluation = evaluate(named, replicates=10)
    for task in ("malignancy", "grade"):
        plot_confusion("a.png", named, evaluation, task)
        figure = figures[-1]
        figure.draw_without_rendering()
        width, height = figure.get_size_inches() * figure.dpi
        box = figure.axes[0].get_tightbbox()
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
        ticks = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
        assert all(a.x1 <= b.x0 for a, b in itertools.pairwise(ticks))
