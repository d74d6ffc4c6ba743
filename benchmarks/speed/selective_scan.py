"""Time and memory of the selective scan's backends against the loop of the released models.

Run: python benchmarks/speed/selective_scan.py [--threads 1] [--rounds 7]
     python benchmarks/speed/selective_scan.py --device cuda --batch 32 --dtype bfloat16
The contenders take turns, so that a busy machine slows all of them; each number is the median over
the rounds, of forward and forward + backward in milliseconds. `unbind loop` is the released loop
with its steps taken apart by `unbind`, which makes its gradient linear in the length instead of
quadratic: the fair comparison. Memory is what the process grows by, each measured in a process of
its own at the first shape; the input and the gradient it is given don't count.

On a GPU (or with --roofline) every number comes with its share of the memory roofline: the time in
which the bytes that a pass must read and write, each once, go through memory at the rate of a plain
copy, measured in the same run. `triton` and `mamba_ssm` are there where they can be used. With
TRITON_INTERPRET=1 and --tiny, Triton's kernels run on a CPU, to try the script and nothing else.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionzoo.ops.selective_scan import selective_scan, selective_scan_backends

#: batch, channels, groups, states, length: VMamba-T's stages, then CMIGF's and MGC's scans.
SHAPES = (
    (4, 384, 4, 1, 3136),
    (4, 768, 4, 1, 784),
    (4, 1536, 4, 1, 196),
    (4, 3072, 4, 1, 49),
    (4, 192, 1, 16, 784),
    (4, 384, 1, 16, 196),
    (4, 768, 1, 16, 49),
    (4, 384, 1, 4, 784),
    (4, 768, 1, 4, 196),
    (4, 1536, 1, 4, 49),
)
#: To try the script with kernels that are interpreted.
TINY = ((1, 8, 2, 1, 20), (1, 4, 1, 2, 9))
LOOP = "unbind loop"


def unbind_loop(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, bias: Tensor
) -> Tensor:
    """The usual reference: decays and inputs of all steps at once, then a step at a time."""
    delta = F.softplus(delta + bias[:, None])
    width = u.shape[1] // B.shape[1]
    B, C = (x.repeat_interleave(width, dim=1) for x in (B, C))
    decays = torch.exp(torch.einsum("bdl,dn->bdln", delta, A))
    inputs = torch.einsum("bdl,bdnl,bdl->bdln", delta, B, u)
    h = torch.zeros_like(decays[:, :, 0])
    outputs = []
    for decay, given, read in zip(decays.unbind(2), inputs.unbind(2), C.unbind(3), strict=True):
        h = decay * h + given
        outputs.append(torch.einsum("bdn,bdn->bd", h, read))
    return torch.stack(outputs, dim=2) + D[:, None] * u


def contenders(device: str, names: list[str]) -> dict[str, Callable[..., Tensor]]:
    """The loop, and those of the backends that can be used."""
    ready = [name for name, state in selective_scan_backends(device).items() if state == "ready"]
    found: dict[str, Callable[..., Tensor]] = {LOOP: unbind_loop}
    for name in ready:
        found[name] = lambda *x, name=name: selective_scan(*x, delta_softplus=True, backend=name)
    return {name: found[name] for name in names or found if name in found}


def arguments(
    shape: tuple[int, ...], device: str, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Leaves that look like those of a model; sequences in `dtype`, weights in float32."""
    batch, channels, groups, states, length = shape
    torch.manual_seed(0)
    tensors = [
        torch.randn(batch, channels, length),
        torch.randn(batch, channels, length),
        -torch.rand(channels, states) - 0.5,
        torch.randn(batch, groups, states, length),
        torch.randn(batch, groups, states, length),
        torch.ones(channels),
        torch.randn(channels) / 10 - 2,
    ]
    sequences = (0, 1, 3, 4)
    return [
        x.to(device, dtype if i in sequences else torch.float32).requires_grad_()
        for i, x in enumerate(tensors)
    ]


def milliseconds(work: Callable[[], None], device: str) -> float:
    """Time of one call."""
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


