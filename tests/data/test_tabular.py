import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionzoo.data.dataset import TableColumns
from fusionzoo.data.tabular import TableEncoder, fit_encoders
from fusionzoo.errors import DataError
from tests.data.toy_dataset import ToyDataset

COLUMNS = TableColumns(
    numeric=("age", "weight"), categorical={"sex": ("F", "M")}, missing="median+flag"
)
FRAME = pd.DataFrame(
    {
        "age": [40.0, 60.0, None, 80.0],
        "weight": [70, 70, 70, 70],
        "sex": ["F", "M", None, "F"],
    }
)


def test_encoded_columns_are_scaled_numbers_then_flags_then_one_hot():
    encoder = TableEncoder.fit(FRAME, COLUMNS)
    encoded = encoder.transform(FRAME)
    ages = np.array([40.0, 60.0, 60.0, 80.0])
    assert encoder.names == (
        "age",
        "weight",
        "age:missing",
        "weight:missing",
        "sex=F",
        "sex=M",
    )
    assert encoded.dtype == np.float32
    assert encoded.shape == (4, COLUMNS.num_encoded)
    np.testing.assert_allclose(encoded[:, 0], (ages - 60) / ages.std(), rtol=1e-6)
    np.testing.assert_array_equal(encoded[:, 1], 0)
    np.testing.assert_array_equal(encoded[:, 2:4], [[0, 0], [0, 0], [1, 0], [0, 0]])
    np.testing.assert_array_equal(encoded[:, 4:], [[1, 0], [0, 1], [0, 0], [1, 0]])


def test_minmax_spans_minus_one_to_one_and_does_not_clip_new_rows():
    columns = TableColumns(numeric=("age",), scale="minmax")
    encoder = TableEncoder.fit(FRAME, columns)
    np.testing.assert_allclose(encoder.transform(FRAME)[:, 0], [-1, 0, 0, 1])
    new = encoder.transform(pd.DataFrame({"age": [120.0]}))
    np.testing.assert_allclose(new, [[3.0]])


def test_no_scaling_leaves_numbers_as_they_are():
    encoder = TableEncoder.fit(FRAME, TableColumns(numeric=("age",), scale="none"))
    np.testing.assert_array_equal(encoder.transform(FRAME)[:, 0], [40, 60, 60, 80])


def test_a_table_without_numbers():
    columns = TableColumns(categorical={"sex": ("F", "M")})
    encoder = TableEncoder.fit(FRAME, columns)
    assert encoder.transform(FRAME).shape == (4, 2)


def test_whole_numbers_read_as_floats_are_their_categories():
    columns = TableColumns(categorical={"stage": ("1", "2")})
    frame = pd.DataFrame({"stage": [1.0, np.nan, 2.0]})
    encoded = TableEncoder.fit(frame, columns).transform(frame)
    np.testing.assert_array_equal(encoded, [[1, 0], [0, 0], [0, 1]])


def test_only_training_rows_are_fitted():
    dataset = ToyDataset(range(10), [0, 1] * 5)
    encoder = fit_encoders(dataset, np.array([2, 4]))["table"]
    assert encoder.offset == (3.0,)
    assert encoder.scale == (1.0,)
    assert encoder.median == (3.0,)


@given(
    ages=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8),
    scale=st.sampled_from(["standard", "minmax", "none"]),
    missing=st.sampled_from(["median", "median+flag", "refuse"]),
)
def test_json_gives_the_same_encoder_back(ages, scale, missing):
    columns = TableColumns(("age",), {"grüße": ("a", "b")}, missing, scale)
    frame = pd.DataFrame({"age": ages, "grüße": ["a"] * len(ages)})
    encoder = TableEncoder.fit(frame, columns)
    again = TableEncoder.from_json(encoder.to_json())
    assert again == encoder
    np.testing.assert_array_equal(again.transform(frame), encoder.transform(frame))
    assert np.isfinite(encoder.transform(frame)).all()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"columns": 3}', "not json"])
def test_other_text_is_no_encoder(text):
    with pytest.raises(DataError, match="no table encoder can be read from"):
        TableEncoder.from_json(text)


def test_json_is_plain():
    assert set(json.loads(TableEncoder.fit(FRAME, COLUMNS).to_json())) == {
        "columns",
        "median",
        "offset",
        "scale",
    }


def raised(frame, columns):
    with pytest.raises(DataError) as caught:
        TableEncoder.fit(frame, columns)
    return str(caught.value)


def test_words_and_infinities_in_a_number_column_are_named():
    text = raised(
        pd.DataFrame({"age": [1, "old", np.inf]}, index=[7, 8, 9]), TableColumns(("age",))
    )
    assert "2 problems in the table" in text
    assert "row 8, column 'age': 'old' is not a finite number. Write a number" in text
    assert "row 9, column 'age': inf is not a finite number" in text


def test_an_unknown_category_is_named_with_the_nearest_one():
    columns = TableColumns(categorical={"site": ("chest", "back")})
    encoder = TableEncoder.fit(pd.DataFrame({"site": ["back"]}), columns)
    with pytest.raises(DataError) as caught:
        encoder.transform(pd.DataFrame({"site": ["back", "ches"]}))
    text = str(caught.value)
    assert "row 1, column 'site': 'ches' is no known category. Closest: chest." in text
    assert "Known: chest, back." in text


def test_an_absent_column_is_named_with_the_nearest_one():
    text = raised(FRAME, TableColumns(numeric=("wieght",)))
    assert "column 'wieght' is not in the table. Closest: weight. It has: age, weight, sex" in text


def test_an_empty_cell_can_be_refused():
    text = raised(FRAME, TableColumns(("age",), {"sex": ("F", "M")}, missing="refuse"))
    assert "row 2, column 'age': the cell is empty. Fill it in" in text
    assert "row 2, column 'sex': the cell is empty" in text


def test_a_column_without_numbers_is_refused():
    frame = pd.DataFrame({"age": [None, None]})
    text = raised(frame, TableColumns(("age",)))
    assert "column 'age' has no number in the 2 training rows. Leave it out." in text


def test_a_long_list_of_problems_is_cut():
    text = raised(pd.DataFrame({"age": ["x"] * 50}), TableColumns(("age",)))
    assert "and 30 more like these" in text
    assert text.count("is not a finite number") == 20
