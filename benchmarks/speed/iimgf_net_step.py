"""Time of one training step of IIMGF-Net with several ways of computing its selective scans.

Run: OMP_NUM_THREADS=2 python benchmarks/speed/iimgf_net_step.py [--arms cpu torch] [--rounds 3]
A step is forward, backward and an Adam update of everything, batch 2, two pictures of 3 x 224 x
224, eight tasks; 30.0 million parameters. All arms are one model with the same weights, without
drop path; only the scan differs:

    cpu          this package's native kernels, as it picks them; where a map is scanned along four
                 directions, no sequence is made of it
    torch        this package's backend in plain PyTorch
    unbind loop  the usual reference loop, its steps taken apart by `unbind`
    released     the loop as the release runs it without CUDA: it indexes its steps, so that its
                 backward pass grows with the square of the length
    none         no scan at all: the sequence itself, so that everything else can be seen

Arms take turns; the first round warms up where there are several. The released loop takes about a
minute a step, and so is timed once, without a warm-up. Before any timing, losses and gradients of
all arms with a scan must agree on a small model in float64. Processor seconds are those of all
threads together, which other work on the machine inflates less than wall seconds.
"""

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.interface import Batch
from fusionzoo.models.assemble import assemble
from fusionzoo.models.model import FusionModel
from fusionzoo.ops import cross_mamba, ss2d
from fusionzoo.ops.selective_scan import selective_scan
from fusionzoo.spec import DataSpec, Modality, TaskSpec

SPEC = (
    "clinic=derm=vmamba(drop_path=0, num_stages=3, position_embedding=True{small}) "
    "-> cmigf+mgc -> linear(binary=two)"
)
SMALL = ", channels=16, depths=[1, 1, 1, 1]"
#: Classes of the eight tasks.
CLASSES = (5, 3, 2, 3, 3, 3, 3, 2)
BATCH = 2
#: The arm that is slow enough to be timed once.
ONCE = "released"
Scan = Callable[..., Tensor]


