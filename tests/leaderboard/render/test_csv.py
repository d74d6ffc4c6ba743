import io

import pandas as pd

from fusionzoo.leaderboard.render.csv import HEAD, render


def test_a_line_for_each_figure_and_fold(table):
    found = pd.read_csv(io.StringIO(render([table])))
    assert tuple(found.columns) == HEAD
    means = found[found["fold"].isna() & found["metric"].notna()]
    rows = [row for row in table.rows if row.figures]
    assert len(means) == len(rows) * len(table.columns)
    own = found[(found["model"] == "MSCA") & (found["metric"] == "auroc")]
    assert own["fold"].tolist()[1:] == ["fold 0", "fold 1"]
    figure = table.rows[0].figures[table.ranked_by]
    assert own["value"].iloc[0] == figure.value
    assert own["value"].iloc[1] == figure.by_fold["fold 0"]
    assert own["printed"].iloc[0] == 0.786
    assert own["verdict"].iloc[0] == "not testable here"
    assert own["runs"].tolist() == [
        "01-fold0-seed0 01-fold1-seed0",
        "01-fold0-seed0",
        "01-fold1-seed0",
    ]
    refused = found[found["model"] == "CLIP"]
    assert refused["state"].tolist() == ["refused"]
    assert found["made_by"].notna().sum() == 1
