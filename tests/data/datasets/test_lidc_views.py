import numpy as np
import pytest

from fusionzoo.data.datasets.lidc_views import LidcViews
from fusionzoo.data.lidc_nodules import RATINGS, read_nodules
from fusionzoo.data.splits import make_split
from fusionzoo.errors import BadOption


@pytest.fixture(scope="module")
def views():
    return LidcViews()


def test_counts(views):
    assert len(views.cases) == len(set(views.cases)) == len(views.groups) == 1390
    assert len(set(views.groups)) == 694
    counts = {name: np.bincount(codes).tolist() for name, codes in views.targets.items()}
    assert counts == {
        "malignancy": [422, 661, 307],
        "subtlety": [424, 596, 370],
        "calcification": [1212, 178],
        "sphericity": [304, 776, 310],
        "margin": [369, 621, 400],
        "lobulation": [749, 428, 213],
        "spiculation": [904, 319, 167],
        "texture": [90, 306, 994],
    }
    assert list(counts) == [task.name for task in views.spec.tasks]
    for task in views.spec.tasks:
        assert len(task.classes) == len(counts[task.name])


def test_classes_are_ranges_of_the_mean_rating(views):
    nodules = read_nodules("ratings", "num_readers")
    for place in range(0, len(views.cases), 97):
        row = int(views.cases[place].partition("/")[2])
        read = nodules["ratings"][row, : nodules["num_readers"][row]].astype(float)
        mean = dict(zip(RATINGS, read.mean(axis=0), strict=True))
        assert views.targets["margin"][place] == sum(mean["margin"] > cut for cut in (3.5, 4.5))
        assert views.targets["texture"][place] == sum(mean["texture"] > cut for cut in (2.5, 4.5))
        seen = (read[:, RATINGS.index("calcification")] != 6).mean()
        assert views.targets["calcification"][place] == (seen >= 0.5)


def test_the_coronal_view_is_the_volume_from_the_front(views):
    row = int(views.cases[40].partition("/")[2])
    volume = read_nodules("volume")["volume"][row] / np.float32(255)
    seen = views.image("coronal", 40)
    assert seen.shape == (1, 32, 32)
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen[0, 0], volume[31].max(axis=0))
    np.testing.assert_array_equal(seen[0, ::-1], volume.max(axis=1))


def test_only_the_coronal_view_knows_the_size(views):
    nodules = read_nodules("diameter_mm", "num_readers")
    places = range(0, len(views.cases), 10)
    rows = [int(views.cases[place].partition("/")[2]) for place in places]
    diameter = nodules["diameter_mm"][rows].sum(axis=1) / nodules["num_readers"][rows]
    wide = {
        name: [np.flatnonzero(views.image(name, k)[0].any(axis=0)).size for k in places]
        for name in ("coronal", "axial")
    }
    assert np.corrcoef(wide["coronal"], diameter)[0, 1] > 0.8
    assert abs(np.corrcoef(wide["axial"], diameter)[0, 1]) < 0.3


@pytest.mark.parametrize("size", [8, 64, 224])
def test_other_sizes_are_interpolated(views, size):
    other = LidcViews(size=size)
    assert all(m.size == (size, size) for m in other.spec.modalities)
    small, large = views.image("axial", 3), other.image("axial", 3)
    assert large.shape == (1, size, size)
    assert 0 <= large.min() <= large.max() <= 1
    assert large.mean() == pytest.approx(small.mean(), abs=0.01)
    assert other.digest != views.digest == LidcViews().digest


def test_folds_keep_patients_together_and_hold_every_class(views):
    sizes = []
    for fold in range(5):
        split = make_split(views, fold=fold)
        sizes.append(len(split.test))
        for rows in (split.train, split.val, split.test):
            for name, codes in views.targets.items():
                assert set(codes[rows]) == set(range(len(set(codes)))), name
    assert sum(sizes) == 1390
    assert max(sizes) - min(sizes) < 5


@pytest.mark.parametrize("size", [7, 1025])
def test_a_size_that_is_none(size):
    with pytest.raises(BadOption, match=rf"can't make images of size={size}\. Give 8 to 1024"):
        LidcViews(size=size)


def test_there_is_no_table(views):
    with pytest.raises(KeyError):
        views.table("table")


def test_about_says_where_from_and_what_not(views):
    for words in ("CC BY 3.0", "10.7937/K9/TCIA.2015.LO9QL9SX", "not pathology", "drawings"):
        assert words in views.about
