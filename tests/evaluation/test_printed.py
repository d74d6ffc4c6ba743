"""Tables of printed figures from CSV files."""

import pytest

from fusionzoo.errors import DataError
from fusionzoo.evaluation.audit import Printed
from fusionzoo.evaluation.printed import read_printed


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_headers_and_digits(table):
    rows = read_printed(table("Method,AUC,ACC,Recall,F1-score,year\nA,0.786,0.8,0.667,0.69,2020\n"))
    assert rows[0].label == "A 2020"
    assert rows[0].figures == {
        "auroc": Printed(0.786, 3),
        "accuracy": Printed(0.8, 3),
        "sensitivity": Printed(0.667, 3),
        "f1": Printed(0.69, 3),
    }


def test_percentages(table):
    (row, other) = read_printed(table("m,ACC_mean,ACC_std\nA,82.0,3.8\nB,,0.9\n"))
    assert row.figures == {"accuracy": Printed(0.82, 3), "accuracy_std": Printed(0.038, 3)}
    assert list(other.figures) == ["accuracy_std"]
    (row,) = read_printed(table("ACC\n75%\n"))
    assert row.label == "row 2"
    assert row.figures["accuracy"] == Printed(0.75, 2)


def test_digits_can_be_said(table):
    (row,) = read_printed(table("m,ACC\nA,0.8\n"), decimals=3)
    assert row.figures["accuracy"].decimals == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("m,loss\nA,0.3\n", "no column is a metric; it has m, loss. Metrics: auroc, accuracy"),
        ("", "no column is a metric; it has no rows"),
        ("m,ACC\nA,0.8 (0.7-0.9)\n", r"row 2: accuracy is '0.8 \(0.7-0.9\)', which is no number"),
    ],
)
def test_what_is_wrong(table, text, told):
    with pytest.raises(DataError, match=told):
        read_printed(table(text))


def test_no_file(tmp_path):
    with pytest.raises(DataError, match=r"it can't be read: .*No such file"):
        read_printed(tmp_path / "none.csv")
