"""The public function: golden vectors on every backend, and PyTorch's machinery around it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fusionzoo.errors import BadOption
from fusionzoo.ops.selective_scan import selective_scan, selective_scan_backends
from tests.ops.selective_scan.cases import ARGUMENTS, FILES, golden, random_scan

ROOT = Path(__file__).parents[3]
BACKENDS = [name for name, state in selective_scan_backends("cpu").items() if state == "ready"]


def leaves(*sizes: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [x.requires_grad_() for x in random_scan(*sizes, dtype=dtype)[:-1]]


def test_the_fallback_is_tested_everywhere():
    assert {"reference", "torch"} <= set(BACKENDS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("file", FILES)
def test_golden(file, backend):
    arrays = golden(file)
    inputs = {name: arrays[f"in/{name}"].requires_grad_() for name in ARGUMENTS}
    y = selective_scan(**inputs, delta_softplus=True, backend=backend)
    torch.testing.assert_close(y, arrays["out/y"], atol=2e-5, rtol=1e-4)
    gradients = torch.autograd.grad(y, list(inputs.values()), arrays["in/dout"])
    for name, ours in zip(inputs, gradients, strict=True):
        theirs = arrays[f"grad/in:{name}"]
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3, msg=lambda m, n=name: n + m)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("file", FILES[:3])
def test_golden_without_options(file, backend):
    arrays = golden(file)
    inputs = {name: arrays[f"in/{name}"] for name in ARGUMENTS}
    no_skip = selective_scan(**inputs | {"D": None}, delta_softplus=True, backend=backend)
    torch.testing.assert_close(no_skip, arrays["out/y_noD"], atol=2e-5, rtol=1e-4)
    bare = {name: inputs[name] for name in ("u", "A", "B", "C")}
    plain = selective_scan(**bare, delta=arrays["in/delta_abs02"], backend=backend)
    torch.testing.assert_close(plain, arrays["out/y_plain"], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients(backend):
    inputs = leaves(2, 4, 2, 2, 3)
    assert torch.autograd.gradcheck(
        lambda *x: selective_scan(*x, delta_softplus=True, backend=backend), inputs
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_shared_columns_are_one_group(backend):
    u, delta, A, B, C, D, bias = random_scan(2, 6, 1, 3, 20)[:-1]
    shared = selective_scan(u, delta, A, B[:, 0], C[:, 0], D, bias, backend=backend)
    assert torch.equal(shared, selective_scan(u, delta, A, B, C, D, bias, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_and_given_but_not_computed_in(dtype, backend):
    half = leaves(2, 6, 2, 3, 80, dtype=dtype)
    single = [x.detach().float().requires_grad_() for x in half]
    results = []
    for inputs in (half, single):
        y = selective_scan(*inputs, delta_softplus=True, backend=backend)
        results.append((y, *torch.autograd.grad(y, inputs, torch.ones_like(y))))
    assert [x.dtype for x in results[0]] == [dtype] * 8
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs.to(dtype), rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_strides_do_not_matter(backend):
    def strided(x):
        return torch.stack([x, x], -1)[..., 0].transpose(0, -1).contiguous().transpose(0, -1)

    plain = leaves(2, 6, 2, 3, 20)
    others = [strided(x.detach()).requires_grad_() for x in plain]
    assert not any(x.is_contiguous() for x in others[:5])
    results = []
    for inputs in (plain, others):
        y = selective_scan(*inputs, delta_softplus=True, backend=backend)
        grad = torch.ones(20, 6, 2, dtype=y.dtype).permute(2, 1, 0)
        results.append((y, *torch.autograd.grad(y, inputs, grad)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_empty_batch(backend):
    inputs = leaves(0, 6, 2, 3, 20)
    y = selective_scan(*inputs, backend=backend)
    assert y.shape == (0, 6, 20)
    found = torch.autograd.grad(y.sum(), inputs)
    assert [x.shape for x in found] == [x.shape for x in inputs]
    assert not any(x.any() for x in found)


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_changes_nothing(backend):
    inputs = leaves(1, 6, 2, 3, 80, dtype=torch.float32)
    plain = selective_scan(*inputs, delta_softplus=True, backend=backend)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = selective_scan(*inputs, delta_softplus=True, backend=backend)
        gradients = torch.autograd.grad(cast.sum(), inputs)
    assert torch.equal(plain, cast)
    for a, b in zip(gradients, torch.autograd.grad(plain.sum(), inputs), strict=True):
        assert torch.equal(a, b)


def test_types_may_differ():
    u, delta, A, B, C, D, bias = random_scan(1, 4, 1, 2, 10)[:-1]
    y = selective_scan(u.bfloat16(), delta, A, B.bfloat16(), C.half(), D, bias)
    assert y.dtype == torch.bfloat16


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the check's own
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_is_an_operator_of_pytorch(backend):
    torch.library.opcheck(
        torch.ops.fusionzoo.selective_scan.default,
        (*leaves(2, 6, 2, 3, 20, dtype=torch.float32), True, backend),
    )


COMPILED = """
import sys
import torch
from fusionzoo.ops.selective_scan import selective_scan
from tests.ops.selective_scan.cases import random_scan

def layer(*x):
    return selective_scan(*x, delta_softplus=True).square()

inputs = [x.requires_grad_() for x in random_scan(2, 6, 2, 3, 20)[:-1]]
results = []
for function in (layer, torch.compile(layer, backend=sys.argv[1], fullgraph=True)):
    y = function(*inputs)
    results.append((y, *torch.autograd.grad(y.sum(), inputs)))
for a, b in zip(*results, strict=True):
    torch.testing.assert_close(a, b)
"""


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_in_one_graph(backend):
    """In a process of its own, since types checked at run time can't be compiled."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, backend], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_meta_device_and_operations():
    inputs = [x.detach().to("meta").requires_grad_() for x in leaves(2, 6, 2, 3, 20)]
    with FlopCounterMode(display=False) as counter:
        y = selective_scan(*inputs)
        forward = counter.get_total_flops()
        y.sum().backward()
    assert (y.shape, y.device.type) == ((2, 6, 20), "meta")
    assert forward == 2 * 6 * 20 * (7 * 3 + 1 + 2)
    assert counter.get_total_flops() == 4 * forward
    assert inputs[3].grad.shape == inputs[3].shape


def test_data_parallel_over_one_process(tmp_path):
    class Layer(torch.nn.Module):
        def __init__(self, tensors):
            super().__init__()
            self.arguments = torch.nn.ParameterList(tensors)

        def forward(self, u, delta):
            return selective_scan(u, delta, *self.arguments, delta_softplus=True)

    u, delta, *rest = random_scan(2, 6, 2, 3, 20)[:-1]
    layer = Layer(rest)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    try:
        parallel = torch.nn.parallel.DistributedDataParallel(layer)
        parallel(u, delta).sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    expected = torch.autograd.grad(layer(u, delta).sum(), list(layer.parameters()))
    for parameter, gradient in zip(layer.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_reference_can_be_differentiated_twice():
    inputs = leaves(1, 2, 1, 1, 2)
    assert torch.autograd.gradgradcheck(lambda *x: selective_scan(*x, backend="reference"), inputs)


def test_unknown_backend():
    with pytest.raises(BadOption, match="no selective-scan backend 'cdua'"):
        selective_scan(*leaves(1, 2, 1, 1, 2), backend="cdua")
