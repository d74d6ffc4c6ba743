import sqlite3

from fusionzoo.leaderboard.cache import CACHE, BoardCache


def test_what_is_put_in_comes_out(tmp_path):
    with BoardCache.of_store(tmp_path) as cache:
        cache.put_facts([("a", 1, 2, "told")])
        cache.put_scores("key", "scores", b"\x01\x02")
    with BoardCache.of_store(tmp_path) as cache:
        assert cache.facts() == {"a": (1, 2, "told")}
        assert cache.scores("key") == ("scores", b"\x01\x02")
        assert cache.scores("other") is None


def test_in_memory_nothing_is_kept():
    one, other = BoardCache(), BoardCache()
    one.put_scores("key", "told", b"")
    assert one.scores("key") == ("told", b"")
    assert other.scores("key") is None
    one.close()
    other.close()


def test_a_damaged_file_is_made_anew(tmp_path):
    (tmp_path / CACHE).write_bytes(b"this is no database" * 100)
    with BoardCache.of_store(tmp_path) as cache:
        cache.put_scores("key", "told", b"")
    with BoardCache.of_store(tmp_path) as cache:
        assert cache.scores("key") == ("told", b"")


def test_another_version_is_forgotten(tmp_path):
    with BoardCache.of_store(tmp_path) as cache:
        cache.put_scores("key", "told", b"")
    connection = sqlite3.connect(tmp_path / CACHE)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with BoardCache.of_store(tmp_path) as cache:
        assert cache.scores("key") is None
        cache.put_scores("key", "new", b"")
        assert cache.scores("key") == ("new", b"")


def test_a_place_that_cannot_be_written_is_done_without(tmp_path):
    with BoardCache.of_store(tmp_path / "absent") as cache:
        cache.put_scores("key", "told", b"")
        assert cache.scores("key") == ("told", b"")
    assert not (tmp_path / "absent").exists()


def test_a_database_that_another_process_holds_is_read_only(tmp_path, monkeypatch):
    with BoardCache.of_store(tmp_path) as cache:
        cache.put_scores("key", "told", b"")
    holder = sqlite3.connect(tmp_path / CACHE)
    holder.execute("BEGIN IMMEDIATE")
    real = sqlite3.connect
    monkeypatch.setattr(
        "fusionzoo.leaderboard.cache.sqlite3.connect", lambda path, timeout: real(path, timeout=0)
    )
    with BoardCache.of_store(tmp_path) as cache:
        assert cache.scores("key") == ("told", b"")
        cache.put_scores("other", "told", b"")
        cache.put_facts([("a", 1, 2, "told")])
        assert cache.scores("other") is None
    holder.rollback()
    holder.close()
