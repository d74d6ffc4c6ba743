"""Several processes that train one model: each takes its part of every batch.

Gradients are averaged over processes, so a loss that is a mean over cases has to be weighted by how
many of them a process has; `share_of` says how much. Batch statistics are taken over the whole
batch (`synchronized`). The numbers are then those of one process with the same batches, but for
what each process draws for itself: dropout and stochastic depth. Losses of fusions that compare the
cases of a batch with each other see those of their own process only.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fusionzoo.interface import Batch

T = TypeVar("T")


@runtime_checkable
class Loader(Protocol):
    """What training needs of a loader: batches, their number, an order that the epoch fixes."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __len__(self) -> int: ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the augmentation of an epoch."""
        ...

    def batch(self, number: int) -> Batch:
        """One batch of the epoch."""
        ...

    def sizes(self, number: int) -> tuple[int, ...]:
        """How many cases of a batch each process has."""
        ...


def launched(device: str, precision: str) -> Fabric:
    """Fabric for this process alone, or, where `torchrun` started several, for all of them.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: Precision, as Fabric names it.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    told: dict[str, Any] = {"accelerator": device, "precision": precision}
    if count == 1:
        return Fabric(devices=1, **told)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", str(count)))
    # A fusion may leave parts without gradient for a batch, those of a modality that nobody has.
    strategy = DDPStrategy(find_unused_parameters=True)
    fabric = Fabric(devices=here, num_nodes=count // here, strategy=strategy, **told)
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    logger.setLevel(logging.WARNING)  # it would tell of each process that it joins
    try:
        fabric.launch()
    finally:
        logger.setLevel(before)
    return fabric


@dataclass(frozen=True)
class Share:
    """How much this process's means count in the mean over all processes; 1 where all have alike.

    Args:
        cases: For means over cases.
        labels: For means over labelled cases, by output and task.
    """

    cases: float
    labels: Mapping[tuple[str, str], float]


def share_of(
    fabric: Fabric, sizes: tuple[int, ...], labelled: Mapping[tuple[str, str], int]
) -> Share:
    """This process's share of a batch: its cases times the number of processes, over all cases.

    Args:
        fabric: Knows the processes.
        sizes: Cases of each process. One that has none got a case to go on with; it counts 0.
        labelled: Labelled cases of this process, by output and task.
    """
    own = sizes[fabric.global_rank]
    counts = torch.tensor([*labelled.values()], dtype=torch.float64, device=fabric.device)
    everywhere = counts * (own > 0)
    dist.all_reduce(everywhere)
    factors = counts * (own > 0) * fabric.world_size / everywhere.clamp(min=1)
    return Share(
        own * fabric.world_size / sum(sizes),
        dict(zip(labelled, factors.tolist(), strict=True)),
    )


def over_batches(fabric: Fabric, loader: Loader, compute: Callable[[Batch], T]) -> Iterator[T]:
    """What a function gives for each batch, in order; several processes take turns and exchange it.

    Args:
        fabric: Knows the processes.
        loader: The batches.
        compute: Gives values on the CPU.
    """
    if fabric.world_size == 1:
        yield from map(compute, loader)
        return
    for start in range(0, len(loader), fabric.world_size):
        number = start + fabric.global_rank
        own = compute(loader.batch(number)) if number < len(loader) else None
        yield from (found for found in gathered(fabric, own) if found is not None)


def gathered(fabric: Fabric, own: T) -> list[T]:
    """A value of every process, in the order of their ranks."""
    if fabric.world_size == 1:
        return [own]
    found: list[Any] = [None] * fabric.world_size
    dist.all_gather_object(found, own)
    return found


def mean_over_processes(fabric: Fabric, value: float) -> float:
    """The mean of a number over all processes."""
    found = gathered(fabric, value)
    return sum(found) / len(found)


@contextmanager
def synchronized(module: nn.Module, fabric: Fabric) -> Iterator["Norms"]:
    """Batch norms that take their statistics over all processes, for the time of a block."""
    norms = Norms()
    several = fabric.world_size > 1
    found = [(m, type(m)) for m in module.modules() if isinstance(m, _BatchNorm) and several]
    for norm, before in found:
        setattr(norm, "__class__", _synchronized_class(before))  # noqa: B010 - mypy knows no other
        vars(norm)["over_processes"] = norms
    try:
        yield norms
    finally:
        for norm, before in found:
            setattr(norm, "__class__", before)  # noqa: B010
            del vars(norm)["over_processes"]


class Norms:
    """What synchronized norms have in common: whether this process's cases count in a step."""

    counts = True


class _SynchronizedNorm(_BatchNorm):
    """A batch norm whose mean and variance are those of the whole batch, over all processes.

    In evaluation it is an ordinary one.
    """

    over_processes: Norms

    def forward(self, input: Tensor) -> Tensor:
        """The input, normalised."""
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        weight = float(self.over_processes.counts)
        size = input.new_tensor([weight * input.numel() / input.shape[1]])
        total = _SumOverProcesses.apply(torch.cat([weight * input.sum(axes), size]))
        mean, number = total[:-1] / total[-1], total[-1].detach()
        centred = input - mean.view(shape)
        squares = _SumOverProcesses.apply(weight * centred.square().sum(axes))
        variance = squares / number
        self._keep(mean.detach(), variance.detach() * number / (number - 1))
        output = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            output = output * self.weight.view(shape) + self.bias.view(shape)
        return output

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        """Take the statistics into the running ones."""
        kept, spread, seen = self.running_mean, self.running_var, self.num_batches_tracked
        if kept is None or spread is None or seen is None:
            return
        seen.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(seen)
        kept.lerp_(mean.to(kept), share)
        spread.lerp_(variance.to(spread), share)


def _synchronized_class(norm: type[nn.Module]) -> type[nn.Module]:
    """A norm's own class with the synchronized forward; its checks of the input stay."""
    return type(f"Synchronized{norm.__name__}", (_SynchronizedNorm, norm), {})


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes, with the sum of the gradients as its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


__all__ = [
    "Loader",
    "Norms",
    "Share",
    "gathered",
    "launched",
    "mean_over_processes",
    "over_batches",
    "share_of",
    "synchronized",
]
