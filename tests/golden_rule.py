"""Golden arrays, and the rule that fills tensors too large to store.

`tests/golden/<name>.npz` holds `param/<official name>`, `in/<name>` and `out/<name>`, made once by
running the released code in evaluation mode. `tests/golden/<name>.params.json` lists official names
and shapes of weights that follow the rule: an integer hash of the name and of the position, without
any random generator.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"


def load(name: str) -> dict[str, dict[str, Tensor]]:
    """The arrays of a golden file, by their kinds `param`, `in` and `out`."""
    kinds: dict[str, dict[str, Tensor]] = {"param": {}, "in": {}, "out": {}}
    with np.load(GOLDEN / f"{name}.npz") as file:
        for key in file.files:
            kind, _, rest = key.partition("/")
            kinds[kind][rest] = torch.from_numpy(file[key])
    return kinds


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The official names and shapes that `<name>.params.json` lists."""
    listed = json.loads((GOLDEN / f"{name}.params.json").read_text())
    return {key: tuple(shape) for key, shape in listed.items()}


def ruled_state(name: str, *, keep: str = "") -> dict[str, Tensor]:
    """The state dict that `<name>.params.json` lists, filled by the rule.

    Only names that begin with `keep`.
    """
    return {key: fill(key, shape) for key, shape in shapes(name).items() if key.startswith(keep)}


def fill(name: str, shape: tuple[int, ...]) -> Tensor:
    """The rule's tensor for an official name; a name `in/...` is an input."""
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    uniform = _uniform(name, math.prod(shape)).reshape(shape)
    if leaf == "running_mean" or (leaf.startswith("bias") and len(shape) < 2):
        scale = 0.4 if leaf == "running_mean" else 0.2
        values = scale * (uniform - 0.5)
    elif leaf == "running_var" or (leaf == "weight" and len(shape) == 1):
        values = 0.5 + uniform
    elif name.startswith("in/") or len(shape) < 2:
        values = 2 * uniform - 1
    else:
        values = (2 * uniform - 1) * np.sqrt(3 / math.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def _uniform(name: str, count: int) -> np.ndarray:
    """Numbers in [0, 1) from an integer hash of the name's CRC-32 and the position."""
    h = np.arange(count, dtype=np.uint32)
    h *= np.uint32(2654435761)
    h += np.uint32(zlib.crc32(name.encode()))
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return h / 2.0**32
