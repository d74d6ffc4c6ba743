"""One stage of training: steps, epochs, the best weights, and a checkpoint after every epoch."""

import copy
import math
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from fusionzoo.errors import RunError
from fusionzoo.interface import Batch
from fusionzoo.losses.classification import task_loss
from fusionzoo.models.model import FusionModel, ModelOutput
from fusionzoo.spec import TaskSpec
from fusionzoo.training.average import WeightAverage
from fusionzoo.training.checkpoint import (
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
    seed_everything,
)
from fusionzoo.training.config import TrainConfig
from fusionzoo.training.observer import EpochReport, Observer
from fusionzoo.training.processes import (
    Loader,
    Norms,
    Share,
    gathered,
    mean_over_processes,
    over_batches,
    share_of,
    synchronized,
)
from fusionzoo.training.score import ValidationScores, validation_scores

#: From the index of the cases in a batch and the epoch to streams that were encoded before.
Known = Callable[[Tensor, int], Mapping[str, Any]]
#: What a checkpoint keeps, in the order in which it is saved.
_KEPT = ("identity", "reports", "model", "best", "averaged", "optimizer", "random", "others")


class StageModel(nn.Module):
    """A model as one stage trains it: frozen parts get no gradient.

    Args:
        model: The whole model.
        frozen: Parts of it that don't learn.
        mode: `eval` keeps frozen parts in evaluation mode, `train` lets them follow the model.
    """

    def __init__(
        self,
        model: FusionModel,
        frozen: Sequence[nn.Module] = (),
        *,
        mode: Literal["eval", "train"] = "eval",
    ):
        super().__init__()
        self.model = model
        self._still = tuple(frozen) if mode == "eval" else ()
        for part in frozen:
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> "StageModel":
        """Training mode for everything but the parts that stand still."""
        super().train(mode)
        for part in self._still:
            part.eval()
        return self

    def forward(self, batch: Batch, known: Mapping[str, Any]) -> ModelOutput:
        """The model's output; streams in `known` are not encoded again."""
        return self.model(batch, known)


def total_loss(
    output: ModelOutput,
    batch: Batch,
    present: Mapping[str, Tensor],
    tasks: Sequence[TaskSpec],
    supervised: Mapping[str, float],
    kind: Literal["bce", "focal"],
    share: Share | None = None,
) -> Tensor:
    """Weighted sum over supervised outputs of the mean task loss, plus the auxiliary losses.

    An output that bears the name of a modality learns from the cases that have it. Where other
    processes have parts of the batch too, `share` says how much each mean here counts.
    """
    by_name = {"final": output.logits, **output.by_output}
    loss = sum(output.losses.values(), torch.zeros((), device=batch.index.device))
    loss = loss * share.cases if share else loss
    for name, weight in supervised.items():
        for task in tasks:
            targets = _targets(batch, present, name, task)
            one = task_loss(by_name[name][task.name].float(), targets, task, kind=kind)
            weight_here = weight * share.labels[name, task.name] if share else weight
            loss = loss + weight_here * one / len(tasks)
    return loss


def separate_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give gradients that lie in the same memory memory of their own.

    Autograd lets two parameters share one where they are added to each other as views, two biases
    of maps of a single position say; what then scales gradients in place would scale it twice.
    """
    taken = set()
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.numel():
            if parameter.grad.data_ptr() in taken:
                parameter.grad = parameter.grad.clone()
            taken.add(parameter.grad.data_ptr())


def _targets(batch: Batch, present: Mapping[str, Tensor], name: str, task: TaskSpec) -> Tensor:
    """What an output learns of a task: -1 where there is nothing to learn."""
    targets = batch.targets[task.name]
    return torch.where(present[name], targets, -1) if name in present else targets


def _optimizer(
    stage: nn.Module, config: TrainConfig, lr: float, device: str
) -> torch.optim.Optimizer:
    """The optimiser over what learns; norms and biases decay only where the settings say so.

    On a CPU, Adam passes over the weights once (on a GPU, mixed precision rules that out).
    """
    trainable = [p for p in stage.parameters() if p.requires_grad]
    decayed = [p for p in trainable if p.ndim > 1 or config.decay_all]
    spared = [p for p in trainable if p.ndim <= 1 and not config.decay_all]
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decayed, config.weight_decay), (spared, 0.0))
        if parameters
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=config.momentum, dampening=config.dampening)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=lr, fused=True if device == "cpu" else None)


def learning_rate_share(step: int, total: int, config: TrainConfig) -> float:
    """Share of the peak learning rate at a step of `total`."""
    if config.schedule == "samples":
        return _share_by_samples(step * config.batch_size, config)
    warm = max(1, round(config.warmup * total))
    if step < warm:
        return (step + 1) / warm
    if config.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def _share_by_samples(seen: int, config: TrainConfig) -> float:
    """MMCAF-Net's released schedule: up over the first cases, then half a cosine over cases."""
    if seen < config.warmup_samples:
        return seen / config.warmup_samples
    if seen >= config.cosine_samples:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (seen - config.warmup_samples) / config.cosine_samples))