def _discretised(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Decays, inputs and readers of all steps, each `batch channels ...` with groups repeated."""
    delta = F.softplus(delta + bias[:, None])
    if B.ndim == 3:
        B, C = B.unsqueeze(1), C.unsqueeze(1)
    width = u.shape[1] // B.shape[1]
    B, C = (x.repeat_interleave(width, dim=1) for x in (B, C))
    decays = torch.exp(torch.einsum("bdl,dn->bdln", delta, A))
    return decays, torch.einsum("bdl,bdnl,bdl->bdln", delta, B, u), C


def unbind_loop(*given: Any, delta_softplus: bool, backend: str) -> Tensor:
    """A step at a time, steps taken apart at once."""
    decays, inputs, C = _discretised(*given)
    h, outputs = torch.zeros_like(decays[:, :, 0]), []
    for decay, x, read in zip(decays.unbind(2), inputs.unbind(2), C.unbind(3), strict=True):
        h = decay * h + x
        outputs.append(torch.einsum("bdn,bdn->bd", h, read))
    return torch.stack(outputs, dim=2) + given[5][:, None] * given[0]


def released_loop(*given: Any, delta_softplus: bool, backend: str) -> Tensor:
    """A step at a time, each taken by an index, whose gradient is as large as the whole."""
    decays, inputs, C = _discretised(*given)
    h, outputs = torch.zeros_like(decays[:, :, 0]), []
    for i in range(decays.shape[2]):
        h = decays[:, :, i] * h + inputs[:, :, i]
        outputs.append(torch.einsum("bdn,bdn->bd", h, C[:, :, :, i]))
    return torch.stack(outputs, dim=2) + given[5][:, None] * given[0]


def no_scan(u: Tensor, *given: Tensor, delta_softplus: bool, backend: str) -> Tensor:
    """The sequence, and what keeps the gradients of everything else: next to no work."""
    return u + 0 * sum(x.sum() for x in given)


def of_backend(name: str) -> Scan:
    """This package's operator on one backend."""

    def scan(*given: Tensor, delta_softplus: bool, backend: str) -> Tensor:
        return selective_scan(*given, delta_softplus=delta_softplus, backend=name)

    return scan


ARMS: dict[str, Scan] = {
    "cpu": of_backend("cpu"),
    "torch": of_backend("torch"),
    "none": no_scan,
    "unbind": unbind_loop,
    ONCE: released_loop,
}


@contextlib.contextmanager
def scanning_by(name: str) -> Iterator[None]:
    """The model's scans in the way of an arm; only `cpu` scans maps without their sequences."""
    with contextlib.ExitStack() as patches:
        for module in (ss2d, cross_mamba):
            patches.enter_context(mock.patch.object(module, "selective_scan", ARMS[name]))
        if name != "cpu":
            patches.enter_context(mock.patch.object(ss2d, "scans", return_value=False))
        yield


def make_model(small: bool) -> tuple[FusionModel, Batch]:
    """The model with the weights it starts with, and a batch of noise."""
    size = 64 if small else 224
    data = DataSpec(
        "synthetic",
        tuple(Modality(name, "image", 3, (size, size)) for name in ("clinic", "derm")),
        tuple(TaskSpec(f"task{i}", tuple("abcde"[:n])) for i, n in enumerate(CLASSES)),
    )
    torch.manual_seed(1)
    inputs = {m.name: torch.rand(BATCH, *m.shape) for m in data.modalities}
    present = {name: torch.ones(BATCH, dtype=torch.bool) for name in inputs}
    targets = {task.name: torch.arange(BATCH) % len(task.classes) for task in data.tasks}
    model = assemble(SPEC.format(small=SMALL if small else ""), data)
    return model, Batch(inputs, present, targets, torch.arange(BATCH))


def loss_of(model: FusionModel, batch: Batch) -> Tensor:
    """The mean of the eight tasks' cross-entropies."""
    losses = []
    for task, logits in model(batch).logits.items():
        codes = batch.targets[task]
        if logits.shape[1] == 1:
            losses.append(F.binary_cross_entropy_with_logits(logits[:, 0], codes.float()))
        else:
            losses.append(F.cross_entropy(logits, codes))
    return torch.stack(losses).mean()


def step(model: nn.Module, batch: Batch, optimiser: torch.optim.Optimizer) -> None:
    """One update."""
    optimiser.zero_grad(set_to_none=True)
    loss_of(model, batch).backward()
    optimiser.step()


def graded(model: FusionModel, batch: Batch, name: str) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and all gradients, with one way of scanning."""
    model.zero_grad(set_to_none=True)
    with scanning_by(name):
        loss = loss_of(model, batch)
        loss.backward()
    named = model.named_parameters()
    gradients = {name: p.grad.double().clone() for name, p in named if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return loss.detach(), gradients


def check(model: FusionModel, batch: Batch, names: list[str]) -> tuple[float, float]:
    """Largest gaps of the loss, and of all gradients relative to their norm, to the first arm's.

    In float64, where rounding moves no maximum and no kink to the other side.
    """
    model = model.double()
    inputs = {name: x.double() for name, x in batch.inputs.items()}
    batch = Batch(inputs, batch.present, batch.targets, batch.index)
    loss, gradients = graded(model, batch, names[0])
    norm = sum(float(g.square().sum()) for g in gradients.values()) ** 0.5
    worst = [0.0, 0.0]
    for name in names[1:]:
        other, found = graded(model, batch, name)
        apart = sum(float((found[n] - g).square().sum()) for n, g in gradients.items()) ** 0.5
        worst = [max(worst[0], float((other - loss).abs())), max(worst[1], apart / norm)]
    model.float()
    assert worst[0] < 1e-8, f"losses differ by {worst[0]:.1e}"
    assert worst[1] < 1e-6, f"gradients differ by {worst[1]:.1e} of their norm"
    return worst[0], worst[1]


def timed(
    model: FusionModel, batch: Batch, names: list[str], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Wall and processor seconds of each step; the arms take turns, all on the same weights."""
    weights = model.train().parameters()
    optimiser = torch.optim.Adam(weights, lr=1e-4, weight_decay=1e-4, fused=True)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for round_ in range(rounds + (rounds > 1)):
        for name in names:
            if name == ONCE and times[name]:
                continue
            wall, processor = time.perf_counter(), time.process_time()
            with scanning_by(name):
                step(model, batch, optimiser)
            took = (time.perf_counter() - wall, time.process_time() - processor)
            print(f"round {round_}, {name}: {took[0]:.2f} s", file=sys.stderr, flush=True)
            if round_ or rounds == 1 or name == ONCE:
                times[name].append(took)
    return times


def main() -> None:
    """Check that the arms agree, then print one row per arm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a small model, to try the script")
    given = parser.parse_args()
    names: list[str] = given.arms
    small = make_model(small=True)
    scanning = [name for name in ARMS if name in names and name != "none"]
    if scanning:
        loss, gradients = check(*small, scanning)
        print(
            f"in float64 losses agree to {loss:.0e} and gradients to {gradients:.0e} of their norm"
        )
    model, batch = small if given.small else make_model(small=False)
    num_parameters = sum(p.numel() for p in model.parameters())
    print(f"{num_parameters:,} parameters, batch {BATCH}, torch {torch.__version__}")
    before = os.getloadavg()[0]
    times = timed(model, batch, names, given.rounds)
    print(f"load {before:.1f} to {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads")
    medians = {
        name: tuple(statistics.median(one) for one in zip(*took, strict=True))
        for name, took in times.items()
    }
    versus = names[-1]
    print(f"| arm | step, s | processor, s | times faster than {versus} | all, s |")
    print("|---|---|---|---|---|")
    for name, (wall, processor) in medians.items():
        every = " ".join(f"{w:.2f}" for w, _ in times[name])
        ratios = f"{medians[versus][0] / wall:.1f} (processor {medians[versus][1] / processor:.1f})"
        print(f"| {name} | {wall:.2f} | {processor:.2f} | {ratios} | {every} |")


if __name__ == "__main__":
    main()
