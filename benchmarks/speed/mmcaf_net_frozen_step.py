"""Time of a step of MMCAF-Net's last stage: frozen features read again, against computed again.

Run: OMP_NUM_THREADS=2 python benchmarks/speed/mmcaf_net_frozen_step.py --rounds 3
In that stage the image branch is frozen and in evaluation mode; table, fusion and head learn (6,553
parameters). A step is forward, backward and an SGD update, batch 2, volumes of 1 x 12 x 192 x 192.
Both arms are the same model under the trainer's own wrapper; one is given what the trainer's cache
has kept, the other the volumes. They take turns, one computed step and then `--cached` cached ones.

Before any timing, loss and gradients of the two must be equal. The cache holds what the frozen
branch gives in evaluation mode without augmentation; under the preset `official`, whose frozen part
goes on changing, nothing is cached and this comparison doesn't apply.
"""

import argparse
import os
import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from mmcaf_net_step import SIZES, TASK, make_batch, our_model
from torch import Tensor, nn

from fusionzoo.interface import Batch
from fusionzoo.training.cache import FeatureCache, encode_all
from fusionzoo.training.loop import StageModel, total_loss
from fusionzoo.training.processes import launched


class OneBatch(list[Batch]):
    """The batch, as a loader whose epochs are all alike."""

    def set_epoch(self, epoch: int) -> None:
        """Nothing changes."""

    def batch(self, number: int) -> Batch:
        """The batch."""
        return self[number]

    def sizes(self, number: int) -> tuple[int, ...]:
        """Its cases, all with the one process."""
        return (len(self[number].index),)


class LastStage:
    """The stage's model, its optimiser, and the features of its frozen branch.

    Args:
        batch: The cases of every step.
        size: Name of a size.
    """

    def __init__(self, batch: Batch, size: str):
        model = our_model(SIZES[size])
        (self.feature,) = (feature for feature in model.features if feature.name == "ct")
        self.trunk = model.trunk(self.feature)
        self.stage, self.batch = StageModel(model, [self.trunk]).train(), batch
        learns = [p for p in model.parameters() if p.requires_grad]
        self.num_learning = sum(p.numel() for p in learns)
        self.optimiser = torch.optim.SGD(learns, lr=1e-4, momentum=0.9, dampening=0.9)
        self.cache = FeatureCache(len(batch.index))

    def fill(self) -> float:
        """Encode the cases once; seconds."""
        start = time.perf_counter()
        encoded = encode_all(
            self.trunk,
            self.stage.model,
            self.feature,
            OneBatch([self.batch]),
            launched("cpu", "32"),
        )
        self.cache.add_plain(encoded)
        return time.perf_counter() - start

    def known(self, cached: bool) -> Mapping[str, Any]:
        """What is given to a step: the cached features, or nothing."""
        return {"ct": self.cache(self.batch.index, 0)} if cached else {}

    def graded(self, cached: bool) -> tuple[Tensor, list[Tensor]]:
        """Loss and gradients, from the same random stream."""
        torch.manual_seed(0)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(cached)
        loss.backward()
        found = [p.grad for group in self.optimiser.param_groups for p in group["params"]]
        return loss.detach(), [gradient for gradient in found if gradient is not None]

    def step(self, cached: bool) -> float:
        """One update; seconds."""
        start = time.perf_counter()
        self.optimiser.zero_grad(set_to_none=True)
        self._loss(cached).backward()
        self.optimiser.step()
        return time.perf_counter() - start

    def _loss(self, cached: bool) -> Tensor:
        model = self.stage.model
        present = model.context(self.batch).present
        output = self.stage(self.batch, self.known(cached))
        tasks = next(iter(model.heads.values())).tasks
        return total_loss(output, self.batch, present, tasks, model.supervised, "bce")


def check(stage: LastStage) -> None:
    """Refuse to time two arms that don't do the same."""
    for module in stage.stage.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    (loss, gradients), (cached_loss, cached) = stage.graded(False), stage.graded(True)
    assert torch.equal(loss, cached_loss), f"losses differ: {loss} and {cached_loss}"
    assert len(gradients) == len(cached)
    for one, other in zip(gradients, cached, strict=True):
        assert torch.equal(one, other), "gradients differ"


def main() -> None:
    """Check that both arms do the same, then print one row per arm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cached", type=int, default=50, help="cached steps a round")
    given = parser.parse_args()
    stage = LastStage(make_batch(SIZES[given.size]), given.size)
    filled = stage.fill()
    check(stage)
    print(f"{TASK}: {stage.num_learning} parameters learn; equal losses and gradients;")
    print(f"the cache was filled in {filled:.2f} s")
    computed, cached = [], []
    for round_ in range(given.rounds + 1):  # the first warms up
        times = stage.step(False), statistics.median(stage.step(True) for _ in range(given.cached))
        if round_:
            computed.append(times[0])
            cached.append(times[1])
    print(f"load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads")
    print("| arm | step, ms (median) |\n|---|---|")
    for name, values in (("computed", computed), ("cached", cached)):
        print(f"| {name} | {1000 * statistics.median(values):.1f} |")
    ratios = " ".join(f"{a / b:.0f}x" for a, b in zip(computed, cached, strict=True))
    print(
        f"ratio {statistics.median(computed) / statistics.median(cached):.0f}x, by round {ratios}"
    )


if __name__ == "__main__":
    main()
