"""The native kernel: against torch's convolution, in its precision, and where it can't be built."""

import logging

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from fusionzoo.ops import cache, native
from fusionzoo.ops import depthwise_native as ours
from fusionzoo.ops.depthwise import DepthwiseConv3d, depthwise_conv3d

#: Of the norm.
CLOSE = {torch.float32: 1e-5, torch.float64: 1e-12}
#: One position, few, more than a tile holds, more rows than a part, lanes over, several blocks.
SHAPES = [
    (1, 1, 1, 1, 1),
    (5, 40, 4, 2, 2),
    (1, 17, 1, 3, 13),
    (3, 5, 2, 21, 7),
    (2, 70, 3, 5, 25),
    (1, 32, 6, 1, 12),
]
#: One compiler, other flags: vectors of 64, 32 and 16 bytes, without fused multiplications too.
FLAGS = (("-march=native",), ("-march=x86-64-v3",), ())


def last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last_3d)


def inputs(shape, kernel, dtype=torch.float32):
    torch.manual_seed(0)
    weight = torch.randn(shape[1], 1, kernel, kernel, kernel, dtype=dtype)
    return last(torch.randn(shape, dtype=dtype)).requires_grad_(), weight.requires_grad_()


def results(convolution, x, weight):
    """The result and both gradients."""
    y = convolution(x, weight)
    seed = last(torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape))
    return y.detach(), *torch.autograd.grad(y, (x, weight), seed)


def theirs(x, weight):
    return F.conv3d(x, weight, padding=weight.shape[-1] // 2, groups=x.shape[1])


def assert_equal_in_norm(found, expected, close):
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= close * b.norm()


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder, and nothing remembered from before or for later."""
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    remembered = (ours._library, ours._is_there, ours._tell)
    for cached in remembered:
        cached.cache_clear()
    yield tmp_path
    for cached in remembered:
        cached.cache_clear()


@pytest.fixture
def built():
    if not ours.computes(*inputs((1, 1, 1, 1, 1), 3)):
        pytest.skip("no C compiler here")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", ours.KERNEL_SIZES)
@pytest.mark.parametrize("dtype", CLOSE)
def test_equals_torch(built, shape, kernel, dtype):
    x, weight = inputs(shape, kernel, dtype)
    assert ours.computes(x, weight)
    found = results(depthwise_conv3d, x, weight)
    assert found[0].is_contiguous(memory_format=torch.channels_last_3d)
    assert_equal_in_norm(found, results(theirs, x, weight), CLOSE[dtype])


def test_a_large_result(built):
    """Beyond the size that goes past the caches."""
    x, weight = inputs((1, 35, 4, 250, 250), 3)
    with torch.no_grad():
        assert x.nbytes > 24 << 20
        assert_equal_in_norm([depthwise_conv3d(x, weight)], [theirs(x, weight)], 1e-5)


@pytest.mark.parametrize("flags", FLAGS)
def test_every_width_of_vector(fresh, monkeypatch, flags):
    monkeypatch.setattr(native, "OPTIONAL_FLAGS", (flags,))
    x, weight = inputs((2, 35, 3, 5, 13), 5)
    if not ours.computes(x, weight):
        pytest.skip(f"the compiler doesn't take {flags}")
    found = results(depthwise_conv3d, x, weight)
    assert_equal_in_norm(found, results(theirs, x, weight), 1e-5)


def test_any_number_of_threads_gives_the_same_numbers(built, monkeypatch):
    monkeypatch.setattr(ours, "WORTH_A_THREAD", 1)
    (x, weight), threads = inputs((3, 35, 2, 18, 5), 3), torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(results(depthwise_conv3d, x, weight))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("mirrored", [False, True])
def test_gradients_of_both_operators(built, mirrored):
    x, weight = inputs((2, 3, 2, 3, 2), 3, torch.float64)
    grad = last(torch.randn_like(x)).requires_grad_()
    for function, given in (
        (lambda x, weight: ours.convolve(x, weight, mirrored), (x, weight)),
        (lambda x, grad: ours.weight_gradient(x, grad, 3), (x, grad)),
    ):
        assert torch.autograd.gradcheck(function, given)
        assert torch.autograd.gradgradcheck(function, given)


def test_torch_finds_the_operators_well_registered(built):
    x, weight = inputs((2, 3, 2, 3, 2), 3)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(ours.convolve, (x, weight, True), test_utils=tests)
    torch.library.opcheck(ours.weight_gradient, (x, last(x.detach()), 3), test_utils=tests)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x, weight: (x.contiguous(), weight), id="channels first"),
        pytest.param(lambda x, weight: (x.bfloat16(), weight.bfloat16()), id="half precision"),
        pytest.param(lambda x, weight: (x, F.pad(weight, (2,) * 6)), id="kernel of 7"),
        pytest.param(lambda x, weight: (x.to("meta"), weight.to("meta")), id="no data"),
        pytest.param(lambda x, weight: (x[:0], weight), id="no case"),
    ],
)
def test_leaves_to_torch_what_it_is_not_made_for(built, change):
    x, weight = change(*inputs((2, 3, 2, 3, 4), 3))
    assert not ours.computes(x, weight)
    assert depthwise_conv3d(x, weight).shape == x.shape


def test_counts_as_many_operations_as_torch(built, monkeypatch):
    counts = []
    for computes in (ours.computes, lambda x, weight: False):
        monkeypatch.setattr(ours, "computes", computes)
        with FlopCounterMode(display=False) as counter:
            results(depthwise_conv3d, *inputs((2, 8, 3, 4, 5), 3))
        counts.append(counter.get_total_flops())
    assert counts == [3 * 2 * 2 * 8 * 60 * 27] * 2


def test_fake_tensors_have_the_strides_of_real_ones(built):
    x, weight = inputs((2, 3, 4, 5, 6), 3)
    mode = FakeTensorMode()
    fake = [mode.from_tensor(part.detach()).requires_grad_() for part in (x, weight)]
    with mode:
        y = depthwise_conv3d(*fake)
        found = y, *torch.autograd.grad(y, fake, torch.ones_like(y))
    real = results(depthwise_conv3d, x, weight)
    assert [a.stride() for a in found] == [b.stride() for b in real]


def test_an_exported_graph_has_convolutions(built):
    x, _ = inputs((1, 4, 3, 4, 5), 3)
    exported = torch.export.export(DepthwiseConv3d(4, 3), (x.detach(),))
    called = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert called == {"aten.conv3d.default"}


def test_no_compiler_is_said_once_and_torch_takes_over(fresh, monkeypatch, caplog):
    x, weight = inputs((2, 5, 3, 4, 5), 5)
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    with caplog.at_level(logging.WARNING, "fusionzoo"):
        for dtype in (torch.float32, torch.float64):
            pair = [part.detach().to(dtype).requires_grad_() for part in (x, weight)]
            found = results(depthwise_conv3d, *pair)
            assert_equal_in_norm(found, results(theirs, *pair), CLOSE[dtype])
    (record,) = caplog.records
    assert record.getMessage() == (
        "Depth-wise convolutions do without their native kernel: no C compiler was found (cc, gcc, "
        "clang, or the one that CC names)."
    )


def test_memory_that_runs_out(monkeypatch):
    class Full:
        def depthwise_forward(self, *arguments):
            return 1

    monkeypatch.setattr(ours, "_library", lambda dtype: Full())
    x, weight = inputs((1, 2, 3, 4, 5), 3)
    with pytest.raises(
        MemoryError, match=r"^no memory is left to convolve maps of \(1, 2, 3, 4, 5"
    ):
        ours.convolve(x, weight, False)
