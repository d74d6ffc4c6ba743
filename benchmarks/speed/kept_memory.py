"""Time of a training step where freed memory is kept, against where the system gets it back.

Run: OMP_NUM_THREADS=2 python benchmarks/speed/kept_memory.py --model mmcaf_net [--rounds 2]
Full-size steps of MMCAF-Net or IIMGF-Net, as `mmcaf_net_step.py` and `iimgf_net_step.py` time them.
The allocator is set up for a whole process, so that each measurement is a process of its own; they
take turns. Numbers are medians over the steps of all processes, without each one's first two, which
take memory for the first time. Page faults are those of a step, the peak is the whole process's.
"""

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

MODELS = ("mmcaf_net", "iimgf_net")
WARM_UP = 2
ARMS = ("kept", "given back")


def steps_of(name: str, small: bool) -> Callable[[], None]:
    """One update of a model, by the script that times it."""
    sys.path.insert(0, str(Path(__file__).parent))
    script = importlib.import_module(f"{name}_step")
    if name == "mmcaf_net":
        size = script.SIZES["small" if small else "full"]
        model, batch = script.our_model(size).train(), script.make_batch(size)
        optimiser = script.optimiser_of(model)
    else:
        import torch

        model, batch = script.make_model(small)
        optimiser = torch.optim.Adam(model.train().parameters(), lr=1e-4, fused=True)
    return lambda: script.step(model, batch, optimiser)


def measure(name: str, arm: str, small: bool, steps: int) -> dict[str, list[float]]:
    """Seconds and page faults of each step, and the peak in MiB, in this process."""
    from fusionzoo.training.memory import kept_memory

    step = steps_of(name, small)
    found: dict[str, list[float]] = {"seconds": [], "faults": []}
    with kept_memory("cpu") if arm == "kept" else nullcontext():
        for _ in range(WARM_UP + steps):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            start = time.perf_counter()
            step()
            found["seconds"].append(time.perf_counter() - start)
            found["faults"].append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**{key: values[WARM_UP:] for key, values in found.items()}, "peak": [peak]}


def main() -> None:
    """Let the two take turns, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default=MODELS[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--small", action="store_true", help="a small model, to try the script")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        print(json.dumps(measure(given.model, given.arm, given.small, given.steps)))
        return
    found: dict[str, dict[str, list[float]]] = {arm: {} for arm in ARMS}
    load = os.getloadavg()[0]
    for _ in range(given.rounds):
        for arm in ARMS:
            command = [sys.executable, __file__, *sys.argv[1:], "--arm", arm]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            for key, values in json.loads(told).items():
                found[arm].setdefault(key, []).extend(values)
    print(f"{given.model}, load {load:.1f} to {os.getloadavg()[0]:.1f}")
    print("| memory | step, s | page faults | peak, MiB | all steps, s |\n|---|---|---|---|---|")
    for arm, values in found.items():
        median = {key: statistics.median(every) for key, every in values.items()}
        every = " ".join(f"{seconds:.2f}" for seconds in values["seconds"])
        print(
            f"| {arm} | {median['seconds']:.2f} | {median['faults']:,.0f} | {median['peak']:,.0f} "
            f"| {every} |"
        )


if __name__ == "__main__":
    main()
