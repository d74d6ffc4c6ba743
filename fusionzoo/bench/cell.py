"""The cell command: one run in this process, and one line of JSON that says how it ended.

    python -m fusionzoo.bench.cell [--parent PID] JOB

Every engine runs this: as a fresh process of its own, or, where the bench has torch loaded already
and may fork, by calling `carry_out` in the forked one. The answer goes to standard output, whatever
else is printed to standard error.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from fusionzoo.bench.job import BRANCHES, STATUS, Answer, Job, environment_line
from fusionzoo.errors import FusionZooError, RunError

if TYPE_CHECKING:
    from fusionzoo.api import RunPlan

#: A store that gives one of these can't take what the other cells have to write either.
_NO_STORE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
_SET_PARENT_DEATH_SIGNAL = 1


def main(arguments: list[str]) -> int:
    """Run the command; gives the exit status."""
    answers = os.dup(1)
    os.dup2(2, 1)
    if arguments[:1] == ["--parent"]:
        die_with(int(arguments[1]))
        arguments = arguments[2:]
    job = Job.loads(arguments[0])
    os.chdir(job.folder)
    prepare_environment(job)
    answer = carry_out(job)
    os.write(answers, answer.dumps().encode() + b"\n")
    return STATUS[answer.ending]


def prepare_environment(job: Job) -> None:
    """What must be set before torch looks at it; and where it is, told in the log when it dies."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(job.threads)
    if job.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = job.gpu
    faulthandler.enable(2)
    faulthandler.register(signal.SIGUSR1, 2)


def die_with(parent: int) -> None:
    """End this process as soon as its parent is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()
    if os.getppid() != parent:  # it went before we asked to be told
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def carry_out(job: Job, planned: RunPlan | None = None) -> Answer:
    """Train, test and leave the record, and say how that went.

    Args:
        job: The run.
        planned: Its plan, where this process has it already.
    """
    try:
        return _run(job, planned)
    except Exception as error:
        return _answer(error)


def _run(job: Job, planned: RunPlan | None) -> Answer:
    import torch

    from fusionzoo.api import execute, plan_run
    from fusionzoo.bench.telling import CellTelling
    from fusionzoo.records.lease import claim

    torch.set_num_threads(job.threads)
    with claim(job.store, job.run_id) as lease:
        planned = planned or plan_run(
            job.spec,
            dataset=job.dataset,
            fold=job.fold,
            num_folds=job.num_folds or None,
            seed=job.seed,
            precision=job.precision,
            threshold_rule=job.threshold_rule,
            binary=job.binary,
            training=job.training,
        )
        if planned.run_id != job.run_id:
            raise RunError(
                f"This is run {planned.run_id} here, and was planned as {job.run_id}: data, "
                "weights or the package differ between the two. Use the same ones everywhere."
            )
        execute(
            planned.reopened_by(job.dataset),
            device=job.device,
            out=job.store,
            resume=True,
            fresh=False,
            observer=CellTelling(lease),
            branches=Path(job.store) / BRANCHES,
            lease=lease,
        )
    return Answer("done", environment=environment_line())


def _answer(error: Exception) -> Answer:
    """What an exception means for the bench; what it says goes to the log too."""
    from fusionzoo.records.lease import LeaseTaken

    where = environment_line()
    if isinstance(error, LeaseTaken):
        return Answer("taken", str(error), environment=where)
    number = getattr(error if isinstance(error, OSError) else error.__cause__, "errno", None)
    if isinstance(error, OSError | RunError) and number in _NO_STORE:
        return Answer("store", str(error), environment=where)
    with contextlib.suppress(OSError):  # the log may be on a full disk
        if isinstance(error, FusionZooError):
            print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        else:
            traceback.print_exc()
    if isinstance(error, FusionZooError):
        return Answer(
            "error" if isinstance(error, RunError) else "refused", str(error), False, where
        )
    if _is_out_of_memory(error):
        return Answer("memory", f"Out of memory: {_first_line(error)}", True, where)
    return Answer("error", f"{type(error).__name__}: {_first_line(error)}", True, where)


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    said = "can't allocate memory" in str(error) or "out of memory" in str(error)
    oom = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, oom) or (isinstance(error, RuntimeError) and said)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
