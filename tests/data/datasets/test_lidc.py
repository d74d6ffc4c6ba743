import numpy as np
import pytest

from fusionzoo.data.datasets.lidc import DEFAULT_COLUMNS, Lidc
from fusionzoo.errors import BadOption


@pytest.mark.parametrize(
    ("options", "cases", "positive", "patients"),
    [
        ({}, 1185, 522, 635),
        ({"size": "5-20mm"}, 1007, 357, 556),
        ({"label_readers": "disjoint"}, 1111, 501, 623),
        ({"label_readers": "disjoint", "size": "5-20mm"}, 945, 345, 544),
    ],
)
def test_counts(options, cases, positive, patients):
    dataset = Lidc(**options)
    assert len(dataset.cases) == len(set(dataset.cases)) == cases
    assert dataset.targets["malignancy"].sum() == positive
    assert len(set(dataset.groups)) == patients
    assert len(dataset.groups) == len(dataset.table("table")) == cases


@pytest.mark.parametrize(
    ("preset", "added"),
    [
        ("default", ()),
        ("leaky_size", ("diameter_mm", "volume_mm3", "z_span_mm")),
        ("leaky_ratings", ("subtlety", "sphericity", "margin", "lobulation", "spiculation")),
    ],
)
def test_the_table_has_what_its_preset_says(preset, added):
    dataset = Lidc(table=preset)
    table = dataset.table("table")
    assert tuple(table.columns) == (*DEFAULT_COLUMNS, *added)
    assert dataset.columns["table"].num_encoded == dataset.spec.modality("table").channels
    assert dataset.spec.modality("table").channels == 10 + len(added)
    assert not table.isna().any(axis=None)


def test_nothing_that_gives_the_answer_away_is_in_the_default_table():
    hidden = ("diameter", "volume", "span", "subtlety", "sphericity", "margin", "lobulation")
    hidden += ("spiculation", "malignancy", "readers", "initial", "patient")
    assert not [name for name in DEFAULT_COLUMNS if any(word in name for word in hidden)]


def test_table_values_are_in_their_ranges():
    table = Lidc().table("table")
    for name in ("rel_z", "contrast_used", "calcified_share", "non_soft_share"):
        assert table[name].between(0, 1).all()
    assert table["texture_mean"].between(1, 5).all()
    assert set(table["contrast_used"]) == {0.0, 1.0}
    assert set((table["calcified_share"] * 12).round(9) % 1) == {0.0}


def test_disjoint_describes_nodules_by_one_reader():
    table = Lidc(label_readers="disjoint").table("table")
    assert set(table["calcified_share"]) == {0.0, 1.0}
    assert set(table["texture_mean"]) == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_the_volume_is_a_drawing_around_its_centre():
    dataset = Lidc(size="5-20mm")
    volume = dataset.image("ct", 3)
    assert volume.shape == dataset.spec.modality("ct").shape == (1, 32, 32, 32)
    assert volume.dtype == np.float32
    assert volume.min() == 0
    assert volume.max() == 1
    mass = volume[0] / volume.sum()
    centre = [
        float((mass.sum(axis=axes) * np.arange(32)).sum()) for axes in ((1, 2), (0, 2), (0, 1))
    ]
    np.testing.assert_allclose(centre, 15.5, atol=1)


def test_each_volume_goes_with_its_row():
    dataset = Lidc(table="leaky_size")
    drawn = dataset.table("table")["volume_mm3"].to_numpy()
    rows = range(0, len(drawn), 50)
    held = np.array([dataset.image("ct", row).sum() for row in rows])
    assert np.median(np.abs(held / drawn[rows] - 1)) < 0.01


def test_options_have_digests_of_their_own():
    options = ({}, {"size": "5-20mm"}, {"label_readers": "disjoint"}, {"table": "leaky_size"})
    digests = [Lidc(**option).digest for option in options]
    assert len(set(digests)) == 4
    assert digests[0] == Lidc().digest


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": "small"}, r"can't use size='small'. It takes: 'all', '5-20mm'"),
        ({"table": "all"}, r"table='all'. It takes: 'default', 'leaky_size', 'leaky_ratings'"),
        ({"label_readers": "one"}, r"label_readers='one'. It takes: 'all', 'disjoint'"),
    ],
)
def test_an_unknown_option_is_refused(options, text):
    with pytest.raises(BadOption, match=text):
        Lidc(**options)


def test_about_says_where_from_and_what_not():
    for words in ("CC BY 3.0", "10.7937/K9/TCIA.2015.LO9QL9SX", "not pathology", "is a drawing"):
        assert words in Lidc.about
