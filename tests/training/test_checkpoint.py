"""Checkpoints: the same random streams after, and never a damaged one."""

import errno
import os
import random

import numpy as np
import pytest
import torch

from fusionzoo.errors import RunError
from fusionzoo.training.checkpoint import (
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
    seed_everything,
)


def draws():
    return [
        random.random(),
        random.gauss(0, 1),
        *np.random.rand(3),
        np.random.randn(),
        *torch.rand(3).tolist(),
        torch.randn(()).item(),
    ]


def test_every_stream_goes_on_where_it_was(tmp_path):
    seed_everything(5)
    draws()
    random.gauss(0, 1)  # python and numpy keep the second number of a pair for later
    np.random.randn()
    path = tmp_path / "stage.ckpt"
    save_checkpoint(path, {"random": random_state()})
    expected = [draws() for _ in range(2)]
    seed_everything(6)
    assert draws() not in expected
    restore_random_state(load_checkpoint(path)["random"])
    assert [draws() for _ in range(2)] == expected


def test_a_seed_sets_every_stream():
    seed_everything(2**40 + 1)
    first = draws()
    seed_everything(2**40 + 1)
    assert draws() == first
    seed_everything(3)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_a_checkpoint_holds_tensors_and_plain_values(tmp_path):
    state = {"model": {"w": torch.arange(3.0)}, "epoch": 4, "best": 0.5, "history": [{"a": None}]}
    save_checkpoint(tmp_path / "deep" / "stage.ckpt", state)
    found = load_checkpoint(tmp_path / "deep" / "stage.ckpt")
    assert torch.equal(found["model"].pop("w"), state["model"].pop("w"))
    assert found == state
    assert os.listdir(tmp_path / "deep") == ["stage.ckpt"]  # noqa: PTH208


CANT = ". Delete it to train that stage again, or start a run in another folder."


@pytest.mark.parametrize("damage", ["short", "empty", "text", "object", "gone"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    path = tmp_path / "stage.ckpt"
    save_checkpoint(path, {"epoch": 1, "w": torch.zeros(100)})
    if damage == "gone":
        path.unlink()
    elif damage == "object":
        torch.save({"path": tmp_path}, path)
    else:
        whole = path.read_bytes()
        path.write_bytes({"short": whole[:-50], "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(RunError) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"The checkpoint {str(path)!r} can't be read (")
    assert str(caught.value).endswith(CANT)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "stage.ckpt"
    save_checkpoint(path, {"epoch": 1})
    write, written = os.write, []

    def full(descriptor, data):
        written.append(len(data))
        if len(written) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:10])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunError) as caught:
        save_checkpoint(path, {"epoch": 2})
    monkeypatch.undo()
    assert str(caught.value) == (
        f"Can't write {path} (No space left on device). The disk is full: free some space, or "
        "choose another folder, and run again."
    )
    assert load_checkpoint(path) == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["stage.ckpt"]


def test_a_checkpoint_of_another_version_is_named_so(tmp_path):
    path = tmp_path / "stage.ckpt"
    save_checkpoint(path, {"epoch": 1, "model": {}})
    assert load_checkpoint(path, ("model", "epoch"))["epoch"] == 1
    with pytest.raises(RunError) as caught:
        load_checkpoint(path, ("model", "random", "others"))
    assert str(caught.value) == (
        f"The checkpoint {str(path)!r} has no others, random: another version of fusionzoo wrote "
        "it. Delete it to train that stage again, or finish the run with that version."
    )
