"""The one door for weights: safetensors, or `torch.load(weights_only=True)`.

Names are ours or those of a part's official release, which its `rename_official` translates.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.errors import BadOption, WeightsError, nearest
from fusionzoo.grammar import Call, Combo

#: Where checkpoints of other trainers keep the state dict.
_NESTED = ("state_dict", "model_state", "model")


def find_weights(path: str | Path) -> Path:
    """The path, where there is a file.

    Raises:
        WeightsError: There is none.
    """
    found = Path(path).expanduser()
    if not found.is_file():
        raise WeightsError(
            f"No weights file at {str(path)!r}. Give the path of a .safetensors, .pt or .pth file."
        )
    return found


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a file by name.

    Nested checkpoints are opened (`state_dict`, `model_state`, `model`), and a leading `module.` is
    dropped.

    Raises:
        WeightsError: The file is missing, truncated, or holds anything but tensors.
    """
    found = find_weights(path)
    state: Any
    try:
        if found.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(found)
        else:
            state = torch.load(found, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{str(path)!r} can't be read as weights ({type(error).__name__}). It must be a whole "
            "safetensors file or a PyTorch checkpoint that holds tensors and plain values only; "
            "code in it is never run."
        ) from error
    if not isinstance(state, Mapping):
        raise WeightsError(
            f"{str(path)!r} holds a {type(state).__name__}, not tensors by name. "
            "Save the model's state_dict()."
        )
    while nested := next((state[k] for k in _NESTED if isinstance(state.get(k), Mapping)), None):
        state = nested
    tensors = {str(k).removeprefix("module."): v for k, v in state.items() if isinstance(v, Tensor)}
    if not tensors:
        keys = ", ".join(map(str, list(state)[:5])) or "nothing"
        raise WeightsError(
            f"{str(path)!r} holds no tensors by name; found {keys}. Save the model's state_dict()."
        )
    return tensors


def filled_from(combo: Combo, told: Sequence[str]) -> Combo:
    """The combo with files of weights written into it.

    Args:
        combo: The combo; a part with `weights=` of its own keeps it.
        told: Each the path of a file that all parts are filled from, or `name=path` for the parts
            of one name.

    Raises:
        BadOption: A name that no part has, or two files for the same parts.
    """
    files: dict[str, str] = {}
    names = list(dict.fromkeys(call.name for _, call in combo.calls))
    for text in told:
        name, equals, path = text.partition("=")
        if not equals or not name.isidentifier():
            name, path = "", text
        if name and name not in names:
            raise BadOption(
                f"--weights names a part {name!r}. {nearest(name, names)}The spec has: "
                f"{', '.join(names)}."
            )
        if name in files:
            which = f"part {name!r}" if name else "all parts"
            raise BadOption(f"--weights gives {which} two files: {files[name]!r} and {path!r}.")
        files[name] = path

    def one(kind: str, call: Call) -> Call:
        path = files.get(call.name, files.get(""))
        if path is None or "weights" in dict(call.options):
            return call
        return Call(call.name, (*call.options, ("weights", path)), call.column)

    return combo.map(one)


def load_component(
    part: nn.Module, path: str | Path, *, what: str, summary: nn.Module | None = None
) -> None:
    """Fill one component from a file, in its own key names or those of its official release.

    A component that has no weights takes none.

    Args:
        part: The component.
        path: The file.
        what: The component in words, for errors.
        summary: The component's way to one vector, where it is used; filled too where the official
            release has it.

    Raises:
        WeightsError: Keys are missing or left over, or shapes differ; the first few are named.
    """
    state, own = read_weights(path), set(part.state_dict())
    if not own:
        return
    if own & set(state) or not hasattr(part, "rename_official"):
        fill(part, state, what=what, path=path)
        return
    fill(part, _renamed(part, state, what, path), what=what, path=path)
    if summary is not None and hasattr(summary, "rename_official"):
        renamed = _renamed(summary, state, what, path)
        if renamed:
            fill(summary, renamed, what=f"the summary of {what}", path=path)


def _renamed(part: Any, state: dict[str, Tensor], what: str, path: str | Path) -> dict[str, Tensor]:
    try:
        renamed: dict[str, Tensor] = part.rename_official(state)
    except WeightsError as error:
        raise WeightsError(f"{str(path)!r} doesn't fit {what}: {error}") from error
    except (KeyError, IndexError, RuntimeError) as error:
        raise WeightsError(
            f"{str(path)!r} doesn't fit {what}: it has neither our names nor all of the official "
            f"release's ({type(error).__name__}: {error}). It begins with {next(iter(state))!r}."
        ) from error
    return renamed


def fill(part: nn.Module, state: dict[str, Tensor], *, what: str, path: str | Path) -> None:
    """`load_state_dict`, strict, with one sentence per problem.

    Raises:
        WeightsError: Keys are missing or left over, or shapes differ.
    """
    own = part.state_dict()
    missing = sorted(set(own) - set(state))
    extra = sorted(set(state) - set(own))
    shapes = [
        f"{key} is {tuple(state[key].shape)} in the file and {tuple(own[key].shape)} in the model"
        for key in own
        if key in state and own[key].shape != state[key].shape and key not in _sized_by_fit(part)
    ]
    problems = []
    if missing:
        problems.append(f"{len(missing)} tensors are missing ({_first(missing)})")
    if extra:
        problems.append(f"{len(extra)} have no place ({_first(extra)})")
    if shapes:
        problems.append("; ".join(shapes[:3]))
    if problems:
        raise WeightsError(
            f"{str(path)!r} doesn't fit {what}: {'; '.join(problems)}. "
            "Use the options that the weights were made with."
        )
    part.load_state_dict(state)


def _sized_by_fit(part: nn.Module) -> set[str]:
    """Names of buffers whose sizes come with what was fitted."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in part.named_modules()
        for name in getattr(module, "sized_by_fit", ())
    }


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)
