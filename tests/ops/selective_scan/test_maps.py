"""The native kernel for maps: against the recurrence over four sequences, in its precision."""

import logging

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fusionzoo.ops import cache, native, recording, ss2d
from fusionzoo.ops.selective_scan import backends, cpu, maps
from fusionzoo.ops.selective_scan.maps import by_sequences, scan_maps, scans
from fusionzoo.ops.ss2d import SS2D, cross_merge, cross_scan

needs_compiler = pytest.mark.skipif(
    cpu.missing(torch.device("cpu")) is not None, reason="no C compiler here"
)
#: One compiler, other flags: vectors of 64, 32 and 16 bytes, without fused multiplications too.
FLAGS = (("-march=native",), ("-march=x86-64-v3",), ())
NAMES = ("x", "delta", "A", "B", "C", "D", "delta_bias")


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder, and nothing remembered from before or for later."""
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    for cached in (maps._library, maps.why_not):
        cached.cache_clear()
    yield tmp_path
    for cached in (maps._library, maps.why_not):
        cached.cache_clear()


def random_maps(batch, channels, height, width, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    length = height * width
    given = [
        torch.randn(batch, channels, height, width),
        torch.randn(4, batch, length, channels) - 1,
        -torch.rand(4, channels) - 0.1,
        torch.randn(batch, length, 4),
        torch.randn(batch, length, 4),
        torch.randn(4, channels),
        0.1 * torch.randn(4, channels),
    ]
    return [x.to(dtype).requires_grad_() for x in given]


def with_gradients(scan, given, dy):
    y = scan(*given)
    return (y.detach(), *torch.autograd.grad(y, given, dy.to(y.dtype)))


def assert_equals_sequences(given, tolerance):
    dy = torch.randn(given[0].shape)
    found = with_gradients(scan_maps, given, dy)
    exact = [x.detach().double().requires_grad_() for x in given]
    for ours, theirs in zip(found, with_gradients(by_sequences, exact, dy), strict=True):
        assert (ours.double() - theirs).abs().max() < tolerance * theirs.abs().max().clamp(min=1)


@needs_compiler
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (8, 8), (5, 13), (9, 15)])
@pytest.mark.parametrize("channels", [1, 16, 37])
def test_equals_four_sequences(size, channels):
    assert_equals_sequences(random_maps(2, channels, *size), 3e-6)


@needs_compiler
def test_equals_four_sequences_in_double_precision():
    assert_equals_sequences(random_maps(2, 11, 9, 13, torch.float64), 1e-13)


@needs_compiler
def test_large_maps_are_written_past_the_caches():
    given = random_maps(1, 32, 45, 47)
    assert given[1].numel() * 4 > 1 << 20
    assert_equals_sequences(given, 3e-6)


@needs_compiler
def test_the_order_of_memory_does_not_matter():
    given = random_maps(2, 20, 4, 6)
    dy = torch.randn(given[0].shape)
    apart = [x.detach().expand(2, *x.shape).movedim(0, -1).contiguous()[..., 0] for x in given]
    apart = [x.requires_grad_() for x in apart]
    assert not any(x.is_contiguous() for x in apart)
    results = zip(
        with_gradients(scan_maps, given, dy), with_gradients(scan_maps, apart, dy), strict=True
    )
    assert all(torch.equal(*pair) for pair in results)
    assert scan_maps(*given).is_contiguous(memory_format=torch.channels_last)


@needs_compiler
def test_any_number_of_threads_gives_the_same_numbers(monkeypatch):
    monkeypatch.setattr(maps, "WORTH_A_THREAD", 1)
    given, threads = random_maps(2, 40, 7, 9), torch.get_num_threads()
    results = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(with_gradients(scan_maps, given, torch.ones(given[0].shape)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@needs_compiler
@pytest.mark.parametrize("flags", FLAGS)
def test_every_width_of_vector(fresh, monkeypatch, flags):
    monkeypatch.setattr(native, "OPTIONAL_FLAGS", (flags,))
    try:
        assert_equals_sequences(random_maps(1, 19, 5, 15), 3e-6)
    except native.NotBuiltError:
        pytest.skip(f"the compiler doesn't take {flags}")
    except OSError:
        pytest.skip(f"the processor doesn't run {flags}")


@needs_compiler
@pytest.mark.parametrize("name", ["x", "delta", "A", "B", "C"])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_what_is_no_number_comes_out_as_in_the_sequences(name, value):
    given = random_maps(1, 17, 4, 5)
    with torch.no_grad():
        given[NAMES.index(name)].view(-1)[3] = value
    dy = torch.ones(given[0].shape)
    results = zip(
        with_gradients(scan_maps, given, dy), with_gradients(by_sequences, given, dy), strict=True
    )
    for ours, theirs in results:
        assert torch.equal(ours.isnan(), theirs.isnan())
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_the_sequences_are_those_of_ss2d():
    """The two ways that the package has of taking a map apart agree."""
    x, delta, A, B, C, D, bias = random_maps(2, 3, 4, 5, torch.float64)
    in_order = cross_scan(torch.arange(20.0).view(1, 1, 4, 5))[0, :, 0].long()
    rows = [
        torch.stack([y[k][:, order] for k, order in enumerate(in_order)], 1)
        for y in (delta, B.movedim(2, 0)[..., None], C.movedim(2, 0)[..., None])
    ]
    scanned = ss2d.selective_scan(
        cross_scan(x).flatten(1, 2),
        rows[0].mT.flatten(1, 2),
        A.view(-1, 1),
        rows[1].mT,
        rows[2].mT,
        D.flatten(),
        bias.flatten(),
        delta_softplus=True,
        backend="reference",
    )
    merged = cross_merge(scanned.unflatten(1, (4, 3)), 4, 5)
    torch.testing.assert_close(merged, by_sequences(x, delta, A, B, C, D, bias))


@needs_compiler
def test_ss2d_gives_the_same_either_way(monkeypatch):
    torch.manual_seed(0)
    module = SS2D(24).double()
    x = torch.randn(2, 24, 5, 9, dtype=torch.float64, requires_grad=True)
    leaves, dy = [x, *module.parameters()], torch.randn_like(x)
    called = []
    monkeypatch.setattr(ss2d, "scan_maps", lambda *a: called.append(1) or scan_maps(*a))
    y = module(x)
    found = (y, *torch.autograd.grad(y, leaves, dy))
    assert called == [1]
    monkeypatch.setattr(ss2d, "scans", lambda *a: False)
    y = module(x)
    expected = (y, *torch.autograd.grad(y, leaves, dy))
    assert called == [1]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@needs_compiler
def test_what_it_is_not_made_for_is_left_to_the_sequences(monkeypatch):
    x = torch.randn(1, 3, 4, 4)
    assert scans(x)
    assert scans(x.double(), "cpu")
    assert not scans(x, "torch")
    assert not scans(x.bfloat16())
    assert not scans(x.to("meta"))
    assert not scans(x[:0])
    with torch.autocast("cpu"):
        assert not scans(x)
    monkeypatch.setattr(recording, "is_recorded", lambda: True)
    assert not scans(x)
    monkeypatch.undo()
    monkeypatch.setattr(ss2d, "scan_maps", None)
    assert SS2D(8, num_states=2)(torch.randn(1, 8, 4, 4)).shape == (1, 8, 4, 4)


@needs_compiler
def test_a_kernel_that_is_wrong_is_told_once_and_not_used(fresh, monkeypatch, caplog):
    monkeypatch.setattr(maps, "self_test", lambda: 0.01)
    x = torch.randn(1, 3, 4, 4)
    with caplog.at_level(logging.WARNING, "fusionzoo"):
        assert not scans(x)
        assert not scans(x)
    assert [record.getMessage() for record in caplog.records] == [
        "Maps are scanned as sequences: its self-test is off by 1.0e-02, 1e-04 is allowed."
    ]
    assert list(fresh.glob("scan-maps-*.passed")) == []


@needs_compiler
def test_a_passed_test_is_remembered(fresh, monkeypatch):
    assert maps.why_not() is None
    maps.why_not.cache_clear()
    monkeypatch.setattr(maps, "self_test", lambda: 1 / 0)
    assert maps.why_not() is None
    assert len(list(fresh.glob("scan-maps-*.passed"))) == 1


@needs_compiler
@pytest.mark.parametrize("argument", range(7))
def test_the_self_test_sees_a_wrong_gradient(monkeypatch, argument):
    def wrong(*given):
        scaled = [x * (1.01 if i == argument else 1) for i, x in enumerate(given)]
        return scan_maps(*scaled)

    assert maps.self_test() < backends.TOLERANCE / 10
    monkeypatch.setattr(maps, "scan_maps", wrong)
    assert maps.self_test() > backends.TOLERANCE


@needs_compiler
def test_is_an_operator_of_pytorch():
    given = random_maps(1, 5, 3, 4)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(maps._forward, tuple(given), test_utils=tests)
    y, kept = maps._forward(*given)
    plain = tuple(x.detach() for x in (y, kept, *given))
    torch.library.opcheck(maps._backward, plain, test_utils=("test_schema", "test_faketensor"))


@needs_compiler
def test_operations_are_counted_as_those_of_sequences(monkeypatch):
    module, x = SS2D(8), torch.randn(1, 8, 4, 6)
    counts = []
    for way in (scans, lambda *a: False):
        monkeypatch.setattr(ss2d, "scans", way)
        with FlopCounterMode(display=False) as counter:
            module(x).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0
