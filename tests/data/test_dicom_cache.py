import json

import numpy as np
import pytest

from fusionzoo.data import dicom_cache
from fusionzoo.data.ct_series import series_of
from fusionzoo.data.dicom_cache import damaged, open_cache, prepare, series_id
from fusionzoo.data.dicom_series import find_series
from fusionzoo.errors import DataError, RunError
from tests.dicom_generator import write_pet, write_series


@pytest.fixture
def root(tmp_path):
    for k in range(3):
        write_series(tmp_path / "in" / str(k), patient=f"Lung_Dx-A000{k}", num_slices=12, seed=k)
    write_pet(tmp_path / "in" / "pet")
    return tmp_path / "in"


def test_the_cache_holds_what_the_files_hold(root, tmp_path):
    done = prepare(root, tmp_path / "cache")
    assert (done.written, done.kept, len(done.set_aside)) == (3, 0, 1)
    cache = open_cache(tmp_path / "cache")
    fresh = [series_of(stack) for stack in find_series(root).stacks]
    for cached, read in zip(cache.series, fresh, strict=True):
        assert cached.facts == read.facts
        np.testing.assert_array_equal(cached.hounsfield(), read.hounsfield())
        np.testing.assert_array_equal(cached.hounsfield([3, 1]), read.hounsfield([3, 1]))
        np.testing.assert_array_equal(cached.raw(range(4)), read.raw(range(4)))
        assert cached.digest == read.digest
    assert [aside.kind for aside in cache.set_aside] == ["modality PT"]
    assert damaged(cache) == []


def test_workers_write_the_same(root, tmp_path):
    prepare(root, tmp_path / "one")
    prepare(root, tmp_path / "two", workers=2)
    names = sorted(path.name for path in (tmp_path / "one" / "series").iterdir())
    assert len(names) == 6
    for name in (f"series/{name}" for name in names):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_killed_run_goes_on_where_it_was(root, tmp_path, monkeypatch):
    calls = []
    decode = dicom_cache.stored_values

    def dying(stack):
        calls.append(stack)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return decode(stack)

    monkeypatch.setattr(dicom_cache, "stored_values", dying)
    with pytest.raises(KeyboardInterrupt):
        prepare(root, tmp_path / "cache")
    with pytest.raises(RunError, match=r"is an unfinished cache: it has no index.json"):
        open_cache(tmp_path / "cache")
    done = prepare(root, tmp_path / "cache")
    assert (done.written, done.kept) == (2, 1)
    assert prepare(root, tmp_path / "cache").kept == 3


def test_a_series_whose_files_changed_is_decoded_again(root, tmp_path):
    prepare(root, tmp_path / "cache")
    write_series(root / "1", patient="Lung_Dx-A0001", num_slices=12, seed=77)
    assert prepare(root, tmp_path / "cache").written == 1
    (series_file,) = (tmp_path / "cache" / "series").glob(
        f"{series_id(open_cache(tmp_path / 'cache').series[0].facts.series_uid)}.npy"
    )
    series_file.unlink()
    assert prepare(root, tmp_path / "cache").written == 1


def test_damage_is_found(root, tmp_path):
    prepare(root, tmp_path / "cache")
    path = next((tmp_path / "cache" / "series").glob("*.npy"))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    (text,) = damaged(open_cache(tmp_path / "cache"))
    assert "the values changed on disk. Delete " in text
    path.write_bytes(content[:-10])
    with pytest.raises(RunError, match=r"\.npy can't be read .*Prepare the cache again."):
        open_cache(tmp_path / "cache")
    np.save(path, np.zeros((2, 2)))
    with pytest.raises(RunError, match=r"holds float64 of shape \(2, 2\), its json says otherwise"):
        open_cache(tmp_path / "cache")
    path.with_suffix(".json").unlink()
    with pytest.raises(RunError, match=r"\.json is missing. Prepare the cache again."):
        open_cache(tmp_path / "cache")


def test_a_cache_of_another_kind_is_refused(root, tmp_path):
    with pytest.raises(
        RunError, match=r"is no cache: it has no index.json. Make or finish it: fus"
    ):
        open_cache(tmp_path)
    prepare(root, tmp_path / "cache")
    index = tmp_path / "cache" / "index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "schema": 9}))
    with pytest.raises(RunError, match="has version 9 of the format, and 1 is read"):
        open_cache(tmp_path / "cache")
    index.write_text("{")
    with pytest.raises(RunError, match=r"index\.json is not JSON"):
        open_cache(tmp_path / "cache")


def test_nothing_to_decode_is_an_error_with_the_reasons(tmp_path):
    write_pet(tmp_path / "in")
    with pytest.raises(DataError, match="the modality is PT, not CT"):
        prepare(tmp_path / "in", tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no DICOM image"):
        prepare(tmp_path / "empty", tmp_path / "cache")


def test_a_series_that_cannot_be_decoded_is_set_aside(root, tmp_path, monkeypatch):
    from fusionzoo.data.dicom_header import UnusableDicom

    decode = dicom_cache.stored_values

    def failing(stack):
        if stack.slices[0].patient_id.endswith("1"):
            raise UnusableDicom(stack.slices[0].path, "damaged", "broken", "Mend it.", "E05")
        return decode(stack)

    monkeypatch.setattr(dicom_cache, "stored_values", failing)
    prepare(root, tmp_path / "cache")
    cache = open_cache(tmp_path / "cache")
    assert len(cache.series) == 2
    assert {a.kind: a.num_files for a in cache.set_aside} == {"modality PT": 3, "damaged": 12}
