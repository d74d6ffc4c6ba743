import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionzoo.data.loader import CaseLoader
from fusionzoo.data.tabular import fit_encoders
from fusionzoo.data.transforms import PRESETS, Augmentation
from fusionzoo.errors import BadOption
from tests.data.toy_dataset import SIZE, ToyDataset

ROWS = np.arange(20)


def toy(**options):
    labels = [1 if row % 5 == 0 else 0 for row in ROWS]
    return ToyDataset(ROWS, options.pop("labels", labels), **options)


def loader(dataset=None, rows=ROWS, **options):
    dataset = dataset or toy()
    options = {"batch_size": 6, "train": True} | options
    return CaseLoader(dataset, rows, fit_encoders(dataset, rows), **options)


def order(cases):
    return torch.cat([batch.index for batch in cases]).tolist()


def assert_same(left, right):
    left, right = list(left), list(right)
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert torch.equal(a.index, b.index)
        for part in ("inputs", "present", "targets"):
            given, wanted = getattr(a, part), getattr(b, part)
            assert given.keys() == wanted.keys()
            assert all(torch.equal(given[name], wanted[name]) for name in given)


def test_a_batch_holds_what_the_data_set_has():
    dataset = toy()
    rows = np.array([3, 5, 0])
    (batch,) = loader(dataset, rows, train=False)
    assert batch.index.tolist() == [3, 5, 0]
    assert batch.targets["task"].tolist() == [0, 1, 1]
    assert batch.inputs["ct"].shape == (3, 1, *SIZE)
    assert batch.inputs["ct"][:, 0, 0, 0, 0].tolist() == [4, 6, 1]
    assert batch.inputs["table"].dtype == torch.float32
    expected = fit_encoders(dataset, rows)["table"].transform(dataset.table("table").iloc[rows])
    np.testing.assert_array_equal(batch.inputs["table"], expected)
    assert all(mask.tolist() == [True] * 3 for mask in batch.present.values())


def test_evaluation_keeps_the_order_and_the_last_case():
    cases = loader(rows=ROWS[:13], train=False)
    assert order(cases) == list(range(13))
    assert [len(batch.index) for batch in cases] == [6, 6, 1]


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [(13, 6, [6, 6]), (14, 6, [6, 6, 2]), (12, 6, [6, 6]), (1, 6, [1]), (3, 1, [1, 1, 1])],
)
def test_training_leaves_out_a_last_batch_of_one(count, size, sizes):
    cases = loader(rows=ROWS[:count], batch_size=size)
    assert len(cases) == len(sizes)
    assert [len(batch.index) for batch in cases] == sizes


