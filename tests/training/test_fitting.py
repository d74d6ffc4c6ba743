"""Parts of the training cases without a patient in common."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fusionzoo.training.fitting import part_by_patient


@given(
    patients=st.lists(st.integers(0, 9), min_size=2, max_size=60),
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 3),
)
def test_no_patient_is_on_both_sides(patients: list[int], share: float, seed: int) -> None:
    groups = np.array([f"p{patient}" for patient in patients])
    rows = np.arange(0, len(groups), 2)  # some rows are in no part of the training
    parts = part_by_patient(rows, groups, share, seed)
    if len(set(groups[rows])) < 2:
        assert parts is None
        return
    first, second = parts
    assert sorted([*first, *second]) == list(rows)
    assert not set(groups[first]) & set(groups[second])
    assert len(first)
    assert len(second)


def test_the_share_is_of_cases_and_the_seed_decides_who() -> None:
    rows, groups = np.arange(400), np.repeat(np.arange(100), 4).astype(str)
    first, second = part_by_patient(rows, groups, 0.25, 0)
    assert (len(first), len(second)) == (300, 100)
    assert np.array_equal(part_by_patient(rows, groups, 0.25, 0)[1], second)
    assert not np.array_equal(part_by_patient(rows, groups, 0.25, 1)[1], second)
