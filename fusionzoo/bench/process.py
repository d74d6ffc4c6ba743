"""A cell's process: started, watched, ended, and what it left to say.

A process is started cold, with the cell command, or warm, as a fork of this one, which spares the
seconds that importing torch takes. Forking is safe only while this process has one thread and no
CUDA: `may_fork` looks. The child begins a session of its own, dies with its parent, is what the
system ends first when memory runs out, and never runs what the parent would do at its own end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionzoo.bench.cell import carry_out, die_with, prepare_environment
from fusionzoo.bench.job import LOGS, STATUS, Answer, Job
from fusionzoo.errors import RunError
from fusionzoo.storage import make_folder, write_error

if TYPE_CHECKING:
    from fusionzoo.api import RunPlan

#: Threads of libraries that are known to survive a fork: jemalloc's, inside of pyarrow.
_HARMLESS = {"jemalloc_bg_thd"}
#: What is kept of a log: its last lines, of each the first characters.
_TAIL_LINES, _TAIL_CHARACTERS = 60, 200


class CellProcess:
    """One try of a run.

    Args:
        job: The run.
        planned: Its plan, to fork this process; None to start the command.

    Raises:
        RunError: The store can't be written.
    """

    def __init__(self, job: Job, planned: RunPlan | None = None):
        self.log = make_folder(Path(job.store) / LOGS) / f"{job.run_id}.log"
        try:
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as cause:
            raise write_error(self.log, cause) from cause
        self._begins = os.fstat(log).st_size
        self._answers, answer = os.pipe()
        os.set_blocking(self._answers, False)
        try:
            self._command: subprocess.Popen[bytes] | None = None
            if planned is None:
                self._command = _start(job, answer, log)
                self.pid = self._command.pid
            else:
                self.pid = _fork(job, planned, answer, log)
        finally:
            os.close(answer)
            os.close(log)
        self._said = b""
        self.status: int | None = None

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        if self.status is None:
            self._hear()
            if self._command is not None:
                self.status = self._command.poll()
            else:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.status = os.waitstatus_to_exitcode(status) if pid else None
            if self.status is not None:
                self._hear()
                os.close(self._answers)
        return self.status

    def answer(self) -> Answer | None:
        """What it said at its end; None where it died before."""
        lines = self._said.decode(errors="replace").strip().splitlines()
        with suppress(ValueError, RunError):
            return Answer.loads(lines[-1]) if lines else None
        return None

    def kill(self) -> None:
        """End it and all that it started, at once; what it has done so far is in checkpoints."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def tell_where(self) -> None:
        """Have it write into its log which line of code it is at."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)
            time.sleep(0.2)

    def memory_mib(self) -> float:
        """Memory of the process, MiB, pages that it shares with others counted in part."""
        return _memory_mib(self.pid)

    def log_tail(self) -> str:
        """The last lines that this try wrote."""
        try:
            with self.log.open("rb") as file:
                file.seek(self._begins)
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(line[:_TAIL_CHARACTERS] for line in text.splitlines()[-_TAIL_LINES:])

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            while said := os.read(self._answers, 65536):
                self._said += said


def may_fork() -> str:
    """Why this process can't be forked safely; empty where it can."""
    if sys.platform != "linux":
        return "forking a process that has loaded torch is safe on Linux alone"
    tasks = [task / "comm" for task in Path("/proc/self/task").iterdir()]
    names = [task.read_text(encoding="utf-8").strip() for task in tasks]
    extra = [name for name in names if name not in _HARMLESS][1:]
    if extra:
        return f"this process has {len(extra) + 1} threads"
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "CUDA is in use in this process"
    return ""


def _start(job: Job, answer: int, log: int) -> subprocess.Popen[bytes]:
    """The cell command."""
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(job.threads)
    )
    command = [sys.executable, "-m", "fusionzoo.bench.cell", "--parent", str(os.getpid())]
    return subprocess.Popen(
        [*command, job.dumps()],
        stdin=subprocess.DEVNULL,
        stdout=answer,
        stderr=log,
        env={**os.environ, **threads},
        start_new_session=True,
    )


def _fork(job: Job, planned: RunPlan, answer: int, log: int) -> int:
    """The same in a fork of this process; gives its id."""
    parent = os.getpid()
    with warnings.catch_warnings():
        # Newer Pythons warn of any thread, those of `_HARMLESS` too.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    status = STATUS["error"]
    try:
        os.setsid()
        die_with(parent)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for descriptor, place in ((null, 0), (log, 1), (log, 2)):
            os.dup2(descriptor, place)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
        prepare_environment(job)
        ended = carry_out(job, planned)
        os.write(answer, ended.dumps().encode() + b"\n")
        status = STATUS[ended.ending]
    finally:
        os._exit(status)


def _memory_mib(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    try:
        for line in rollup.read_text(encoding="utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    told = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return int(told.stdout or 0) / 1024


__all__ = ["CellProcess", "may_fork"]