@pytest.mark.parametrize("balance", ["none", "oversample", "weighted"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_same_seed_and_epoch_give_the_same_batches(balance, num_workers):
    options = {"balance": balance, "augmentation": {"ct": PRESETS["volume"]}, "seed": 4}
    used = loader(**options)
    for epoch in (0, 1, 2):
        used.set_epoch(epoch)
        list(used)
    fresh = loader(**options, num_workers=num_workers, cache_mib=0)
    for epoch in (2, 0):
        used.set_epoch(epoch)
        fresh.set_epoch(epoch)
        assert_same(used, fresh)


def test_another_seed_or_epoch_gives_another_order_of_the_same_cases():
    cases = loader()
    first = order(cases)
    cases.set_epoch(1)
    second = order(cases)
    other = order(loader(seed=1))
    assert sorted(first) == sorted(second) == sorted(other) == ROWS.tolist()
    assert len({tuple(first), tuple(second), tuple(other), tuple(ROWS.tolist())}) == 4


def test_a_run_can_go_on_in_the_middle_of_an_epoch():
    cases = loader(balance="oversample", augmentation={"ct": PRESETS["volume"]})
    assert_same(list(cases)[2:], cases.batches(2))


@settings(deadline=None, max_examples=30)
@given(labels=st.lists(st.integers(-1, 2), min_size=2, max_size=40), epoch=st.integers(0, 5))
def test_oversampling_repeats_classes_to_the_largest(labels, epoch):
    dataset = ToyDataset(range(len(labels)), labels, num_classes=3)
    cases = loader(dataset, np.arange(len(labels)), balance="oversample", batch_size=200)
    cases.set_epoch(epoch)
    seen = np.bincount(order(cases), minlength=len(labels))
    labels = np.array(labels)
    largest = max([int((labels == code).sum()) for code in range(3)])
    np.testing.assert_array_equal(seen[labels == -1], 1)
    for code in set(labels.tolist()) - {-1}:
        own = seen[labels == code]
        assert own.sum() == largest
        assert own.max() - own.min() <= 1


def test_weighted_draws_classes_equally_often():
    cases = loader(balance="weighted", batch_size=20)
    positives = 0
    for epoch in range(100):
        cases.set_epoch(epoch)
        (batch,) = cases
        positives += int(batch.targets["task"].sum())
    assert abs(positives / 2000 - 0.5) < 0.04


def test_weighted_gives_cases_without_a_label_the_average_weight():
    labels = [-1] * 5 + [0] * 10 + [1] * 5
    cases = loader(toy(labels=labels), balance="weighted", batch_size=20)
    unlabelled = 0
    for epoch in range(100):
        cases.set_epoch(epoch)
        unlabelled += sum(row < 5 for row in order(cases))
    # 5 unlabelled cases of weight 2/15 beside two classes of weight 1 each.
    assert abs(unlabelled / 2000 - (5 * 2 / 15) / (2 + 5 * 2 / 15)) < 0.03


def test_evaluation_never_balances():
    assert order(loader(train=False, balance="oversample")) == ROWS.tolist()


def test_copies_of_a_case_are_augmented_differently():
    dataset = ToyDataset(range(9), [0] * 8 + [1])
    options = {"balance": "oversample", "augmentation": {"ct": Augmentation(intensity=0.1)}}
    (batch,) = loader(dataset, np.arange(9), batch_size=20, **options)
    copies = batch.inputs["ct"][batch.index == 8]
    assert len(copies) == 8
    assert len(copies[:, 0, 0, 0, 0].unique()) == 8


def test_augmentation_does_not_depend_on_the_batch_size():
    options = {"augmentation": {"ct": PRESETS["volume"]}}
    small, large = loader(batch_size=2, **options), loader(batch_size=20, **options)
    assert torch.equal(
        torch.cat([batch.inputs["ct"] for batch in small]),
        torch.cat([batch.inputs["ct"] for batch in large]),
    )


@pytest.mark.parametrize("cache_mib", [0, 1])
def test_absent_images_are_zeros_and_never_read(cache_mib):
    dataset = toy(absent=[2, 7])
    noisy = {"ct": Augmentation(noise=1.0)}
    cases = loader(dataset, augmentation=noisy, batch_size=20, cache_mib=cache_mib)
    (batch,) = cases
    absent = torch.isin(batch.index, torch.tensor([2, 7]))
    assert torch.equal(batch.present["ct"], ~absent)
    assert batch.present["table"].all()
    assert (batch.inputs["ct"][absent] == 0).all()
    assert (batch.inputs["ct"][~absent] != 0).all()


def test_images_are_read_once_where_they_fit_in_memory():
    kept, anew = toy(), toy()
    for dataset, cache_mib in ((kept, 1), (anew, 0)):
        cases = loader(dataset, cache_mib=cache_mib, balance="oversample")
        for epoch in range(3):
            cases.set_epoch(epoch)
            list(cases)
    assert sorted(kept.reads) == ROWS.tolist()
    assert len(anew.reads) == 3 * 32


def test_the_cache_is_not_changed_by_augmentation():
    cases = loader(train=True, augmentation={"ct": PRESETS["volume"]}, batch_size=20)
    list(cases)
    plain = loader(train=False, batch_size=20)
    assert torch.equal(cases._images["ct"], plain.batch(0).inputs["ct"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"balance": "even"}, r"balanced by 'even'. Use one of: none, oversample, weighted"),
        ({"task": "stage"}, r"no task 'stage' to balance. The data set has: task"),
        ({"batch_size": 0}, r"A batch of 0 cases was asked for. Ask for 1 or more"),
    ],
)
def test_options_that_can_not_be_used_are_refused(options, text):
    with pytest.raises(BadOption, match=text):
        loader(**options)


def test_no_rows_and_no_encoder_are_refused():
    with pytest.raises(BadOption, match="There is no case to load"):
        CaseLoader(toy(), np.array([], dtype=int), {}, batch_size=2)
    with pytest.raises(BadOption, match=r"Table 'table' has no encoder. Give those of"):
        CaseLoader(toy(), ROWS, {}, batch_size=2)


@given(
    count=st.integers(2, 20),
    batch_size=st.integers(1, 7),
    parts=st.integers(2, 4),
    epoch=st.integers(0, 2),
)
@settings(max_examples=40)
def test_parts_of_a_batch_make_the_batch(count, batch_size, parts, epoch):
    rows = ROWS[:count]
    augmentation = {"ct": PRESETS["volume"]}
    told = {"batch_size": batch_size, "augmentation": augmentation, "balance": "oversample"}
    whole = loader(rows=rows, **told)
    shares = [loader(rows=rows, part=(part, parts), **told) for part in range(parts)]
    for cases in (whole, *shares):
        cases.set_epoch(epoch)
    assert {len(share) for share in shares} == {len(whole)}
    for number, batch in enumerate(whole):
        sizes = shares[0].sizes(number)
        assert sum(sizes) == len(batch.index)
        assert max(sizes) - min(sizes) <= 1
        for part, (share, size) in enumerate(zip(shares, sizes, strict=True)):
            own = share.batch(number)
            expected = torch.arange(part, len(batch.index), parts) if size else torch.tensor([0])
            assert torch.equal(own.index, batch.index[expected])
            assert torch.equal(own.inputs["ct"], batch.inputs["ct"][expected])
