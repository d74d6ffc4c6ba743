"""The cache folder: the user's, or one of the process where that can't be written."""

import pytest

from fusionzoo.ops import cache


@pytest.fixture(autouse=True)
def forget():
    cache.folder.cache_clear()
    yield
    cache.folder.cache_clear()


def test_follows_the_convention(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "fusionzoo"
    assert cache.folder().is_dir()


def test_a_folder_that_cannot_be_made_is_replaced(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(cache.tempfile, "tempdir", None)
    folder = cache.folder()
    assert folder.parent == tmp_path
    assert folder.name.startswith("fusionzoo-")
    assert cache.folder() == folder


def test_digests_tell_apart():
    assert cache.digest("a", "b") == cache.digest("a", "b") != cache.digest("ab")
    assert len(cache.digest(1, None)) == 16
