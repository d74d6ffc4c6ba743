"""Golden arrays whose weights follow a rule of normal numbers, one stream per name.

`tests/golden/<name>.npz` holds `in/<name>`, `out/<name>` and `grad/in:<name>` or
`grad/param:<name>`, made once by running the released code; weights are not stored but made anew
by `fill` from their official names and shapes. Gradients are those of the sum of out * in/dout_out.
"""

import math
import zlib
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from tests.golden_rule import GOLDEN, shapes


def load(name: str) -> dict[str, dict[str, Tensor]]:
    """The arrays of a golden file, by their kinds `in`, `out` and `grad`."""
    kinds: dict[str, dict[str, Tensor]] = {"in": {}, "out": {}, "grad": {}}
    with np.load(GOLDEN / f"{name}.npz") as file:
        for key in file.files:
            kind, _, rest = key.partition("/")
            kinds[kind][rest] = torch.from_numpy(file[key])
    return kinds


def fill(name: str, shape: tuple[int, ...]) -> Tensor:
    """The rule's tensor for an official name."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    generator = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    values = generator.standard_normal(shape).astype(np.float32)
    parent, _, leaf = name.rpartition(".")
    of_steps = leaf == "bias" and parent.rpartition(".")[2].startswith("dt_proj")
    if leaf.startswith("A_log"):
        values = np.log(np.arange(1, shape[-1] + 1)) + 0.1 * values
    elif leaf in ("Ds", "D", "D_1", "D_2"):
        values = 1 + 0.1 * values
    elif leaf == "dt_projs_bias" or of_steps:
        values = -4 + 0.5 * values
    elif leaf == "pos_embed":
        values = 0.02 * values
    elif leaf == "running_mean":
        values = 0.1 * values
    elif leaf == "running_var":
        values = 1 + 0.2 * np.abs(values)
    elif len(shape) < 2:
        values = 1 + 0.1 * values if leaf == "weight" else 0.05 * values
    else:
        values = values / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def official_state(name: str) -> dict[str, Tensor]:
    """The state dict that `<name>.params.json` lists, filled by the rule."""
    return {key: fill(key, shape) for key, shape in shapes(name).items()}


def fill_module(module: nn.Module, official: Mapping[str, str] | None = None) -> nn.Module:
    """Fill a module by the rule; `official` gives the names that differ."""
    given = official or {}
    state = {
        name: fill(given.get(name, name), tuple(tensor.shape))
        for name, tensor in module.state_dict().items()
    }
    module.load_state_dict(state)
    return module.eval()


def assert_golden(module: nn.Module, name: str, official: Mapping[str, str] | None = None) -> None:
    """A module against a golden file: its outputs, and all gradients that are stored.

    Its inputs are those of the file in their order, or the sole one; `official` as in
    `fill_module`.
    """
    golden = load(name)
    inputs = {k: x.requires_grad_() for k, x in golden["in"].items() if not k.startswith("dout_")}
    found = module(*inputs.values())
    outputs = dict(zip(golden["out"], found if isinstance(found, tuple) else (found,), strict=True))
    for key, theirs in golden["out"].items():
        torch.testing.assert_close(outputs[key], theirs, atol=2e-5, rtol=1e-4)
    sum((y * golden["in"][f"dout_{key}"]).sum() for key, y in outputs.items()).backward()
    given = official or {}
    gradients = {f"in:{key}": x.grad for key, x in inputs.items()}
    gradients |= {f"param:{given.get(n, n)}": p.grad for n, p in module.named_parameters()}
    assert golden["grad"]
    for key, theirs in golden["grad"].items():
        torch.testing.assert_close(
            gradients[key], theirs, atol=1e-4, rtol=1e-3, msg=lambda m, key=key: f"{key}: {m}"
        )


def assert_gradients(
    module: nn.Module,
    rename: Callable[[dict[str, Tensor]], Mapping[str, Tensor]],
    golden: Mapping[str, Mapping[str, Tensor]],
    inputs: Mapping[str, Tensor],
) -> None:
    """All gradients of a module that has other names, after a backward pass.

    `rename` takes released gradients to our names as it takes weights.
    """
    theirs = {key[6:]: grad for key, grad in golden["grad"].items() if key.startswith("param:")}
    expected = {name: golden["grad"][f"in:{name}"] for name in inputs} | dict(rename(theirs))
    tensors = {**inputs, **dict(module.named_parameters())}
    assert set(expected) == set(tensors)
    for name, gradient in expected.items():
        torch.testing.assert_close(
            tensors[name].grad, gradient, atol=1e-4, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )
