"""Files that want to run code, or to write elsewhere, get nowhere."""

import contextlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from fusionzoo.data.dicom_cache import prepare
from fusionzoo.data.images import read_image
from fusionzoo.errors import FusionZooError, RunError, WeightsError
from fusionzoo.models.assemble import assemble
from fusionzoo.models.weights import read_weights
from fusionzoo.records.store import RunStore
from fusionzoo.spec import DataSpec, Modality, TaskSpec
from fusionzoo.training.checkpoint import load_checkpoint
from tests.dicom_generator import write_series

DATA = DataSpec("d", (Modality("table", "table", 3),), (TaskSpec("dx", ("no", "yes")),))


class Payload:
    """Unpickled, it writes a file: the proof that code ran."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (Path.write_text, (self.mark, "code ran"))


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "mark.txt"


def test_the_payload_works(mark):
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.read_text() == "code ran"


@pytest.mark.parametrize("suffix", ["pt", "pth", "ckpt", "bin"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_in_weights_is_refused_and_does_not_run(tmp_path, mark, suffix, nested):
    path = tmp_path / f"weights.{suffix}"
    state = {"layers.0.weight": torch.zeros(2, 2), "evil": Payload(mark)}
    torch.save({"state_dict": state} if nested else state, path)
    with pytest.raises(WeightsError, match="code in it is never run"):
        read_weights(path)
    with pytest.raises(WeightsError, match="code in it is never run"):
        assemble(f"table=mlp(weights={str(path)!r}) -> linear", DATA)
    assert not mark.exists()


def test_a_plain_pickle_under_the_name_of_weights(tmp_path, mark):
    for name in ("weights.pt", "weights.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps({"a": Payload(mark)}))
        with pytest.raises(WeightsError):
            read_weights(tmp_path / name)
    assert not mark.exists()


def test_a_pickle_as_a_checkpoint_is_refused_and_does_not_run(tmp_path, mark):
    path = tmp_path / "last.ckpt"
    torch.save({"epoch": 1, "model": Payload(mark)}, path)
    with pytest.raises(RunError, match="can't be read"):
        load_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_pickle_in_an_array_file_is_refused_and_does_not_run(tmp_path, mark, suffix):
    path = tmp_path / f"volume.{suffix}"
    array = np.array([[[Payload(mark)]]], dtype=object)
    if suffix == "npy":
        np.save(path, array, allow_pickle=True)
    else:
        np.savez(path, a=array)
    with pytest.raises(FusionZooError):
        read_image(path, "volume")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "", ".hidden", "a\x00b"])
def test_a_run_never_leaves_its_store(tmp_path, name):
    with pytest.raises(RunError, match="is no run id"):
        RunStore(tmp_path / "store").prepare(name)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("evil", ["../../../evil", "/evil", "..\\evil", "a/b"])
def test_identifiers_of_dicom_files_never_become_paths(tmp_path, evil):
    data = tmp_path / "data"
    write_series(
        data / "series", num_slices=3, size=16, SeriesInstanceUID=evil, StudyInstanceUID=evil
    )
    before = sorted(tmp_path.rglob("*"))
    with contextlib.suppress(FusionZooError):
        prepare(data, tmp_path / "cache")
    cache = tmp_path / "cache"
    after = [path for path in tmp_path.rglob("*") if path != cache and cache not in path.parents]
    assert sorted(after) == before
    assert not Path("/evil").exists()
