"""One try of a run within its bounds of time and memory, and what became of it."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.bench.job import Ending, environment_line
from fusionzoo.bench.process import CellProcess

#: Share of the machine's memory that a run may take where nothing else is said.
MOST = 0.9
#: Seconds between looks at a process's memory.
_LOOK = 0.5
#: Where control groups say what this process's container may take.
_GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Limits:
    """What a run may take.

    Args:
        seconds: Wall time of one try; None for no end.
        memory_mib: Memory, MiB; None for `MOST` of what the machine has.
    """

    seconds: float | None = None
    memory_mib: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one try.

    Args:
        ending: How it ended.
        reason: What happened; empty where all went well.
        again: Whether another try may end better.
        seconds: Wall time, process start included.
        log_tail: The last lines of its log.
        environment: Where it ran, in a line.
    """

    ending: Ending
    reason: str
    again: bool
    seconds: float
    log_tail: str
    environment: str


class Attempt:
    """Watches a cell's process.

    Args:
        process: The process.
        limits: What it may take.
    """

    def __init__(self, process: CellProcess, limits: Limits):
        self.process, self.limits = process, limits
        self._memory_mib = limits.memory_mib or MOST * machine_memory_mib()
        self.started = time.monotonic()
        self._looked = self.started
        self._killed: tuple[Ending, str] | None = None
        self._ooms = _out_of_memory_kills()

    def poll(self) -> Outcome | None:
        """What became of it; None while it runs within its bounds."""
        status = self.process.poll()
        now = time.monotonic()
        if status is None:
            if self._killed is None:
                self._watch(now)
            return None
        ending, reason, again, where = self._judge(status)
        return Outcome(ending, reason, again, now - self.started, self.process.log_tail(), where)

    def wait(self) -> Outcome:
        """What became of it, once it has ended."""
        while (outcome := self.poll()) is None:
            time.sleep(0.05)
        return outcome

    def kill(self) -> None:
        """End it now."""
        self.process.kill()

    def _watch(self, now: float) -> None:
        """End a process that takes more than it may."""
        seconds = self.limits.seconds
        if seconds is not None and now - self.started > seconds:
            self._end("timeout", f"It took more than {_words(seconds)} (--timeout).")
        elif now - self._looked > _LOOK:
            self._looked = now
            used = self.process.memory_mib()
            if used > self._memory_mib:
                self._end(
                    "memory",
                    f"It took {used / 1024:.2f} GiB of memory and may take "
                    f"{self._memory_mib / 1024:.2f} GiB (--memory).",
                )

    def _end(self, ending: Ending, reason: str) -> None:
        self._killed = (ending, reason)
        self.process.tell_where()
        self.process.kill()

    def _judge(self, status: int) -> tuple[Ending, str, bool, str]:
        """Ending, reason, whether to try again, and where it ran."""
        answer = self.process.answer()
        if answer is not None and (answer.ending == "done" or self._killed is None):
            return answer.ending, answer.reason, answer.again, answer.environment
        where = environment_line()
        if self._killed is not None:
            return *self._killed, True, where
        if status == -signal.SIGKILL and _out_of_memory_kills() > self._ooms:
            return "memory", "The system ended it because memory ran out.", True, where
        if status < 0:
            name = signal.Signals(-status).name
            return "crash", f"The process was ended by signal {-status} ({name}).", True, where
        return "crash", f"The process ended with status {status} and said nothing.", True, where


def machine_memory_mib() -> float:
    """Memory of this machine, or of the container that this process is in, MiB."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in map(Path, _GROUP_LIMITS):
        told = limit.read_text(encoding="utf-8").strip() if limit.is_file() else ""
        found = min(found, int(told)) if told.isdigit() else found
    return found / 2**20


def _words(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 120 else f"{seconds:g} s"


def _out_of_memory_kills() -> int:
    """How many processes this system has ended for want of memory since it started."""
    counters = Path("/proc/vmstat")
    if not counters.is_file():
        return 0
    found = re.search(r"^oom_kill (\d+)$", counters.read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) if found else 0


__all__ = ["MOST", "Attempt", "Limits", "Outcome", "machine_memory_mib"]
