"""One command as several processes, one for each device, as `torchrun` would start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import IO

from fusionzoo.errors import BadOption

_COMMAND = "from fusionzoo.cli import main; main()"
_MAIN, _LOOK = "127.0.0.1", 0.1
#: Exit status of what a user can mend.
USER_ERROR = 2


def is_one_of_several() -> bool:
    """Whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process speaks for all."""
    return int(os.environ.get("RANK", "0")) == 0


def check_devices(device: str, count: int) -> None:
    """Refuse more processes than there are GPUs, where those are what is asked for.

    Raises:
        BadOption: There are fewer.
    """
    import torch

    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if device == "mps" or (count > gpus and (gpus or device == "cuda")):
        have = "1 GPU" if device == "mps" else f"{gpus} GPU{'s' * (gpus != 1)}"
        raise BadOption(
            f"--devices {count} asks for a GPU for each process; this machine has {have}. Ask for "
            "fewer, or add --device cpu."
        )


def run_processes(count: int, arguments: Sequence[str]) -> int:
    """Run a command in several processes on this machine; the first one speaks.

    Args:
        count: Processes.
        arguments: What the command line says after `fusionzoo`.

    Returns:
        The exit status: that of the first process that fails. The others are ended then, and what
        it wrote to standard error is shown.
    """
    with socket.socket() as free:
        free.bind((_MAIN, 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": _MAIN,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
    }
    # Cores are shared out; and torch would say at every stage that all its parameters were used.
    quiet = {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    shared |= {name: value for name, value in quiet.items() if name not in os.environ}
    with ExitStack() as files:
        others = [files.enter_context(tempfile.TemporaryFile()) for _ in range(1, count)]
        return _wait(_started(arguments, shared, [None, *others]), [None, *others])


def _started(
    arguments: Sequence[str], shared: Mapping[str, str], errors: Sequence[IO[bytes] | None]
) -> list[subprocess.Popen[bytes]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", _COMMAND, *arguments],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL if rank else None,
            stderr=error,
        )
        for rank, error in enumerate(errors)
    ]


def _wait(processes: Sequence[subprocess.Popen[bytes]], errors: Sequence[IO[bytes] | None]) -> int:
    """The exit status of all, once they are gone."""
    failed: list[int] = []
    try:
        while not failed and any(process.poll() is None for process in processes):
            time.sleep(_LOOK)
            failed = [rank for rank, process in enumerate(processes) if process.poll()]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if not failed:
        return 0
    if processes[0].returncode != USER_ERROR:
        # The first one says then that the others are gone, and one of those why.
        for told in filter(None, (errors[rank] for rank in failed)):
            told.seek(0)
            sys.stderr.write(told.read().decode(errors="replace"))
            break
    status = processes[failed[0]].returncode
    return status if status > 0 else 1
