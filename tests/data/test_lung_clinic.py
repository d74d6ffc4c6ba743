import sys

import numpy as np
import pandas as pd
import pytest

from fusionzoo.data.lung_clinic import COLUMNS, as_numbers, read_clinic, roles
from fusionzoo.data.tabular import TableEncoder
from fusionzoo.errors import DataError, MissingExtra
from tests.dicom_generator import clinic_row, write_clinic


def sheet(folder, *rows):
    return write_clinic(folder / "clinic.xlsx", rows)


def test_the_full_width_header_and_mixed_stages_are_read(tmp_path):
    rows = [clinic_row(f"A{k:04d}") for k in range(1, 8)]
    clinic = read_clinic(sheet(tmp_path, *rows))
    assert tuple(clinic.table.columns) == COLUMNS
    assert len(COLUMNS) == 7
    assert clinic.table["t_stage"].tolist() == ["1a", "2", "2b", "3", "4", "is", "1"]
    assert clinic.table["m_stage"].tolist() == ["1a", "1b", "1c", "0", "1a", "1b", "1c"]
    assert clinic.table["age"].tolist() == [51, 52, 53, 54, 55, 56, 57]
    assert clinic.table.index.tolist() == [row["NewPatientID"] for row in rows]
    assert clinic.flagged == ()


@pytest.mark.parametrize(
    ("cells", "column", "told"),
    [
        ({"\uff2d-Stage": 2}, "m_stage", "m_stage '2' is none of 0, 1a, 1b, 1, 1c"),
        ({"\uff2d-Stage": "3"}, "m_stage", "m_stage '3' is none of"),
        ({"T-Stage": "5"}, "t_stage", "t_stage '5' is none of is, 1a, 1b, 1, 1c, 2a, 2, 2b, 3, 4"),
        ({"Age": 580}, "age", "age '580' is no number from 0 to 120"),
        ({"weight (kg)": "heavy"}, "weight_kg", "weight_kg 'heavy' is no number from 2 to 400"),
        ({"Smoking History": 7}, "smoking", "smoking '7' is none of 0, 1"),
    ],
)
def test_a_value_outside_its_vocabulary_is_flagged_and_empty(tmp_path, cells, column, told):
    clinic = read_clinic(sheet(tmp_path, clinic_row("A0001", **cells), clinic_row("G0002")))
    assert pd.isna(clinic.table.loc["A0001", column])
    assert clinic.flagged == (clinic.flagged[0],)
    assert clinic.flagged[0].startswith(f"A0001: {told}")
    assert clinic.flagged[0].endswith("; it counts as empty")


def test_words_and_gaps_are_understood(tmp_path):
    cells = {"Sex": "Female", "Age": "058Y", "weight (kg)": None, "Smoking History": "yes"}
    row = clinic_row("Lung_Dx-A0001"[8:], **cells, **{"T-Stage": "1C", "N-Stage": "NA"})
    read = read_clinic(sheet(tmp_path, {**row, "NewPatientID": "Lung_Dx-A0001"}))
    assert read.flagged == ()
    found = read.table.loc["A0001"]
    assert found[["sex", "age", "t_stage", "smoking"]].tolist() == ["F", 58.0, "1c", "1"]
    assert found[["weight_kg", "n_stage"]].isna().all()


def test_seven_numbers_are_scaled_to_minus_one_to_one_on_training_rows(tmp_path):
    rows = [clinic_row(f"A{k:04d}") for k in range(1, 15)]
    table = as_numbers(read_clinic(sheet(tmp_path, *rows)).table)
    assert list(table.columns) == list(COLUMNS)
    assert table["t_stage"].tolist()[:7] == [1, 4.5, 5, 6, 7, 0, 2]
    encoder = TableEncoder.fit(table.iloc[:10], roles("ordinal"))
    encoded = encoder.transform(table.iloc[:10])
    assert encoded.shape == (10, 7)
    np.testing.assert_allclose(encoded.min(axis=0), -1)
    np.testing.assert_allclose(encoded.max(axis=0), 1)
    assert encoder.transform(table).max() > 1


def test_categories_are_words(tmp_path):
    table = read_clinic(sheet(tmp_path, clinic_row("A0001"), clinic_row("A0002"))).table
    encoder = TableEncoder.fit(table, roles("categories"))
    assert encoder.transform(table).shape == (2, 2 + 2 + 10 + 4 + 5 + 2)
    assert "m_stage=1a" in encoder.names


def test_what_is_no_sheet_is_refused(tmp_path):
    good = sheet(tmp_path, clinic_row("A0001"))
    with pytest.raises(DataError, match=r"there is no file .*none.xlsx. Check the path."):
        read_clinic(tmp_path / "none.xlsx")
    (tmp_path / "bad.xlsx").write_bytes(good.read_bytes()[:500])
    with pytest.raises(DataError, match=r"the sheet can't be read \(.*Download it again."):
        read_clinic(tmp_path / "bad.xlsx")
    frame = pd.read_excel(good).drop(columns="Smoking History")
    frame.to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(DataError, match=r"there is no column 'smoking history'.*Columns: No\."):
        read_clinic(tmp_path / "short.csv")
    twice = sheet(tmp_path, clinic_row("A0001"), clinic_row("A0001"))
    with pytest.raises(DataError, match="patient 'A0001' has several rows"):
        read_clinic(twice)


def test_without_openpyxl_the_error_says_what_to_install(tmp_path, monkeypatch):
    path = sheet(tmp_path, clinic_row("A0001"))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtra, match=r"needs openpyxl.* pip install openpyxl, or save"):
        read_clinic(path)
