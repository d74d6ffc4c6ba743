"""Checkpoints: everything a stage needs to go on with the same numbers, whole or not there."""

import io
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fusionzoo.errors import RunError
from fusionzoo.storage import write_atomic


def random_state() -> dict[str, Any]:
    """State of every generator that training draws from: python, numpy, torch, and each GPU."""
    version, keys, cached_gauss = random.getstate()
    numpy: Any = np.random.get_state()
    name, array, position, has_gauss, gauss = numpy
    array = torch.from_numpy(array.astype(np.int64))
    return {
        "python": [version, list(keys), cached_gauss],
        "numpy": [name, array, int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put every generator back to where `random_state` found it."""
    version, keys, cached_gauss = state["python"]
    random.setstate((version, tuple(keys), cached_gauss))
    name, array, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, array.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def seed_everything(seed: int) -> None:
    """Seed python, numpy, torch and every GPU."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically.

    Raises:
        RunError: The disk is full or the folder can't be written; the previous checkpoint is
            intact.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(path, buffer.getvalue())


def load_checkpoint(path: Path, needs: Iterable[str] = ()) -> dict[str, Any]:
    """Read a checkpoint; tensors and plain values only.

    Args:
        path: The file.
        needs: Keys that it must have.

    Raises:
        RunError: The file is damaged, or another version of the package wrote it.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise RunError(
            f"The checkpoint {str(path)!r} can't be read ({type(error).__name__}). Delete it to "
            f"train that stage again, "
            f"or start a run in another folder."
        ) from error
    lacking = sorted(set(needs) - set(state))
    if lacking:
        raise RunError(
            f"The checkpoint {str(path)!r} has no {', '.join(lacking)}: another version of "
            "fusionzoo wrote it. Delete it to train that stage again, or finish the run with that "
            "version."
        )
    return state
