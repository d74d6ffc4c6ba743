"""An exponential moving average of the weights that learn, evaluated in their place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """After every step, `average = decay * average + (1 - decay) * weight`.

    Early on the decay is `(1 + steps) / (10 + steps)` where that is smaller, so that the random
    start is forgotten. Buffers of floating point (running statistics) are averaged too; everything
    frozen is left out.

    Args:
        module: What is trained.
        decay: In [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.steps = 0
        frozen = {id(b) for m in module.modules() if _frozen(m) for b in m.buffers()}
        self._live: list[Tensor] = [p for p in module.parameters() if p.requires_grad]
        self._live += [b for b in module.buffers() if b.is_floating_point() and id(b) not in frozen]
        self._average = [tensor.detach().clone() for tensor in self._live]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        torch._foreach_lerp_(self._average, [tensor.detach() for tensor in self._live], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module with the averaged weights, for the time of a block."""
        kept = [tensor.detach().clone() for tensor in self._live]
        self._put(self._average)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for tensor, value in zip(self._live, values, strict=True):
            tensor.copy_(value)

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must keep."""
        return {"steps": self.steps, "average": [tensor.cpu() for tensor in self._average]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.steps = state["steps"]
        for own, kept in zip(self._average, state["average"], strict=True):
            own.copy_(kept)


def _frozen(module: nn.Module) -> bool:
    """Whether a module has weights and none of them learns."""
    weights = list(module.parameters())
    return bool(weights) and not any(weight.requires_grad for weight in weights)
