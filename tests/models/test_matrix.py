"""The whole matrix of encoders, fusions and heads: what is allowed learns, what isn't says why."""

import pytest
import torch

from fusionzoo import registry
from fusionzoo.interface import Batch
from fusionzoo.models.assemble import assemble
from fusionzoo.models.matrix import kind_of, tiny_settings, walk, walk_data
from fusionzoo.spec import DataSpec
from fusionzoo.training.loop import total_loss


def shipped(kind: str) -> list[str]:
    """Parts of the package, without those that other tests register."""
    return [entry.name for entry in registry.entries(kind) if entry.origin == "fusionzoo"]


IMAGE_ENCODERS = [name for name in shipped("encoder") if kind_of(name)]
#: Heads all take a vector, so that one is enough but where they themselves are tried.
ONE_HEAD = ["linear"]
QUICK_ENCODER = "resnet3d"


def batch_of(data: DataSpec, size: int = 4) -> Batch:
    torch.manual_seed(0)
    codes = torch.arange(size)
    return Batch(
        {m.name: torch.randn(size, *m.shape, requires_grad=True) for m in data.modalities},
        {m.name: torch.ones(size, dtype=torch.bool) for m in data.modalities},
        {task.name: codes % len(task.classes) for task in data.tasks},
        codes,
    )


def take_a_step(spec: str, data: DataSpec) -> None:
    """One training step: a finite loss, a gradient to every modality, a finite model after it."""
    model, batch = assemble(spec, data).train(), batch_of(data)
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    present = model.context(batch).present
    loss = total_loss(model(batch), batch, present, data.tasks, model.supervised, "bce")
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss), spec
    silent = [name for name, x in batch.inputs.items() if not x.grad.abs().max() > 0]
    assert silent == [], spec
    assert all(torch.isfinite(p).all() for p in model.parameters()), spec


def step_through(**parts: list[str]) -> int:
    """A step of every allowed combination; how many there are."""
    cells = list(walk(**parts))
    for cell, data in cells:
        assert cell.allowed or cell.refusal
        if cell.allowed:
            take_a_step(cell.spec, data)
    return sum(cell.allowed for cell, _ in cells)


@pytest.mark.parametrize("fusion", shipped("fusion"))
def test_every_fusion(fusion: str) -> None:
    assert step_through(encoders=[QUICK_ENCODER], fusions=[fusion], heads=ONE_HEAD) > 0


@pytest.mark.parametrize("encoder", IMAGE_ENCODERS)
def test_every_encoder(encoder: str) -> None:
    assert step_through(encoders=[encoder], fusions=["msca", "concat"], heads=ONE_HEAD) > 0


def test_every_head() -> None:
    heads = shipped("head")
    found = step_through(encoders=[QUICK_ENCODER], fusions=["concat"], heads=heads)
    assert found == 3 * len(heads)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", IMAGE_ENCODERS)
def test_everything(encoder: str) -> None:
    assert step_through(encoders=[encoder], fusions=shipped("fusion"), heads=shipped("head")) > 0


def test_refusals_say_why() -> None:
    found = {
        (cell.setting, cell.fusion): cell.refusal
        for cell, _ in walk(encoders=[QUICK_ENCODER], fusions=["daft", "pefusion"], heads=ONE_HEAD)
    }
    assert found["image + table", "daft"] == ""
    assert "image goes through a map, second goes through a map" in found["two images", "daft"]
    assert "joins exactly 2 modalities; the spec has 3" in found["two images + table", "daft"]
    assert "Use scheme=late_nn_average" in found["two images", "pefusion"]


def test_the_modalities_of_a_data_set() -> None:
    data = tiny_settings("volume")["image + table"]
    cells = list(walk_data(data, fusions=["concat"], heads=ONE_HEAD))
    assert {cell.encoder for cell in cells} >= {"penet3d", "resnet3d", "sam", "timm"}
    assert not {cell.encoder for cell in cells} & {"kan", "mlp", "identity"}
    assert all(cell.allowed and cell.setting == data.name for cell in cells)
