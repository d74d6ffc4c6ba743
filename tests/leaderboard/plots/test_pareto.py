from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fusionzoo.leaderboard.plots.pareto import draw_pareto, front

WHOLE = st.integers(1, 6).map(float)


def test_the_front_is_what_nothing_beats():
    points = [(1.0, 0.7), (2.0, 0.9), (3.0, 0.8), (4.0, 0.95), (2.0, 0.85)]
    assert front(points) == [0, 1, 3]
    assert front(points, higher_is_better=False) == [0]


@settings(max_examples=40)
@given(st.lists(st.tuples(WHOLE, WHOLE), min_size=1, max_size=9))
def test_the_front_is_exactly_the_points_without_a_better_one(points):
    on = set(front(points))
    for index, (cost, value) in enumerate(points):
        beaten = any(
            (c <= cost and v > value) or (c < cost and v >= value)
            for other, (c, v) in enumerate(points)
            if other != index
        )
        twins = [k for k in range(index) if points[k] == points[index]]
        assert (index in on) == (not beaten and not twins)


def test_every_ranked_row_is_a_point_with_its_interval(table):
    cost = table.column("cost/parameters")
    drawn = draw_pareto(table, cost)
    assert drawn.count("<circle") == 4
    assert drawn.count('class="bar"') == 4
    assert "MSCA: AUROC 0." in drawn
    assert ">Params (M)<" in drawn
    assert draw_pareto(table, cost) == drawn


def test_a_board_of_one_row_has_no_drawing(table):
    alone = replace(table, rows=table.rows[:1])
    assert draw_pareto(alone, table.column("cost/parameters")) == ""


def test_of_many_rows_only_the_front_is_named(table):
    rows = tuple(
        replace(table.rows[0], label=f"row {k}", figures=dict(table.rows[k % 4].figures))
        for k in range(40)
    )
    drawn = draw_pareto(replace(table, rows=rows), table.column("cost/parameters"))
    assert drawn.count("<circle") == 40
    assert drawn.count('class="name"') <= 4
