"""One case explained in all ways, and what of it is written down."""

import json

import pytest
import torch

from fusionzoo.data.dataset import TableColumns
from fusionzoo.explain.case import TableTold, explain_case, table_told
from fusionzoo.models.assemble import assemble
from fusionzoo.spec import DataSpec, Modality
from tests.explain.analytic import BINARY, GRADED, batch_of

DATA = DataSpec(
    "d",
    (Modality("ct", "volume", 1, (4, 16, 16)), Modality("table", "table", 4)),
    (BINARY, GRADED),
)
COLUMNS = TableColumns(("age",), {"sex": ("F", "M")}, missing="median+flag")
CELLS = {"age": 61.5, "sex": "M", "id": 7}


def cases(count, seed):
    torch.manual_seed(seed)
    inputs = {m.name: torch.randn(count, *m.shape) for m in DATA.modalities}
    return batch_of(inputs, DATA.tasks)


@pytest.fixture(scope="module")
def explained():
    model = assemble("ct=resnet3d, table=mlp -> concat -> linear", DATA).eval()
    return explain_case(
        model,
        cases(1, 0),
        DATA.tasks,
        cases(3, 1),
        case="a/1",
        task="grade",
        class_name="high",
        method="both",
        tables={"table": table_told(COLUMNS, CELLS)},
        facts={"part": "test"},
    )


def test_a_table_for_people():
    told = table_told(COLUMNS, CELLS)
    assert told == TableTold(("age", "age", "sex", "sex"), {"age": "61.5", "sex": "M"})
    empty = table_told(COLUMNS, {"age": float("nan"), "sex": None})
    assert empty.cells == {"age": "empty", "sex": "empty"}


def test_all_ways_are_about_one_number(explained):
    assert explained.score.class_name == "high"
    assert explained.label == "middle"
    assert explained.attributions.score == pytest.approx(explained.shares.score, abs=1e-5)
    odds = explained.shares.score
    assert explained.probability == pytest.approx(1 / (1 + torch.exp(torch.tensor(-odds))).item())
    assert set(explained.cams) == {"ct"}


def test_numbers_of_a_column_are_added_up(explained):
    values = explained.attributions.values["table"]
    columns = explained.columns("table")
    assert columns["age"] == pytest.approx(float(values[:2].sum()), abs=1e-6)
    assert columns["sex"] == pytest.approx(float(values[2:].sum()), abs=1e-6)
    assert list(columns) == sorted(columns, key=lambda name: -abs(columns[name]))
    assert explained.columns("ct") == {}


def test_what_is_written_down(explained):
    told = json.loads(json.dumps(explained.to_json()))
    assert told["case"] == "a/1"
    assert (told["part"], told["task"], told["class"]) == ("test", "grade", "high")
    shapley = told["modalities"]["shapley"]
    without = told["modalities"]["log_odds_without_any"]
    assert sum(shapley.values()) == pytest.approx(told["log_odds"] - without, abs=1e-4)
    assert sum(told["modalities"]["share"].values()) == pytest.approx(1)
    assert set(told["integrated_gradients"]["columns"]["table"]) == {"age", "sex"}
    peak = told["grad_cam"]["ct"]["peak"]
    heat = explained.cams["ct"].heat
    assert heat[tuple(peak)] == heat.max()


def test_baselines_and_a_case_without_a_label():
    model = assemble("table=mlp -> linear", DATA).eval()
    case, background = cases(1, 0), cases(3, 1)
    case.targets["dx"][:] = -1
    background.present["table"][0] = False
    found = explain_case(model, case, DATA.tasks, background, method="ig", steps=2)
    assert found.label is None
    assert found.cams is None
    start = background.inputs["table"][1:].mean(dim=0, keepdim=True)
    with torch.no_grad():
        expected = found.score.of(model(batch_of({"ct": case.inputs["ct"], "table": start})))
    assert found.attributions.baseline == pytest.approx(float(expected), abs=1e-5)
    zeros = explain_case(model, case, DATA.tasks, background, baseline="zeros", steps=2)
    assert zeros.attributions.baseline != found.attributions.baseline
    only = explain_case(model, cases(1, 0), DATA.tasks, background, method="ig", task="grade")
    assert "grad_cam" not in only.to_json()
