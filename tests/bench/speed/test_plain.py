"""The plain arm computes what ours computes, with the same weights, in the plain way."""

import copy

import pytest
import torch
from torch import nn

from fusionzoo.bench.speed.plain import compose_plainly
from fusionzoo.interface import Batch
from fusionzoo.models.assemble import assemble
from fusionzoo.ops.depthwise import DepthwiseConv3d
from fusionzoo.spec import DataSpec, Modality, TaskSpec

DATA = DataSpec(
    "toy",
    (
        Modality("ct", "volume", 1, (8, 24, 24)),
        Modality("derm", "image", 3, (32, 32)),
        Modality("table", "table", 4),
    ),
    (TaskSpec("dx", ("no", "yes")),),
)
PYRAMID = "ct=penet3d(width=0.25,depth=14,stochastic_depth=0)+e3d_msca, table=kan -> msca -> linear"
SCANS = "derm=vmamba(channels=8,depths=[1,1,1,1],drop_path=0) -> linear"


def noise():
    torch.manual_seed(0)
    inputs = {m.name: torch.rand(2, *m.shape) for m in DATA.modalities}
    present = {name: torch.ones(2, dtype=torch.bool) for name in inputs}
    return Batch(inputs, present, {"dx": torch.tensor([0, 1])}, torch.arange(2))


def graded(model):
    model.eval()
    logits = model(noise()).logits["dx"]
    logits.sum().backward()
    return logits, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (PYRAMID, ("copies of one channel", "ASPP that nothing reads", "depth-wise 3D")),
        (SCANS, ("selective scans as a loop",)),
    ],
)
def test_plain_gives_the_same_numbers_and_gradients(spec, told):
    ours = assemble(spec, DATA)
    plain = copy.deepcopy(ours)
    differences = compose_plainly(plain)
    assert len(differences) == len(told)
    assert all(any(words in line for line in differences) for words in told)
    (expected, gradients), (found, others) = graded(ours), graded(plain)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    shared = {name.replace(".conv.weight", ".weight"): grad for name, grad in others.items()}
    gradients = {name.replace(".conv.weight", ".weight"): grad for name, grad in gradients.items()}
    assert gradients.keys() == shared.keys()
    scale = max(float(grad.norm()) for grad in gradients.values())
    for name, grad in gradients.items():
        assert float((shared[name] - grad).norm()) < 1e-3 * scale, name


def test_no_fast_gradient_is_left_and_the_aspp_runs():
    model = assemble(PYRAMID, DATA)
    compose_plainly(model)
    assert not any(isinstance(m, DepthwiseConv3d) for m in model.modules())
    assert any(isinstance(m, nn.Conv3d) and m.groups > 1 for m in model.modules())
    (hook,) = model.trunks["ct"].encoder.blocks[-1]._forward_hooks.values()
    assert hook.__name__ == "run"


def test_a_plain_model_stays_as_it_is():
    assert compose_plainly(assemble("table=mlp -> linear", DATA)) == ()
