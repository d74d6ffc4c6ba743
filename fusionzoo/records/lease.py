"""Who is working on a run: a lease, so that no two processes ever train the same one.

A lease is a file `leases/<run_id>.<generation>` of the store. Its owner keeps it locked while it
lives, so on one machine the lock alone tells: a process that died, however it died, has none. A
file system may not show locks to other machines; there the owner's heartbeat counts, the file's
time of change. It is stale after `EXPIRY` seconds. A stale lease is taken over by making the file
of the next generation, which only one process can.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType

from fusionzoo.errors import RunError
from fusionzoo.schema import dumps, made_or_problems
from fusionzoo.storage import TEMPORARY, make_folder, write_error

#: Folder of a store that leases are in.
LEASES = "leases"
#: Seconds between heartbeats, and until a lease without one counts as that of a dead machine.
BEAT, EXPIRY = 2.0, 90.0

#: What a file system without hard links answers.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True)
class Owner:
    """What a lease says of its owner.

    Args:
        host: Name of the machine, with a part of its boot's id.
        pid: Process.
        since: When it was taken, seconds since 1970.
        stage: What it is doing.
        done: Share that is done, from 0 to 1.
    """

    host: str
    pid: int
    since: float
    stage: str = ""
    done: float = 0.0


class LeaseTaken(RunError):
    """Somebody else is working on the run; `owner` says who, where that is known."""

    def __init__(self, run_id: str, owner: Owner | None):
        self.run_id, self.owner = run_id, owner
        who = f"process {owner.pid} on {owner.host.partition('/')[0]}" if owner else "a process"
        super().__init__(
            f"Run {run_id} is being trained by {who}. Wait for it, or stop that process: what it "
            "has done so far is kept."
        )


class Lease:
    """A run that this process, and no other, works on, until `release` or its end.

    Args:
        path: Its file.
        descriptor: The open file, locked.
        run_id: The run.
    """

    def __init__(self, path: Path, descriptor: int, run_id: str):
        self.path, self.run_id = path, run_id
        self._descriptor = descriptor
        self._owner = Owner(this_host(), os.getpid(), time.time())
        _sign(descriptor, self._owner)
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._beating.start()

    def tell(self, stage: str, done: float) -> None:
        """Say what is being done, for those who look; written with the next heartbeat."""
        owner = self._owner
        self._owner = Owner(owner.host, owner.pid, owner.since, stage[:60], round(done, 4))

    def check(self) -> None:
        """Prove that the run is still this process's, before something final is written.

        Raises:
            LeaseTaken: It was taken over, because this process gave no sign of life for too long.
        """
        if _newest(self.path.parent, self.run_id) != self.path:
            raise LeaseTaken(self.run_id, owners(self.path.parents[1]).get(self.run_id))

    def release(self) -> None:
        """Let others work on the run."""
        self._over.set()
        self._beating.join()
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            # A full disk or a file server that is away for a moment must not end the run.
            with suppress(OSError):
                _sign(self._descriptor, self._owner)


def claim(store: str | os.PathLike[str], run_id: str) -> Lease:
    """The lease of a run.

    Raises:
        LeaseTaken: Another process has it.
        RunError: It can't be written.
    """
    folder = make_folder(Path(store) / LEASES)
    while True:
        newest = _newest(folder, run_id)
        _refuse_held(folder, run_id, [newest] if newest else [])
        path = folder / f"{run_id}.{_generation(newest) + 1 if newest else 1}"
        try:
            lease = Lease(path, _signed(path), run_id)
        except FileExistsError:
            continue  # somebody was quicker: look again
        except OSError as cause:
            raise write_error(path, cause) from cause
        others = [other for other in _generations(folder, run_id) if other != path]
        try:
            _refuse_held(folder, run_id, others)
        except LeaseTaken:
            lease.release()
            raise
        for other in others:
            other.unlink(missing_ok=True)
        return lease


def _refuse_held(folder: Path, run_id: str, paths: list[Path]) -> None:
    for path in paths:
        held, owner = _look(path)
        if held:
            raise LeaseTaken(run_id, owner)


def _signed(path: Path) -> int:
    """A new file, locked and signed before anybody can see it; FileExistsError where there is one.

    On file systems without hard links it is seen a moment before it is signed, and counts as taken.
    """
    hidden = path.with_name(f"{TEMPORARY}{secrets.token_hex(6)}")
    descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _sign(descriptor, Owner(this_host(), os.getpid(), time.time()))
        try:
            os.link(hidden, path)
        except OSError as cause:
            if cause.errno not in _NO_LINKS:
                raise
            os.close(descriptor)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        os.close(descriptor)
        raise
    finally:
        hidden.unlink(missing_ok=True)
    return descriptor


def _sign(descriptor: int, owner: Owner) -> None:
    """Always of the same length, in place: that needs no more room on the disk."""
    os.pwrite(descriptor, dumps(owner, indent=None).encode().ljust(512), 0)


def owners(store: str | os.PathLike[str]) -> dict[str, Owner]:
    """Who is working on which run of a store now, by run id."""
    folder = Path(store) / LEASES
    found = {}
    for path in _files(folder):
        held, owner = _look(path)
        if held and owner is not None:
            found[path.name.rpartition(".")[0]] = owner
    return found


def is_taken(store: str | os.PathLike[str], run_id: str) -> bool:
    """Whether a living process works on a run."""
    newest = _newest(Path(store) / LEASES, run_id)
    return newest is not None and _look(newest)[0]


def remove_dead(store: str | os.PathLike[str], is_complete: Callable[[str], bool]) -> None:
    """Remove what processes that died between a run's record and its lease's end have left.

    Nobody takes these over, as the runs need no more work.

    Args:
        store: Folder of all runs.
        is_complete: Whether a run has a record.
    """
    for path in _files(Path(store) / LEASES):
        if is_complete(path.name.rpartition(".")[0]) and not _look(path)[0]:
            with suppress(OSError):
                path.unlink(missing_ok=True)


@cache
def this_host() -> str:
    """Name of this machine, with a part of its boot's id where the system tells."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    told = boot.read_text(encoding="utf-8")[:8] if boot.is_file() else ""
    return f"{socket.gethostname()}/{told}"


