"""Golden arrays whose weights follow a rule of normal numbers, one stream per name.

`tests/golden/<name>.npz` holds `in/<name>`, `out/<name>` and `grad/in:<name>` or
`grad/param:<name>`, made once by running the released code; weights are not stored but made anew
by `fill` from their official names and shapes. Gradients are those of the sum of out * in/dout_out.
"""

import math
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from tests.golden_rule import GOLDEN


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
    elif len(shape) < 2:
        values = 1 + 0.1 * values if leaf == "weight" else 0.05 * values
    else:
        values = values / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def fill_module(module: nn.Module, official: Mapping[str, str] | None = None) -> nn.Module:
    """Fill a module by the rule; `official` gives the names that differ."""
    given = official or {}
    state = {
        name: fill(given.get(name, name), tuple(tensor.shape))
        for name, tensor in module.state_dict().items()
    }
    module.load_state_dict(state)
    return module.eval()


def assert_golden(module: nn.Module, name: str) -> None:
    """A module of one input and one output against a golden file, with all stored gradients."""
    golden = load(name)
    x = golden["in"]["x"].requires_grad_()
    y = module(x)
    torch.testing.assert_close(y, golden["out"]["y0"], atol=2e-5, rtol=1e-4)
    (y * golden["in"]["dout_y0"]).sum().backward()
    found = {"in:x": x.grad} | {f"param:{n}": p.grad for n, p in module.named_parameters()}
    for key, theirs in golden["grad"].items():
        torch.testing.assert_close(
            found[key], theirs, atol=1e-4, rtol=1e-3, msg=lambda m, key=key: f"{key}: {m}"
        )
