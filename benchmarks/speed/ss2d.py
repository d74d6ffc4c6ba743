"""Time of VMamba's SS2D where maps are scanned in place, and where four sequences are made.

Run: OMP_NUM_THREADS=2 python benchmarks/speed/ss2d.py
Forward and backward of one module at the four stages of VMamba-T for pictures of 224 x 224. Three
contenders take turns, so that a busy machine slows all: the native kernel for maps, the native
kernel for sequences (`cpu`), and plain PyTorch (`torch`). Numbers are medians over the rounds.
"""

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from unittest import mock

import torch
from torch import Tensor

from fusionzoo.ops import ss2d
from fusionzoo.ops.selective_scan.maps import why_not
from fusionzoo.ops.ss2d import SS2D

#: Channels, and sides of the map.
STAGES = ((96, 56), (192, 28), (384, 14), (768, 7))
ARMS = ("maps", "cpu", "torch")


@contextlib.contextmanager
def scanning_by(arm: str, module: SS2D) -> Iterator[None]:
    """The module's scans in the way of a contender."""
    module.scan_backend = "torch" if arm == "torch" else "cpu"
    with contextlib.ExitStack() as patches:
        if arm != "maps":
            patches.enter_context(mock.patch.object(ss2d, "scans", return_value=False))
        yield


def step(module: SS2D, x: Tensor, dy: Tensor) -> list[Tensor]:
    """The result and all gradients."""
    leaves = [x, *module.parameters()]
    y = module(x)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy)]


def difference(module: SS2D, x: Tensor, dy: Tensor) -> float:
    """The largest one between contenders, relative to the largest value."""
    found = []
    for arm in ARMS:
        with scanning_by(arm, module):
            found.append(step(module, x, dy))
    pairs = [pair for other in found[1:] for pair in zip(other, found[0], strict=True)]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def medians_ms(module: SS2D, x: Tensor, dy: Tensor, rounds: int) -> dict[str, float]:
    """Median time of each contender, which take turns; the first two rounds warm up."""
    times: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for round_ in range(rounds + 2):
        for arm in ARMS:
            with scanning_by(arm, module):
                start = time.perf_counter()
                step(module, x, dy)
                took = time.perf_counter() - start
            if round_ >= 2:
                times[arm].append(took)
    return {arm: 1e3 * statistics.median(every) for arm, every in times.items()}


def main() -> None:
    """Print one row per stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    if why_not() is not None:
        raise SystemExit(f"There is no kernel for maps here: {why_not()}.")
    load = os.getloadavg()[0]
    print(f"batch {given.batch}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| channels, side | maps, ms | cpu, ms | torch, ms | cpu / maps | difference |")
    print("|---|---|---|---|---|---|")
    for channels, side in STAGES:
        torch.manual_seed(0)
        module = SS2D(channels)
        x = torch.randn(given.batch, channels, side, side)
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        dy = torch.randn_like(x)
        apart = difference(module, x, dy)
        took = medians_ms(module, x, dy, given.rounds)
        row = " | ".join(f"{took[arm]:.1f}" for arm in ARMS)
        ratio = took["cpu"] / took["maps"]
        print(f"| {channels}, {side} | {row} | {ratio:.2f}x | {apart:.0e} |")
    print(f"load {load:.1f} to {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
