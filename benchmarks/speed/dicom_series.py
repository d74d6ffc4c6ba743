"""Time from the files of a CT series to a sorted volume in HU, against two ways of using pydicom.

Run: OMP_NUM_THREADS=1 python benchmarks/speed/dicom_series.py
The series is synthetic: 120 slices of 512 x 512, 16 bits, uncompressed, in a shuffled order of
names. `plain` is the usual loop (pixel_array, apply_rescale, sort, stack); `careful` sorts first
and rescales in place in float32. The three take turns, files are in the page cache, and each number
is a median over the rounds. All three volumes must be equal bit for bit.

With h5py, a window of 12 slices is also read from the prepared cache and from a gzip HDF5 of the
whole series.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.pixels import apply_rescale
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from fusionzoo.data.dicom import read_series
from fusionzoo.data.dicom_cache import open_cache, prepare

SYNTAXES = {"explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian}


def write_series(folder: Path, syntax: str, slices: int, size: int) -> None:
    """A CT series whose names say nothing about the order."""
    rng = np.random.default_rng(0)
    names = rng.permutation(slices)
    study, series, frame = (generate_uid() for _ in range(3))
    noise = rng.integers(0, 3000, (size, size), dtype=np.uint16)
    for k in range(slices):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = SYNTAXES[syntax]
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        file = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        file.StudyInstanceUID, file.SeriesInstanceUID = study, series
        file.FrameOfReferenceUID, file.PatientID, file.Modality = frame, "Lung_Dx-A0001", "CT"
        file.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        file.SeriesDescription, file.Manufacturer = "ThoraxRoutine  8.0.0  B70f", "SIEMENS"
        file.StudyDate, file.InstanceNumber = "20070404", slices - k
        file.ImagePositionPatient = [-180.0, -180.0, -300.0 + 2.5 * k]
        file.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        file.PixelSpacing, file.SliceThickness = [0.703125, 0.703125], 2.5
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.Rows = file.Columns = size
        file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
        file.PixelRepresentation = 0
        file.RescaleSlope, file.RescaleIntercept, file.RescaleType = 1, -1024, "HU"
        file.WindowCenter, file.WindowWidth = [40, -600], [400, 1500]
        file.PixelData = np.roll(noise, k).tobytes()
        file.save_as(folder / f"1-{names[k]:03d}.dcm", enforce_file_format=True)


def plain(folder: Path) -> np.ndarray:
    """The usual loop."""
    slices = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    slices.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
    volume = np.stack([apply_rescale(ds.pixel_array, ds) for ds in slices])
    return volume.astype(np.float32)


def careful(folder: Path) -> np.ndarray:
    """Each file once, into one float32 volume, rescaled in place."""
    slices = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    slices.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
    volume = np.empty((len(slices), slices[0].Rows, slices[0].Columns), dtype=np.float32)
    for place, ds in zip(volume, slices, strict=True):
        place[...] = ds.pixel_array
        place *= np.float32(ds.RescaleSlope)
        place += np.float32(ds.RescaleIntercept)
    return volume


def ours(folder: Path) -> np.ndarray:
    """What fusionzoo does, with all its checks."""
    return read_series(folder).values


def medians_ms(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each, the contenders taking turns; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(rounds + 1):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if round_:
                times[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(values) for name, values in times.items()}


def series(slices: int, size: int, rounds: int) -> None:
    """Print one row per transfer syntax."""
    print("| syntax | fusionzoo, ms | careful pydicom, ms | plain pydicom, ms | ratios |")
    print("|---|---|---|---|---|")
    for syntax in SYNTAXES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_series(folder, syntax, slices, size)
            assert (ours(folder) == plain(folder)).all()
            assert (ours(folder) == careful(folder)).all()
            work = {f.__name__: partial(f, folder) for f in (ours, careful, plain)}
            took = medians_ms(work, rounds)
        ratios = f"{took['careful'] / took['ours']:.1f}x, {took['plain'] / took['ours']:.1f}x"
        told = " | ".join(f"{took[key]:.0f}" for key in ("ours", "careful", "plain"))
        print(f"| {syntax} | {told} | {ratios} |")


def window(slices: int, size: int, rounds: int) -> None:
    """Print the time of a window of 12 slices."""
    if find_spec("h5py") is None:
        print("\nInstall h5py to compare windows of 12 slices.")
        return
    import h5py

    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name, "in"), Path(name, "cache")
        folder.mkdir()
        write_series(folder, "explicit", slices, size)
        prepare(folder, cache)
        middle = slices // 2
        (cached,) = open_cache(cache).series
        with h5py.File(Path(name, "whole.h5"), "w") as file:
            file.create_dataset("x", data=ours(folder).astype(np.int16), compression="gzip")

        def gzip() -> np.ndarray:
            with h5py.File(Path(name, "whole.h5")) as file:
                return file["x"][:][middle : middle + 12].astype(np.float32)

        work = {"cache": lambda: cached.hounsfield(range(middle, middle + 12)), "gzip HDF5": gzip}
        assert (work["cache"]() == gzip()).all()
        took = medians_ms(work, rounds)
    ratio = took["gzip HDF5"] / took["cache"]
    print("\n| 12 slices from | ms |\n|---|---|")
    print(f"| prepared cache | {took['cache']:.1f} |")
    print(f"| gzip HDF5, whole series | {took['gzip HDF5']:.0f} ({ratio:.0f}x) |")


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--slices", type=int, default=120)
    parser.add_argument("--size", type=int, default=512)
    given = parser.parse_args()
    series(given.slices, given.size, given.rounds)
    window(given.slices, given.size, given.rounds)


if __name__ == "__main__":
    main()
