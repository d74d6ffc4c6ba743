"""Small but real DICOM series, annotation XML and clinical sheets, laid out as Lung-PET-CT-Dx is.

Every defect that a reader has to notice can be written too. Identifiers are hashes of names, so
that the same call writes the same files.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
)

COLLECTION = "Lung-PET-CT-Dx"
HEADER = (
    *("No.", "NewPatientID", "Sex", "Age", "weight (kg)", "T-Stage", "N-Stage"),
    *("\uff2d-Stage", "Histopathological grading ", "Smoking History"),
)
SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
}


def uid(*names: object) -> str:
    """An identifier that belongs to these names alone."""
    number = int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:12], "big")
    return f"1.2.826.0.1.3680043.8.498.{number}"


@dataclass(frozen=True)
class Written:
    """A series as it was written: files from the feet to the head, and HU in the same order."""

    folder: Path
    files: tuple[Path, ...]
    sop_uids: tuple[str, ...]
    series_uid: str
    hu: np.ndarray


def body(num_slices: int, size: int, seed: int = 0) -> np.ndarray:
    """HU of a round body with a bright spot in the middle slices; whole numbers."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(
        np.linspace(-1, 1, num_slices), *[np.linspace(-1, 1, size)] * 2, indexing="ij"
    )
    hu = np.where(x**2 + y**2 < 0.8, rng.normal(-750, 40, z.shape), -1000)
    hu = np.where(x**2 + y**2 + 4 * z**2 < 0.15, rng.normal(60, 20, z.shape), hu)
    return np.clip(np.round(hu), -1024, 3000)


