"""The one door for weights: safetensors, or `torch.load(weights_only=True)`; official key names are renamed."""

from pathlib import Path

import torch
from torch import Tensor, nn

from fusionzoo.errors import WeightsError


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a file by name.

    Nested checkpoints are opened (`state_dict`, `model_state`, `model`), and a leading `module.` is dropped.

    Raises:
        WeightsError: The file is missing, truncated, or holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"No weights file at {str(path)!r}. Give the path of a .safetensors, .pt or .pth file.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise WeightsError(
            f"{str(path)!r} can't be read as weights ({type(error).__name__}: {first}). It must be a safetensors file "
            f"or a PyTorch checkpoint that holds tensors only; anything else in it is refused."
        ) from error
    for key in ("state_dict", "model_state", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    tensors = {str(k).removeprefix("module."): v for k, v in state.items() if isinstance(v, Tensor)}
    if not tensors:
        raise WeightsError(f"{str(path)!r} holds no tensors by name; found {', '.join(map(str, list(state)[:5]))}.")
    return tensors


def load_component(part: nn.Module, path: str | Path, *, what: str) -> None:
    """Fill one component from a file, in its own key names or those of its official release.

    Raises:
        WeightsError: Keys are missing or left over, or shapes differ; the first few are named.
    """
    state = read_weights(path)
    rename = getattr(part, "rename_official", None)
    if rename is not None and not set(state) & set(part.state_dict()):
        state = rename(state)
    fill(part, state, what=what, path=path)


def fill(part: nn.Module, state: dict[str, Tensor], *, what: str, path: str | Path) -> None:
    """`load_state_dict`, strict, with one sentence per problem."""
    own = part.state_dict()
    missing = sorted(set(own) - set(state))
    extra = sorted(set(state) - set(own))
    shapes = [
        f"{key} is {tuple(state[key].shape)} in the file and {tuple(own[key].shape)} in the model"
        for key in own
        if key in state and own[key].shape != state[key].shape
    ]
    problems = []
    if missing:
        problems.append(f"{len(missing)} tensors are missing ({', '.join(missing[:3])}{', ...' * (len(missing) > 3)})")
    if extra:
        problems.append(f"{len(extra)} have no place ({', '.join(extra[:3])}{', ...' * (len(extra) > 3)})")
    if shapes:
        problems.append("; ".join(shapes[:3]))
    if problems:
        raise WeightsError(
            f"{str(path)!r} doesn't fit {what}: {'; '.join(problems)}. Use the options that the weights were made with."
        )
    part.load_state_dict(state)