class StageTrainer:
    """Trains one stage and leaves its best weights in the model.

    Args:
        name: Name of the stage; names its checkpoint and seeds its generators.
        stage: What to train.
        tasks: Tasks of the data set.
        config: Settings.
        epochs: Most epochs.
        lr: Peak learning rate.
        fabric: Carries device and precision.
        folder: Where `<name>.ckpt` goes; None keeps nothing on disk.
        identity: Hash of all that defines the run; a checkpoint of another one is refused.
        seed: Seed of the run.
        observer: Hears of progress.
        known: Streams encoded before, for a batch and an epoch.
    """

    def __init__(
        self,
        name: str,
        stage: StageModel,
        tasks: Sequence[TaskSpec],
        config: TrainConfig,
        *,
        epochs: int,
        lr: float,
        fabric: Fabric,
        folder: Path | None,
        identity: str,
        seed: int,
        observer: Observer,
        known: Known | None = None,
    ):
        self.name, self.stage, self.tasks, self.config = name, stage, tuple(tasks), config
        self.epochs, self.fabric, self.identity, self.observer = epochs, fabric, identity, observer
        self.path = folder / f"{name.replace(':', '-')}.ckpt" if folder is not None else None
        self.known: Known = known or (lambda index, epoch: {})
        self.seed = seed
        self.lr = lr
        self.reports: list[EpochReport] = []
        self.best: dict[str, Tensor] | None = None
        self._norms, self._told = Norms(), False
        self.supervised = stage.model.supervised

    def run(self, train: Loader, val: Loader) -> list[EpochReport]:
        """Train to the end, from the last checkpoint where there is one.

        Of several processes, each takes its part of a training batch and its turn at validation.
        """
        with synchronized(self.stage, self.fabric) as self._norms:
            return self._run(train, val)

    def _run(self, train: Loader, val: Loader) -> list[EpochReport]:
        rank = self.fabric.global_rank
        seed_everything(_stream(self.seed, f"{self.name}/{rank}" if rank else self.name))
        optimizer = _optimizer(self.stage, self.config, self.lr, self.fabric.device.type)
        wrapped, optimizer = self.fabric.setup(self.stage, optimizer)
        averaged = WeightAverage(self.stage, self.config.ema) if self.config.ema else None
        self._resume(optimizer, averaged)
        steps = len(train)
        self.observer.stage_started(self.name, self.epochs, steps, len(self.reports))
        while len(self.reports) < self.epochs and not self._stopped():
            epoch = len(self.reports)
            started = time.perf_counter()
            train.set_epoch(epoch)
            loss = self._epoch(wrapped, optimizer, averaged, train, epoch)
            with averaged.applied() if averaged else nullcontext():
                scores = self._validate(val)
                better = self._better(scores)
                if better:
                    self.best = _state(self.stage.model)
            lr = optimizer.param_groups[0]["lr"]
            seconds = time.perf_counter() - started
            self.reports.append(
                EpochReport(
                    epoch + 1,
                    loss,
                    val_loss=scores.loss,
                    val_auroc=scores.auroc,
                    val_accuracy=scores.accuracy,
                    lr=lr,
                    seconds=seconds,
                    best=better,
                )
            )
            self._save(optimizer, averaged)
            self.observer.epoch(self.name, self.reports[-1])
        if self.best is None:
            raise RunError(
                f"Stage {self.name!r} never reached a finite validation loss. Try a smaller lr "
                f"(it is {self.lr})."
            )
        self.stage.model.load_state_dict(self.best)
        self.observer.stage_finished(
            self.name, [report for report in self.reports if report.best][-1]
        )
        return self.reports

    def _epoch(
        self,
        wrapped: Any,
        optimizer: Any,
        averaged: WeightAverage | None,
        train: Loader,
        epoch: int,
    ) -> float:
        """All steps of one epoch; the mean loss."""
        self.stage.train()
        steps, total = len(train), len(train) * self.epochs
        running, several = 0.0, self.fabric.world_size > 1
        for number, batch in enumerate(train):
            self._norms.counts = not several or train.sizes(number)[self.fabric.global_rank] > 0
            for group in optimizer.param_groups:
                group["lr"] = self.lr * learning_rate_share(
                    epoch * steps + number, total, self.config
                )
            batch = batch.to(self.fabric.device)
            output = wrapped(batch, self.known(batch.index, epoch))
            present = self.stage.model.context(batch).present
            share = self._share(output, batch, present, train.sizes(number)) if several else None
            loss = total_loss(
                output, batch, present, self.tasks, self.supervised, self.config.loss, share
            )
            optimizer.zero_grad()
            self.fabric.backward(loss)
            separate_gradients(self.stage.parameters())
            if self.config.clip:
                self.fabric.clip_gradients(
                    wrapped, optimizer, max_norm=self.config.clip, error_if_nonfinite=False
                )
            optimizer.step()
            if averaged is not None:
                averaged.update()
            running += float(loss.detach())
            self.observer.step(self.name)
        return mean_over_processes(self.fabric, running / steps)

    def _share(
        self,
        output: ModelOutput,
        batch: Batch,
        present: Mapping[str, Tensor],
        sizes: tuple[int, ...],
    ) -> Share:
        """How much this process's losses count in those of the whole batch."""
        if output.losses and not self._told:
            self._told = True
            self.observer.note(
                f"The loss {' and '.join(map(repr, output.losses))} sees the cases of each process "
                "alone; where it compares cases with each other, one process gives other numbers."
            )
        labelled = {
            (name, task.name): int((_targets(batch, present, name, task) >= 0).sum())
            for name in self.supervised
            for task in self.tasks
        }
        return share_of(self.fabric, sizes, labelled)

    @torch.no_grad()
    def _validate(self, val: Loader) -> ValidationScores:
        """Scores on the validation part."""
        self.stage.eval()
        judged = list(over_batches(self.fabric, val, self._judge))
        logits, targets = (
            {task.name: torch.cat([one[k][task.name] for one in judged]) for task in self.tasks}
            for k in (0, 1)
        )
        return validation_scores(logits, targets, self.tasks)

    def _judge(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Logits and targets of a validation batch, by task."""
        batch = batch.to(self.fabric.device)
        output = self.stage(batch, self.known(batch.index, -1))
        logits = {task.name: output.logits[task.name].float().cpu() for task in self.tasks}
        return logits, {task.name: batch.targets[task.name].cpu() for task in self.tasks}

    def _score(self, loss: float, auroc: float, accuracy: float) -> float:
        """The score that is watched, higher being better."""
        return {"loss": -loss, "auroc": auroc, "accuracy": accuracy}[self.config.monitor]

    def _better(self, scores: ValidationScores) -> bool:
        score = self._score(*scores)
        earlier = [
            self._score(report.val_loss, report.val_auroc, report.val_accuracy)
            for report in self.reports
            if report.best
        ]
        return (
            math.isfinite(scores.loss)
            and not math.isnan(score)
            and (not earlier or score > max(earlier))
        )

    def _stopped(self) -> bool:
        """Whether patience has run out."""
        if not self.config.patience or not self.reports:
            return False
        last_best = max((report.epoch for report in self.reports if report.best), default=0)
        return len(self.reports) - last_best >= self.config.patience

    def _save(self, optimizer: Any, averaged: WeightAverage | None) -> None:
        if self.path is None:
            return
        own, *others = gathered(self.fabric, random_state())
        if not self.fabric.is_global_zero:
            return
        kept = (
            self.identity,
            [asdict(report) for report in self.reports],
            _state(self.stage.model),
            self.best,
            averaged.state() if averaged else None,
            optimizer.state_dict(),
            own,
            others,
        )
        save_checkpoint(self.path, dict(zip(_KEPT, kept, strict=True)))

    def _resume(self, optimizer: Any, averaged: WeightAverage | None) -> None:
        if self.path is None or not self.path.is_file():
            return
        state = load_checkpoint(self.path, _KEPT)
        if state["identity"] != self.identity:
            raise RunError(
                f"The checkpoint {str(self.path)!r} belongs to another run (its identity is "
                f"{state['identity']}, this "
                f"one's {self.identity}): spec, data, split, settings or seed differ. Choose "
                "another folder with --out."
            )
        self.reports = [EpochReport(**report) for report in state["reports"]]
        self.stage.model.load_state_dict(state["model"])
        self.best = state["best"]
        if averaged is not None:
            averaged.restore(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        known = [state["random"], *state["others"]]
        if self.fabric.global_rank < len(known):  # else there were fewer processes before
            restore_random_state(known[self.fabric.global_rank])


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {key: copy.deepcopy(value.detach().cpu()) for key, value in model.state_dict().items()}


def _stream(seed: int, name: str) -> int:
    """A seed of its own for each stage of a run."""
    return zlib.crc32(f"{seed}/{name}".encode())