def write_slice(path: Path, stored: np.ndarray, *, syntax: str = "explicit", **tags: Any) -> None:
    """One CT slice; a tag that is None is left out, and others replace the defaults."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = SYNTAXES.get(syntax, syntax)
    implicit, little = syntax == "implicit", syntax != "big"
    file = FileDataset(
        None,
        {},
        file_meta=meta,
        preamble=bytes(128),
        is_implicit_VR=implicit,
        is_little_endian=little,
    )
    rows, columns = stored.shape[:2]
    defaults = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": uid(path.name),
        "StudyInstanceUID": uid("study"),
        "SeriesInstanceUID": uid("series"),
        "FrameOfReferenceUID": uid("frame"),
        "PatientID": "Lung_Dx-A0001",
        "PatientSex": "M",
        "Modality": "CT",
        "Manufacturer": "SIEMENS",
        "SeriesDescription": "ThoraxRoutine  8.0.0  B70f",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "InstanceNumber": 1,
        "ImagePositionPatient": [-100.0, -120.0, 0.0],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.75, 0.75],
        "SliceThickness": 5,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "WindowCenter": ["00040", "-0600"],
        "WindowWidth": ["00400", "01200"],
    }
    for name, value in {**defaults, **tags}.items():
        if value is not None:
            setattr(file, name, value)
    meta.MediaStorageSOPClassUID = file.SOPClassUID
    meta.MediaStorageSOPInstanceUID = file.get("SOPInstanceUID", uid("none"))
    if "PixelData" not in tags:
        order = ">" if syntax == "big" else "<"
        file.PixelData = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
        file["PixelData"].VR = "OW"
    elif tags["PixelData"] is not None:
        file["PixelData"].VR = "OB"
        file["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def write_series(
    folder: Path,
    *,
    patient: str = "Lung_Dx-A0001",
    name: str = "series",
    num_slices: int = 14,
    size: int = 24,
    spacing_mm: float = 5.0,
    start_mm: float = -200.0,
    syntax: str = "explicit",
    slope: float = 1.0,
    intercept: float = -1024.0,
    seed: int = 0,
    change: Callable[[int], Mapping[str, Any]] = lambda k: {},
    skip: Sequence[int] = (),
    **tags: Any,
) -> Written:
    """A series whose z descends with InstanceNumber and file name, as in the collection.

    Args:
        folder: Where the files go: `1-01.dcm`, ...
        patient: PatientID; study and frame of reference belong to the patient.
        name: Makes the series' identity, together with the patient.
        num_slices: Slices from feet to head.
        size: Rows and columns.
        spacing_mm: Distance of slices.
        start_mm: z of the lowest slice.
        syntax: `explicit`, `implicit` or `big`.
        slope: HU = slope * stored + intercept.
        intercept: The other half of it.
        seed: Of the values.
        change: Tags that differ in slice k.
        skip: Slices that are not written.
        tags: Tags that differ in all slices.
    """
    hu = body(num_slices, size, seed)
    stored = np.round((hu - intercept) / slope).astype(np.uint16)
    series_uid = uid(patient, name)
    files, sops = [], []
    for k in range(num_slices):
        if k in skip:
            continue
        number = num_slices - k
        path = folder / f"1-{number:02d}.dcm"
        common = {
            "PatientID": patient,
            "StudyInstanceUID": uid(patient),
            "SeriesInstanceUID": series_uid,
            "FrameOfReferenceUID": uid(patient, "frame"),
            "SOPInstanceUID": uid(patient, name, k),
            "InstanceNumber": number,
            "ImagePositionPatient": [-100.0, -120.0, start_mm + spacing_mm * k],
            "RescaleSlope": slope,
            "RescaleIntercept": intercept,
        }
        write_slice(path, stored[k], syntax=syntax, **{**common, **tags, **change(k)})
        files.append(path)
        sops.append(uid(patient, name, k))
    kept = [k for k in range(num_slices) if k not in skip]
    return Written(
        folder, tuple(files), tuple(sops), series_uid, (stored * slope + intercept)[kept]
    )


def write_boxes(
    folder: Path,
    sop_uid: str,
    corners: Sequence[float] = (8, 9, 15, 14),
    letter: str = "A",
    size: int = 24,
) -> Path:
    """A PASCAL VOC file as the collection has them: only its name tells the slice."""
    left, top, right, bottom = corners
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sop_uid}.xml"
    path.write_text(
        "<annotation>\n<folder>Unknow</folder><filename>Unknow</filename><path>Unknow</path>\n"
        f"<size><width>{size}</width><height>{size}</height><depth>1</depth></size>\n"
        f"<segmented>0</segmented><object><name>{letter}</name><pose>Unspecified</pose>\n"
        f"<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        "</bndbox></object>\n</annotation>\n"
    )
    return path


def clinic_row(patient: str, **cells: Any) -> dict[str, Any]:
    """One row of the sheet, as it may be written: stages are numbers or texts."""
    number = int(patient[1:])
    row = {
        "No.": number,
        "NewPatientID": patient,
        "Sex": "MF"[number % 2],
        "Age": 50 + number,
        "weight (kg)": 60 + 1.5 * number,
        "T-Stage": [1, "1a", 2, "2b", 3, 4, "is"][number % 7],
        "N-Stage": number % 4,
        "\uff2d-Stage": [0, "1a", "1b", "1c"][number % 4],
        "Histopathological grading ": None,
        "Smoking History": number % 2,
    }
    return {**row, **cells}


def write_clinic(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The clinical sheet, with its full-width M."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=list(HEADER)).to_excel(path, index=False)
    return path


def series_folder(root: Path, patient: str, number: int = 2, what: str = "5mm") -> Path:
    """A folder in the layout of the collection."""
    study = "04-04-2007-NA-Chest-07990"
    return root / COLLECTION / f"Lung_Dx-{patient}" / study / f"{number}.000000-{what}-40805"


@dataclass(frozen=True)
class Collection:
    """Paths of a collection as it is downloaded."""

    root: Path
    annotations: Path
    clinical: Path


def write_collection(
    folder: Path, patients: Sequence[str] = (), *, num_slices: int = 14, size: int = 24
) -> Collection:
    """Patients with a CT series, boxes and a clinical row each.

    The first patient has a second, thinner reconstruction of the same scan, to which no box
    belongs, and a PET series. A secondary capture, a licence and a metadata.csv lie around.
    """
    patients = patients or [f"{letter}{k:04d}" for letter in "AG" for k in range(1, 13)]
    root = folder / "manifest-1608669183333"
    for index, patient in enumerate(patients):
        name = f"Lung_Dx-{patient}"
        own = write_series(
            series_folder(root, patient),
            patient=name,
            num_slices=num_slices,
            size=size,
            seed=index,
            syntax=("explicit", "implicit")[index % 2],
        )
        middle = num_slices // 2
        for k in (middle - 1, middle, middle + 1):
            write_boxes(
                folder / "Annotation" / patient, own.sop_uids[k], letter=patient[0], size=size
            )
    first = patients[0]
    write_series(
        series_folder(root, first, 3, "thin  1.0  B70f"),
        patient=f"Lung_Dx-{first}",
        name="thin",
        num_slices=2 * num_slices,
        spacing_mm=2.5,
        size=size,
        seed=99,
        PixelSpacing=[0.5, 0.5],
    )
    write_pet(series_folder(root, first, 4, "PET WB"), patient=f"Lung_Dx-{first}")
    write_capture(series_folder(root, patients[-1], 99, "Fused") / "1-1.dcm", patients[-1])
    (root / COLLECTION / "LICENSE").write_text("CC BY 4.0\n")
    (root / "metadata.csv").write_text("Series UID,Collection\n")
    rows = [clinic_row(patient) for patient in patients]
    clinical = write_clinic(folder / "statistics-clinical-20201221.xlsx", rows)
    return Collection(root, folder / "Annotation", clinical)


def write_pet(folder: Path, patient: str = "Lung_Dx-A0001", num_slices: int = 3) -> Written:
    """A PET series of the same patient."""
    return write_series(
        folder,
        patient=patient,
        name="pet",
        num_slices=num_slices,
        Modality="PT",
        SOPClassUID=PositronEmissionTomographyImageStorage,
    )


def write_capture(path: Path, patient: str = "A0001") -> None:
    """A screen capture in colour, without geometry."""
    write_slice(
        path,
        np.zeros((16, 16, 3), dtype=np.uint8),
        SOPClassUID=SecondaryCaptureImageStorage,
        SOPInstanceUID=uid(patient, "capture"),
        SeriesInstanceUID=uid(patient, "captures"),
        PatientID=f"Lung_Dx-{patient}",
        ImageType=["DERIVED", "SECONDARY"],
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
        PixelSpacing=None,
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation="RGB",
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )
