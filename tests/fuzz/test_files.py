"""Damaged files are read, or refused in words; nothing is written meanwhile."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fusionzoo.data.datasets.manifest import Manifest
from fusionzoo.data.dicom import read_series
from fusionzoo.data.dicom_header import read_slice_header
from fusionzoo.data.images import read_header, read_image
from fusionzoo.data.tabular import TableEncoder
from fusionzoo.evaluation.predictions import read_predictions
from fusionzoo.models.weights import read_weights
from fusionzoo.records.record import load_record
from fusionzoo.training.checkpoint import load_checkpoint, random_state, save_checkpoint
from tests import small_manifest
from tests.dicom_generator import write_series
from tests.fuzz.mutations import damaged_files, mutated, survives

#: Damaged copies of a file in the quick suite, and with `-m slow`.
FEW, MANY = 40, 2000


def tried(read, source, tmp_path, count, seed=0) -> int:
    """How many of the damaged copies could still be read; not all of them."""
    (tmp_path / "damaged").mkdir(exist_ok=True)
    copies = damaged_files(source, tmp_path / "damaged", count, seed)
    good = sum(survives(read, path) for path in copies)
    assert good < count
    return good


def counts(quick=FEW, slow=MANY):
    return pytest.mark.parametrize(
        "count", [quick, pytest.param(slow, marks=pytest.mark.slow)], ids=["few", "many"]
    )


@counts()
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
def test_dicom_headers(tmp_path, count, syntax):
    written = write_series(tmp_path / "series", num_slices=3, size=16, syntax=syntax)
    tried(read_slice_header, written.files[0], tmp_path, count)


@counts(quick=25)
def test_dicom_series_with_a_damaged_slice(tmp_path, count):
    written = write_series(tmp_path / "series", num_slices=3, size=16)
    rng, victim = random.Random(2), written.files[1]
    whole = victim.read_bytes()
    good = 0
    for _ in range(count):
        victim.write_bytes(mutated(whole, rng))
        good += survives(lambda path: read_series(path.parent).values, victim)
    assert 0 < good < count


def weights():
    return {"a.weight": torch.randn(4, 3), "a.bias": torch.zeros(4), "n": torch.tensor(3)}


@counts()
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_weights(tmp_path, count, suffix):
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pt":
        torch.save(weights(), path)
    else:
        save_file(weights(), path)
    tried(read_weights, path, tmp_path, count)


@counts()
def test_checkpoints(tmp_path, count):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, {"model": weights(), "random": random_state(), "epoch": 3})
    tried(load_checkpoint, path, tmp_path, count)


@counts()
@pytest.mark.parametrize("name", ["record.json", "predictions.parquet"])
def test_what_a_run_left(finished_run, tmp_path, count, name):
    read = load_record if name == "record.json" else read_predictions
    tried(read, finished_run / name, tmp_path, count)


@counts()
def test_table_encoders(small_data, tmp_path, count):
    from fusionzoo.data.tabular import fit_encoders

    data = Manifest(path=small_data)
    encoder = fit_encoders(data, np.arange(len(data.cases)))["table"]
    path = tmp_path / "encoder.json"
    path.write_text(encoder.to_json())
    tried(lambda p: TableEncoder.from_json(p.read_text(errors="replace")), path, tmp_path, count)


@counts(quick=30, slow=1000)
@pytest.mark.parametrize("name", ["dataset.yaml", "manifest.csv"])
def test_manifests(tmp_path, count, name):
    yaml = small_manifest.write(tmp_path / "data")
    source = yaml.parent / name
    whole, rng, good = source.read_bytes(), random.Random(3), 0
    for _ in range(count):
        source.write_bytes(mutated(whole, rng))
        good += survives(lambda path: Manifest(path=path.parent / "dataset.yaml"), source)
    assert 0 < good < count


def images(folder):
    """One small image file of each kind that manifests may name."""
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 255, (12, 10)), rng.integers(0, 255, (12, 10, 3))
    np.save(folder / "volume.npy", rng.normal(size=(4, 6, 5)).astype(np.float32))
    np.savez(folder / "volume.npz", a=rng.normal(size=(4, 6, 5)).astype(np.float32))
    for name, values in (("grey.png", grey), ("colour.jpg", colour), ("grey.tif", grey)):
        Image.fromarray(values.astype(np.uint8)).save(folder / name)
    import nibabel

    for name in ("volume.nii", "volume.nii.gz"):
        nibabel.save(
            nibabel.Nifti1Image(rng.normal(size=(6, 5, 4)), np.diag([1, 1, 2, 1])), folder / name
        )
    return sorted(folder.iterdir())


KINDS = {"colour.jpg": "rgb", "grey.png": "gray", "grey.tif": "gray"}


@counts(quick=15, slow=600)
def test_image_files(tmp_path, count):
    (tmp_path / "images").mkdir()
    for source in images(tmp_path / "images"):
        kind = KINDS.get(source.name, "volume")

        def read(path, kind=kind):
            read_header(path, kind)
            return read_image(path, kind)

        tried(read, source, tmp_path, count)