def least_bytes(shape: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """Bytes that a forward and a backward pass must read and write, each once.

    Forward: u, delta, B and C in, y out. Backward: the same and dy in, du, ddelta, dB and dC out.
    """
    batch, channels, groups, states, length = shape
    sequence = batch * channels * length * itemsize
    states_of = batch * groups * states * length * itemsize
    return 3 * sequence + 2 * states_of, 5 * sequence + 4 * states_of


def copied_per_ms(device: str, mib: int = 256) -> float:
    """Bytes a millisecond of a plain copy, read and written: what the memory gives."""
    source = torch.empty(mib * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    took = [milliseconds(lambda: target.copy_(source), device) for _ in range(9)]
    return 2 * source.numel() / statistics.median(took[2:])


def times(
    shape: tuple[int, ...],
    named: dict[str, Callable[..., Tensor]],
    rounds: int,
    device: str,
    dtype: torch.dtype = torch.float32,
) -> dict[str, tuple[float, float]]:
    """Median times of forward and of forward + backward."""
    inputs = arguments(shape, device, dtype)
    with torch.no_grad():
        dy = torch.randn_like(inputs[0])

    def forward(scan: Callable[..., Tensor]) -> None:
        with torch.no_grad():
            scan(*inputs)

    def both(scan: Callable[..., Tensor]) -> None:
        torch.autograd.grad(scan(*inputs), inputs, dy)

    took: dict[str, list[tuple[float, float]]] = {name: [] for name in named}
    for _ in range(rounds + 1):
        for name, scan in named.items():
            pair = [milliseconds(lambda f=f, s=scan: f(s), device) for f in (forward, both)]
            took[name].append((pair[0], pair[1]))
    return {
        name: (statistics.median(f for f, _ in all_[1:]), statistics.median(b for _, b in all_[1:]))
        for name, all_ in took.items()
    }


def peak_mib() -> float:
    """The most memory that this process has had; what Linux calls its high-water mark."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 2**10


def growth(name: str, threads: int) -> float:
    """Peak growth in MiB of one forward + backward at the first shape; run in a fresh process."""
    torch.set_num_threads(threads)
    scan = contenders("cpu", [name])[name]
    small = arguments((1, 16, 1, 1, 70), "cpu")
    torch.autograd.grad(scan(*small).sum(), small)
    inputs = arguments(SHAPES[0], "cpu")
    dy = torch.randn_like(inputs[0])
    before = peak_mib()
    torch.autograd.grad(scan(*inputs), inputs, dy)
    return peak_mib() - before


def growth_in_a_fresh_process(name: str, threads: int) -> float:
    """`growth`, where nothing has been allocated before."""
    command = [sys.executable, __file__, "--growth", name, "--threads", str(threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _share(
    shape: tuple[int, ...], itemsize: int, rate: float | None, forward: float, both: float
) -> str:
    """' [forward, backward]' as shares of the roofline; backward is what both take more."""
    if rate is None:
        return ""
    fewest = [bytes_ / rate for bytes_ in least_bytes(shape, itemsize)]
    backward = max(both - forward, 1e-9)
    return f" [{fewest[0] / forward:.0%}, {fewest[1] / backward:.0%}]"


def main() -> None:
    """Print a table of times and one of memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--shapes", nargs="*", type=int, help="rows of the list of shapes")
    parser.add_argument("--batch", type=int, help="cases, instead of each shape's own")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--roofline", action="store_true", help="shares of it on a CPU too")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, to try the script")
    parser.add_argument("--growth", metavar="NAME", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.growth:
        print(growth(given.growth, given.threads))
        return
    torch.set_num_threads(given.threads)
    dtype = getattr(torch, given.dtype)
    named = contenders(given.device, given.only)
    rate = copied_per_ms(given.device) if given.roofline or given.device != "cpu" else None
    where = torch.cuda.get_device_name() if given.device != "cpu" else f"{given.threads} threads"
    print(f"{where}, torch {torch.__version__}, {given.dtype}, load {os.getloadavg()[0]:.1f}")
    if rate is not None:
        print(f"a plain copy moves {rate / 1e6:.0f} GB/s; in brackets, shares of that roofline")
    print("\n| batch, channels, groups, states, length | " + " | ".join(named) + " |")
    print("|---" * (len(named) + 1) + "|")
    shapes = TINY if given.tiny else SHAPES
    for row in given.shapes or range(len(shapes)):
        shape = (given.batch or shapes[row][0], *shapes[row][1:])
        found = times(shape, named, given.rounds, given.device, dtype)
        loop = found.get(LOOP, (0.0, 0.0))[1]
        cells = [
            f"{f:.3g} / {b:.3g}{_share(shape, dtype.itemsize, rate, f, b)}"
            + (f" ({loop / b:.1f}x)" if loop else "")
            for f, b in found.values()
        ]
        print(f"| {', '.join(map(str, shape))} | " + " | ".join(cells) + " |", flush=True)
    if given.tiny:
        return
    if given.device == "cpu":
        grown = {name: growth_in_a_fresh_process(name, given.threads) for name in named}
        print("\n" + ", ".join(f"{name}: {mib:.0f} MiB" for name, mib in grown.items()))


if __name__ == "__main__":
    main()
