"""What a combo costs, counted on the meta device before anything is allocated."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fusionzoo.interface import Batch
from fusionzoo.models.model import FusionModel
from fusionzoo.spec import DataSpec

#: What torch raises where an operation can't do without the numbers.
_NEEDS_MEMORY = (NotImplementedError, RuntimeError, TypeError)


def example_batch(data: DataSpec, size: int, device: torch.device) -> Batch:
    """A batch of the right shapes, all zeros, every modality present."""
    return Batch(
        inputs={m.name: torch.zeros(size, *m.shape, device=device) for m in data.modalities},
        present={
            m.name: torch.ones(size, dtype=torch.bool, device=device) for m in data.modalities
        },
        targets={t.name: torch.zeros(size, dtype=torch.long, device=device) for t in data.tasks},
        index=torch.arange(size, device=device),
    )


def count_flops(model: FusionModel, data: DataSpec) -> int | None:
    """Floating-point operations of one case's prediction, of a model of `assemble_meta`.

    None where the model can't run on the meta device. A multiply and an add are two operations, as
    `torch.utils.flop_counter` counts them.
    """
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(example_batch(data, 1, torch.device("meta")))
    except _NEEDS_MEMORY:
        return None
    return int(counter.get_total_flops())


def activation_bytes(model: FusionModel, data: DataSpec) -> int | None:
    """Memory of one case's activations while training, judged by what the innermost modules give.

    For a model of `assemble_meta`. None where it can't run on the meta device.
    """
    model.eval()
    total = 0

    def add(module: nn.Module, given: tuple[object, ...], output: object) -> None:
        nonlocal total
        if isinstance(output, Tensor) and all(output is not x for x in given):
            total += output.numel() * output.element_size()

    hooks = [
        m.register_forward_hook(add) for m in model.modules() if not any(True for _ in m.children())
    ]
    try:
        with torch.no_grad():
            model(example_batch(data, 1, torch.device("meta")))
    except _NEEDS_MEMORY:
        return None
    finally:
        for hook in hooks:
            hook.remove()
    return total
