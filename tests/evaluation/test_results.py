import json
import math

import pytest

from fusionzoo.errors import RunError
from fusionzoo.evaluation.report import evaluate
from fusionzoo.evaluation.results import Estimate, Evaluation, format_estimate, format_p
from fusionzoo.schema import dumps


@pytest.fixture
def evaluation(predictions):
    return evaluate(predictions, replicates=100)


def test_there_and_back_through_json(evaluation):
    text = dumps(evaluation)
    again = Evaluation.from_json(json.loads(text))
    assert dumps(again) == text
    assert again.to_json() == evaluation.to_json()
    assert again.row("malignancy", "ct") == evaluation.row("malignancy", "ct")


def test_results_from_before_the_choice_was_recorded(evaluation):
    told = evaluation.to_json()
    assert told.pop("binary") == "macro"
    assert Evaluation.from_json(told).binary == "positive"


def test_the_table_as_text(evaluation):
    rows = evaluation.rows(("auroc", "npv"))
    assert list(rows[0]) == [
        *("task", "output", "cases", "patients", "threshold", "auroc", "npv", "p")
    ]
    fused, ct = rows[:2]
    metric = evaluation.row("malignancy", "fused").metrics["auroc"]
    assert fused["auroc"] == f"{metric.value:.3f} ({metric.low:.3f}-{metric.high:.3f})"
    assert (fused["cases"], fused["patients"], fused["p"]) == ("78", "39", "")
    assert ct["p"] == format_p(evaluation.comparisons[0].p) != ""
    grades = next(row for row in rows if row["task"] == "grade")
    assert grades["npv"] == grades["threshold"] == ""
    assert "log_loss" in evaluation.rows()[0]


def test_numbers_as_text():
    assert str(Estimate(0.9409, 0.9051, 0.97)) == "0.941 (0.905-0.970)"
    assert format_estimate(0.5, math.nan, math.nan) == "0.500"
    assert str(Estimate(math.nan, math.nan, math.nan, "no positive case")) == "-"
    p_values = [0.0339, 0.0004, math.nan, 1.0]
    assert [format_p(p) for p in p_values] == ["0.034", "<0.001", "-", "1.000"]


def test_an_unknown_row_names_the_known(evaluation):
    with pytest.raises(RunError, match="has no row grade/pet; it has malignancy/fused, malignancy"):
        evaluation.row("grade", "pet")


def test_a_changed_file_is_refused(evaluation):
    data = evaluation.to_json()
    del data["results"][0]["metrics"]["auroc"]["low"]
    with pytest.raises(RunError, match=r"results\[0\].metrics.auroc.low is missing"):
        Evaluation.from_json(data)
