"""Runs as several processes on this machine, which `torchrun` would start the same way."""

import json
import os
import socket
import subprocess
import sys

RUN = """
import json, sys
import torch.distributed as dist
from fusionzoo.api import run
from fusionzoo.training.observer import Observer

class Heard(Observer):
    def __init__(self):
        self.notes = []
    def note(self, text):
        self.notes.append(text)

found = []
for asked in json.loads(sys.argv[1]):
    heard = Heard()
    found.append([run(**asked, observer=heard).run_id, heard.notes])
dist.destroy_process_group()
print(json.dumps(found))
"""


def start(count, *asked):
    """Start processes that do some runs together, one after the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    return [
        subprocess.Popen(
            [sys.executable, "-c", RUN, json.dumps(asked)],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def finished(processes):
    """For each process, the ids and notes of its runs; all of them must have ended well."""
    told = [process.communicate() for process in processes]
    status = [process.returncode for process in processes]
    assert status == [0] * len(processes), "\n".join(error for _, error in told)
    return [json.loads(out.splitlines()[-1]) for out, _ in told]
