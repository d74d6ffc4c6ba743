"""Files that are whole or not there: written beside the target, synced, renamed over it."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fusionzoo.errors import RunError

#: Names of unfinished files begin with this; a killed process leaves one behind, `remove_leftovers`
#: deletes it.
TEMPORARY = ".tmp-"

_DENIED = "Permission is denied: choose a folder that you may write to, or change its permissions"
_NO_FOLDER = "A part of the path is a file, not a folder: choose another folder or move the file"
_REMEDIES = {
    errno.ENOSPC: "The disk is full: free some space, or choose another folder, and run again",
    errno.EDQUOT: "The quota is used up: free some space, or choose another folder, and run again",
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: "The file system is read-only: choose a folder on another one",
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.EISDIR: "A folder has that name: remove it or choose another name",
    errno.ENAMETOOLONG: "The name is too long: choose a shorter one",
}


def write_error(path: str | os.PathLike[str], cause: OSError) -> RunError:
    """The `RunError` for a path that can't be written: what failed, why, and what to do."""
    remedy = _REMEDIES.get(
        cause.errno or 0, "Check the folder, or choose another one, and run again"
    )
    reason = cause.strerror or str(cause)
    return RunError(f"Can't write {os.fspath(path)} ({reason}). {remedy}.")


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder and its parents.

    Raises:
        RunError: It can't be created; names the path and the remedy.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise write_error(folder, cause) from cause
    return folder


def check_writable(folder: str | os.PathLike[str]) -> Path:
    """Create a folder and prove that a file can be written in it, before work depends on it.

    Raises:
        RunError: It can't be created or written to; names the path and the remedy.
    """
    path = make_folder(folder)
    probe = _temporary(path / "probe")
    try:
        probe.write_bytes(b"\n")
    except OSError as cause:
        raise write_error(path, cause) from cause
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return path


def write_atomic(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write a file whole: readers see the old content or the new one, never a part of it.

    Args:
        path: The file; missing folders are created.
        content: Bytes, or text that is written as UTF-8.

    Returns:
        The path.

    Raises:
        RunError: It can't be written (full disk, no permission, ...); a previous file is intact.
    """
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
    return Path(path)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path that takes the target's place when the block ends well.

    The temporary name keeps the suffix, for writers that look at it. If the block raises, the
    temporary file is deleted and the target stays as it was. An `OSError` about the temporary file
    becomes a `RunError`; everything else passes through, so a writer that hides the error of a full
    disk is better given a buffer and `write_atomic`.

    Args:
        path: The file to replace or create; missing folders are created.

    Raises:
        RunError: It can't be written; names the path and the remedy.
    """
    target = Path(path)
    make_folder(target.parent)
    temporary = _temporary(target)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as cause:
        if cause.filename not in (None, os.fspath(temporary), temporary):
            raise
        raise write_error(target, cause) from cause
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: str | os.PathLike[str]) -> list[Path]:
    """Delete what killed writers left in a folder that no other process is writing to.

    Returns:
        The deleted files.
    """
    leftovers = sorted(Path(folder).glob(f"{TEMPORARY}*"))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return leftovers


def _temporary(target: Path) -> Path:
    # A short part of the name is enough to recognise it, and keeps long names within the file
    # system's limit.
    return target.with_name(f"{TEMPORARY}{secrets.token_hex(6)}-{target.stem[:40]}{target.suffix}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    # Some file systems (and Windows) can't sync a folder; the rename itself is atomic all the same.
    with suppress(OSError):
        _sync(folder)
