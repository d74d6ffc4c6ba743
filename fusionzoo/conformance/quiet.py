"""What code does to the process around it: prints, files, network, random numbers, settings."""

import io
import os
import random
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

_CHANGES = ("mkdir", "rename", "remove", "rmdir", "truncate", "link", "symlink", "chmod", "chown")
_NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname")
_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

#: What Python's own generator is called.
PYTHON = "random's generator"

#: What is being watched: lists that the audit hook appends to, the innermost last.
_watched: list[list[str]] = []
_hooked = False


@contextmanager
def watch(*, may_read: bool = False) -> Iterator[list[str]]:
    """Collect what a block does beside computing, one line each; complete when the block ends.

    Modules may be imported: reading Python's own files and those of installed packages is no
    deed.

    Args:
        may_read: Whether other files may be read too, as a data set does.
    """
    deeds: list[str] = []
    _install_hook()
    before = _settings()
    out, err = io.StringIO(), io.StringIO()
    found: list[str] = []
    _watched.append(found)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield deeds
    finally:
        _watched.remove(found)
        told = [line for line in found if not (may_read and line.startswith("reads "))]
        deeds += list(dict.fromkeys(told))
        printed = (out.getvalue() + err.getvalue()).strip()
        deeds += [f"prints {printed[:60]!r}"] if printed else []
        after = _settings()
        deeds += [f"changes {name}" for name in before if before[name] != after[name]]


def random_states() -> dict[str, Any]:
    """State of each generator that a part may draw from, comparable with `==`."""
    states: dict[str, Any] = {
        PYTHON: random.getstate(),
        "numpy's global generator": _comparable(np.random.get_state()),
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["CUDA's generator"] = torch.cuda.get_rng_state().numpy().tobytes()
    return states


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """All generators at a seed, and back to where they were."""
    python, numpy, state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(state)


def _comparable(state: Any) -> tuple[Any, ...]:
    return tuple(part.tobytes() if isinstance(part, np.ndarray) else part for part in state)


def _settings() -> dict[str, Any]:
    """What the whole process shares and a part must leave alone, random numbers aside."""
    return {
        "torch's default type": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "whether gradients are kept": torch.is_grad_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "cuDNN's settings": (
            torch.backends.cudnn.enabled,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
        ),
        "which algorithms are allowed": torch.are_deterministic_algorithms_enabled(),
        "the filters of warnings": tuple(map(repr, warnings.filters)),
        "the working directory": Path.cwd(),
        "environment variables": dict(os.environ),
    }


def _install_hook() -> None:
    """One audit hook for the process; hooks can't be removed, so it sleeps while nobody watches."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    if event == "open":
        told = _opened(*arguments)
    elif event.startswith("os.") and event[3:] in _CHANGES:
        told = None if _is_bytecode(arguments[0]) else f"changes the file system ({event})"
    elif event in _NETWORK:
        told = f"uses the network ({event})"
    elif event in _PROCESSES:
        told = f"starts a process ({event} {str(arguments[0])[:40]})"
    else:
        return
    if told:
        _watched[-1].append(told)


def _opened(path: Any, mode: Any, flags: Any) -> str | None:
    """What opening a file amounts to, where it isn't Python reading modules."""
    if isinstance(path, int) or path is None or _is_bytecode(path):
        return None
    text = os.fsdecode(path)
    writes = (
        any(sign in mode for sign in "wax+") if isinstance(mode, str) else bool(flags & _WRITES)
    )
    if text == os.devnull:
        return None
    if writes:
        return f"writes {text}"
    return None if _belongs_to_python(text) else f"reads {text}"


def _is_bytecode(path: Any) -> bool:
    return isinstance(path, str | bytes | os.PathLike) and "__pycache__" in os.fsdecode(path)


def _belongs_to_python(text: str) -> bool:
    """Source files, and whatever lies among installed packages or the interpreter's own files."""
    if text.endswith((".py", ".pyi", ".so", ".pyd", ".egg-link", ".pth")):
        return True
    homes = {*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, "/proc", "/sys", "/etc"}
    return any(text.startswith(home + os.sep) for home in homes if home)
