import hashlib
from importlib.resources import files

import numpy as np
import pytest

from fusionzoo.data import lidc_nodules
from fusionzoo.data.lidc_nodules import RATINGS, SHA256, mean_over_readers, read_nodules
from fusionzoo.errors import DataError


def test_the_file_is_the_one_that_was_built():
    content = (files("fusionzoo.data") / "embedded" / "lidc.npz").read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256


def test_nodules_by_number_of_readers():
    nodules = read_nodules()
    found = np.bincount(nodules["num_readers"])
    assert found.tolist() == [0, 798, 491, 486, 899, 5]
    assert len(np.unique(nodules["patient"])) == 875


def test_ratings_are_in_their_range_and_padded_after_the_last_reader():
    nodules = read_nodules()
    drawn = np.arange(5) < nodules["num_readers"][:, None]
    ratings = nodules["ratings"]
    assert ratings.shape == (2679, 5, len(RATINGS))
    assert ratings[drawn].min() == 1
    assert (ratings[~drawn] == 0).all()
    counts = np.bincount(ratings[..., RATINGS.index("malignancy")][drawn])
    assert counts.tolist() == [0, 1020, 1580, 2606, 962, 691]
    assert (nodules["diameter_mm"][drawn] > 0).all()
    assert (nodules["diameter_mm"][~drawn] == 0).all()


def test_volumes_hold_the_nodules():
    nodules = read_nodules("volume", "volume_mm3", "num_readers")
    assert list(nodules) == ["volume", "volume_mm3", "num_readers"]
    held = nodules["volume"].sum(axis=(1, 2, 3), dtype=np.float64) / 255
    share = held / (nodules["volume_mm3"].sum(axis=1) / nodules["num_readers"])
    assert abs(np.median(share) - 1) < 0.001
    assert (share < 0.9).sum() == 16


def test_a_changed_file_is_refused(monkeypatch):
    monkeypatch.setattr(lidc_nodules, "SHA256", "0" * 64)
    with pytest.raises(
        DataError, match=r"lidc.npz:\n  - its sha256 is .{64}, expected 0{64}. Inst"
    ):
        read_nodules()


def test_mean_over_readers():
    values, readers = np.array([[1, 2], [3, 4]]), np.array([[True, True], [False, True]])
    assert mean_over_readers(values, readers).tolist() == [1.5, 4.0]
    assert np.isnan(mean_over_readers(values, readers & False)).all()
