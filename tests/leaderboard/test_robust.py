import math
import shutil

import pytest

from fusionzoo.errors import RunError
from fusionzoo.evaluation.results import Estimate
from fusionzoo.evaluation.robustness import (
    SCHEMA,
    STRESS,
    Curve,
    Point,
    Robustness,
    write_robustness,
)
from fusionzoo.leaderboard.build import build_boards
from fusionzoo.records.store import RunStore
from tests.leaderboard.conftest import QUICK


def try_run(store, run_id, values, *, digest="", tasks=("malignancy",)):
    """Leaves what `fusionzoo stress` leaves: the metric at 0, 50 and 100%."""
    record = RunStore(store).read_record(run_id)
    points = tuple(
        Point(level, 1.0, {"auroc": Estimate(value, math.nan, math.nan)}, {})
        for level, value in zip((0.0, 50.0, 100.0), values, strict=True)
    )
    curves = [Curve(task, "drop", "ct", "% of cases", points) for task in tasks]
    curves.append(Curve(tasks[0], "cells", "ct", "% of cells", (), "ct is no table"))
    told = (1, 1, 0, 3, 1000, 0.95, 0.0)
    digest = digest or record.predictions_digest
    write_robustness(
        store / run_id, Robustness(SCHEMA, run_id, digest, "fused", *told, tuple(curves))
    )


def test_rows_that_were_tried_have_a_curve(own_store):
    try_run(own_store, "01-fold0-seed0", (0.95, 0.9, 0.6))
    try_run(own_store, "01-fold1-seed0", (0.93, 0.8, 0.5))
    try_run(own_store, "00-fold0-seed0", (0.85, 0.8, 0.7))
    (board,) = build_boards(own_store, QUICK, cached=False)
    calibration, panel = board.panels
    assert calibration.kind == "calibration"
    assert panel.title == "Robustness: with ct absent from a share of the cases"
    assert (panel.x_label, panel.y_label) == ("% of cases", "AUROC")
    assert [curve.label for curve in panel.curves] == ["MSCA", "Concat"]
    assert panel.curves[0].x == (0.0, 50.0, 100.0)
    assert panel.curves[0].y == pytest.approx((0.94, 0.85, 0.55))


def test_a_try_on_other_predictions_is_left_out(own_store):
    try_run(own_store, "01-fold0-seed0", (0.95, 0.9, 0.6), digest="0" * 64)
    (board,) = build_boards(own_store, QUICK, cached=False)
    assert [panel.kind for panel in board.panels] == ["calibration"]


def test_the_mean_over_tasks_needs_all_of_them(tasks_store, tmp_path):
    store = shutil.copytree(tasks_store, tmp_path / "store")
    try_run(store, "00-split-seed0", (0.9, 0.8, 0.7), tasks=("malignancy", "grade"))
    try_run(store, "01-split-seed0", (0.9, 0.8, 0.7), tasks=("malignancy",))
    (board,) = build_boards(store, QUICK, cached=False)
    (panel,) = board.panels
    assert len(panel.curves) == 1
    assert panel.curves[0].y == pytest.approx((0.9, 0.8, 0.7))


def test_a_damaged_file_is_told(own_store):
    (own_store / "01-fold0-seed0" / STRESS).write_text("{")
    with pytest.raises(RunError, match=r"stress\.json"):
        build_boards(own_store, QUICK, cached=False)
