import errno
import os

import pytest

from fusionzoo.errors import RunError
from fusionzoo.storage import (
    TEMPORARY,
    atomic_path,
    check_writable,
    make_folder,
    remove_leftovers,
    write_atomic,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def full_disk(after):
    """An `os.write` that takes some bytes and then finds no more room."""
    true_write, room = os.write, [after]

    def write(descriptor, data):
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = true_write(descriptor, bytes(data)[: room[0]])
        room[0] -= count
        return count

    return write


def write_and_stop(target):
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"2")
        raise KeyError("stop")


@pytest.mark.parametrize("content", [b"\x00bytes", "text, é", b"", b"x" * 1_000_000])
def test_the_file_holds_what_was_written(tmp_path, content):
    path = write_atomic(tmp_path / "new" / "folder" / "file.bin", content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(path.parent) == ["file.bin"]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    true_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: true_write(fd, bytes(data)[:3]))
    assert write_atomic(tmp_path / "a", b"0123456789").read_bytes() == b"0123456789"


def test_the_file_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    events = []
    true_fsync, true_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("sync"), true_fsync(fd)))
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda a, b: (events.append("rename"), true_replace(a, b))
    )
    write_atomic(tmp_path / "a", b"1")
    assert events == ["sync", "rename", "sync"]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = write_atomic(tmp_path / "record.json", b"old")

    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full_disk(after=2) if call == "write" else no_room)
    with pytest.raises(RunError) as caught:
        write_atomic(path, b"new content")
    assert str(caught.value) == (
        f"Can't write {path} (No space left on device). "
        "The disk is full: free some space, or choose another folder, and run again."
    )
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["record.json"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "Permission is denied: choose a folder that you may write to"),
        (errno.EROFS, "The file system is read-only: choose a folder on another one."),
        (errno.EDQUOT, "The quota is used up: free some space"),
        (errno.EIO, "Check the folder, or choose another one, and run again."),
    ],
)
def test_an_unwritable_folder_names_path_and_remedy(tmp_path, monkeypatch, number, remedy):
    def refuse(path, *_):
        raise OSError(number, "the reason", os.fspath(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunError) as caught:
        write_atomic(tmp_path / "a", b"1")
    assert f"{tmp_path / 'a'} (the reason). {remedy}" in str(caught.value)


def test_a_file_in_the_way_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match="is a file, not a folder: choose another folder"):
            make_folder(folder)


def test_a_folder_in_the_way_is_no_file(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(RunError, match="A folder has that name: remove it"):
        write_atomic(tmp_path / "a", b"1")
    assert names(tmp_path) == ["a"]


def test_check_writable_leaves_nothing(tmp_path):
    assert check_writable(tmp_path / "run") == tmp_path / "run"
    assert names(tmp_path / "run") == []


def test_check_writable_fails_early(tmp_path, monkeypatch):
    def refuse(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "write_bytes", refuse)
    with pytest.raises(RunError, match="The disk is full"):
        check_writable(tmp_path)


def test_atomic_path_keeps_the_suffix_and_cleans_up(tmp_path):
    target = tmp_path / "weights.safetensors"
    with atomic_path(target) as temporary:
        assert temporary.suffix == ".safetensors"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"1")
        assert not target.exists()
    assert target.read_bytes() == b"1"
    with pytest.raises(KeyError, match="stop"):
        write_and_stop(target)
    assert target.read_bytes() == b"1"
    assert names(tmp_path) == ["weights.safetensors"]


def test_errors_about_other_files_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a"):
        (tmp_path / "other").read_bytes()


def test_long_names_fit(tmp_path):
    name = "n" * 250
    write_atomic(tmp_path / name, b"1")
    assert names(tmp_path) == [name]


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    (tmp_path / f"{TEMPORARY}0123-model.safetensors").touch()
    (tmp_path / "model.safetensors").touch()
    assert [path.name for path in remove_leftovers(tmp_path)] == [
        f"{TEMPORARY}0123-model.safetensors"
    ]
    assert names(tmp_path) == ["model.safetensors"]
