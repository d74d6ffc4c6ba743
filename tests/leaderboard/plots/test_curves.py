from fusionzoo.leaderboard.plots.curves import draw_curve
from fusionzoo.leaderboard.table import Curve, Panel


def test_a_calibration_square_has_its_curve_and_the_diagonal(table):
    (panel,) = table.panels
    drawn = draw_curve(panel.curves[0], panel)
    assert drawn.count("<circle") == len(panel.curves[0].x)
    assert 'class="ideal"' in drawn
    assert panel.curves[0].label in drawn


def test_other_curves_have_a_range_of_their_own_and_no_diagonal():
    curve = Curve("a", (0.0, 50.0, 100.0), (0.9, 0.8, 0.6))
    drawn = draw_curve(curve, Panel("drop", "Robustness", "%", "AUROC", (curve,)))
    assert 'class="ideal"' not in drawn
    for edge in (">0<", ">100<", ">0.6<", ">0.9<"):
        assert edge in drawn