def _look(path: Path) -> tuple[bool, Owner | None]:
    """Whether a lease's owner lives, and what the lease says of it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False, None
    try:
        owner = _read(os.pread(descriptor, 512, 0))
        locked = _is_locked(descriptor)
        here = owner is not None and owner.host == this_host()
        if here:
            return locked, owner
        return _age(path, os.fstat(descriptor).st_mtime) < EXPIRY, owner
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _read(text: bytes) -> Owner | None:
    """The owner; None where the file was made and its owner hasn't signed yet."""
    try:
        told = json.loads(text)
    except ValueError:
        return None
    return made_or_problems(Owner, told)[0]


def _age(path: Path, changed: float) -> float:
    """Seconds since the last heartbeat, by the clock of whoever keeps the files."""
    probe = path.with_name(f".now-{this_host().replace('/', '-')}-{os.getpid()}")
    try:
        probe.write_bytes(b"")
        os.utime(probe)
        now = probe.stat().st_mtime
    except OSError:
        now = time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return now - changed


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("[!.]*") if path.suffix[1:].isdigit())


def _generations(folder: Path, run_id: str) -> list[Path]:
    return [path for path in _files(folder) if path.name.rpartition(".")[0] == run_id]


def _generation(path: Path) -> int:
    return int(path.suffix[1:])


def _newest(folder: Path, run_id: str) -> Path | None:
    return max(_generations(folder, run_id), key=_generation, default=None)


__all__ = [
    "BEAT",
    "EXPIRY",
    "LEASES",
    "Lease",
    "LeaseTaken",
    "Owner",
    "claim",
    "is_taken",
    "owners",
    "remove_dead",
]
