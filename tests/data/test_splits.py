import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionzoo.data.datasets.lidc import Lidc
from fusionzoo.data.splits import make_split
from fusionzoo.errors import BadOption, DataError
from tests.data.toy_dataset import ToyDataset, balanced


def parts(split):
    return split.train, split.val, split.test


def assert_sound(dataset, split):
    """Every case exactly once, no patient in two parts."""
    np.testing.assert_array_equal(
        np.sort(np.concatenate(parts(split))), np.arange(len(dataset.cases))
    )
    patients = [set(dataset.groups[rows]) for rows in parts(split)]
    assert sum(map(len, patients)) == len(set(dataset.groups))


@settings(deadline=None, max_examples=15)
@given(
    sizes=st.lists(st.integers(2, 5), min_size=30, max_size=60),
    num_folds=st.integers(2, 6),
    seed=st.integers(0, 1000),
    random=st.randoms(use_true_random=False),
)
def test_no_patient_is_in_two_parts_and_every_case_is_in_one(sizes, num_folds, seed, random):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    order = list(range(len(groups)))
    random.shuffle(order)
    # Neighbours differ, so every patient has both classes and no part can lack one.
    labels = np.arange(len(groups)) % 2
    dataset = ToyDataset(groups[order], labels[order])
    assert_sound(dataset, make_split(dataset))
    tested = []
    for fold in range(num_folds):
        split = make_split(dataset, fold=fold, num_folds=num_folds, seed=seed)
        assert_sound(dataset, split)
        tested += split.test.tolist()
    assert sorted(tested) == list(range(len(groups)))


def test_folds_are_stratified_and_every_case_is_tested_once():
    dataset = Lidc()
    splits = [make_split(dataset, fold=fold) for fold in range(5)]
    labels = dataset.targets["malignancy"]
    for split in splits:
        assert_sound(dataset, split)
        assert 0.13 < len(split.val) / len(labels) < 0.17
        for rows in parts(split):
            assert abs(labels[rows].mean() - labels.mean()) < 0.01
    tested = np.concatenate([split.test for split in splits])
    np.testing.assert_array_equal(np.sort(tested), np.arange(len(labels)))


def test_the_hash_split_of_lidc():
    dataset = Lidc()
    split = make_split(dataset)
    assert_sound(dataset, split)
    labels = dataset.targets["malignancy"]
    assert [len(rows) for rows in parts(split)] == [855, 147, 183]
    assert [int(labels[rows].sum()) for rows in parts(split)] == [372, 66, 84]
    assert split.scheme == "hash of the patient, 70/15/15"


def test_the_hash_split_keeps_patients_where_they_were_when_cases_are_added():
    small, large = balanced(60), balanced(80)
    before, after = make_split(small), make_split(large)
    for old, new in zip(parts(before), parts(after), strict=True):
        assert set(small.groups[old]) <= set(large.groups[new])


def test_digest_tells_parts_apart_and_nothing_else():
    dataset = balanced()
    split = make_split(dataset, fold=0)
    assert split.digest == make_split(dataset, fold=0).digest
    assert split.digest != make_split(dataset, fold=1).digest
    assert split.digest != make_split(dataset, fold=0, seed=1).digest
    given = np.empty(len(dataset.cases), dtype="<U5")
    for name in ("train", "val", "test"):
        given[getattr(split, name)] = name
    dataset.given_split = given
    assert make_split(dataset).digest == split.digest


def test_given_folds_are_used_as_they_are():
    groups = np.repeat(np.arange(40), 2)
    dataset = ToyDataset(groups, groups % 2, folds=groups // 2 % 4 + 1)
    split = make_split(dataset, fold=2)
    np.testing.assert_array_equal(split.test, np.flatnonzero(dataset.given_folds == 2))
    assert_sound(dataset, split)
    with pytest.raises(BadOption, match=r"Fold 0 does not exist. Data set 'toy' has: 1, 2, 3, 4"):
        make_split(dataset, fold=0)


def test_a_given_split_without_validation_gets_one_from_its_training_patients():
    groups = np.repeat(np.arange(40), 2)
    given = np.where(groups < 30, "train", "test")
    dataset = ToyDataset(groups, groups % 2, split=given)
    split = make_split(dataset, seed=3)
    assert_sound(dataset, split)
    np.testing.assert_array_equal(split.test, np.flatnonzero(given == "test"))
    assert len(split.val) == 12
    assert split.scheme == "given, validation drawn with seed 3"


def test_cases_without_a_label_and_rare_classes_are_split_too():
    groups = np.arange(60)
    labels = np.where(groups < 2, 2, np.where(groups < 6, -1, groups % 2))
    dataset = ToyDataset(groups, labels, num_classes=3)
    assert_sound(dataset, make_split(dataset, fold=0))


def test_a_patient_in_two_given_parts_is_named_with_the_cases():
    groups = [0, 0, 1, 1, 2, 2]
    given = ["train", "test", "val", "val", "test", "train"]
    dataset = ToyDataset(groups, [0, 1] * 3, split=given)
    with pytest.raises(DataError) as caught:
        make_split(dataset)
    text = str(caught.value)
    assert "patient 'patient-0' is in several parts: case-0 (train), case-1 (test)" in text
    assert "patient 'patient-2' is in several parts: case-4 (test), case-5 (train)" in text
    assert "patient-1" not in text
    assert "Give all cases of a patient the same one." in text


def test_many_shared_patients_are_counted():
    groups = np.repeat(np.arange(9), 8)
    dataset = ToyDataset(groups, [0, 1] * 36, folds=[0, 1] * 36)
    with pytest.raises(DataError) as caught:
        make_split(dataset, fold=0)
    assert "is in several folds" in str(caught.value)
    assert "and 3 more" in str(caught.value)
    assert "and 4 more patients" in str(caught.value)


def test_an_unknown_part_is_refused():
    dataset = ToyDataset(range(4), [0, 1, 0, 1], split=["train", "valid", "test", "test"])
    with pytest.raises(DataError, match="part 'valid' is none of train, val, test"):
        make_split(dataset)


def test_a_part_with_one_class_or_no_case_is_refused():
    dataset = ToyDataset(range(4), [0, 1, 1, -1], split=["train", "train", "val", "val"])
    with pytest.raises(DataError) as caught:
        make_split(dataset)
    text = str(caught.value)
    assert "part 'val' (2 cases) has only class 'class-1' of task 'task'" in text
    assert "part 'test' has no case" in text
    assert "part 'train'" not in text


def test_fewer_patients_than_folds_are_refused():
    dataset = ToyDataset([0, 0, 1, 1, 2, 2], [0, 1] * 3)
    with pytest.raises(DataError, match="3 patients can't be split into 5 parts"):
        make_split(dataset, fold=0)


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_out_of_range_is_refused(fold):
    with pytest.raises(BadOption, match=rf"Fold {fold} does not exist. .* has: 0, 1, 2, 3, 4"):
        make_split(balanced(), fold=fold)


def test_one_fold_is_refused():
    with pytest.raises(BadOption, match=r"1 folds were asked for. Ask for 2 or more"):
        make_split(balanced(), fold=0, num_folds=1)
