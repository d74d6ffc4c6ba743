"""Why a DICOM file can't be a slice of a volume, or none of these reasons.

Source: DICOM PS3.3 and PS3.6; the filters that the Lung-PET-CT-Dx collection needs.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fusionzoo.data.dicom_header import (
    DEFLATED,
    PLAIN,
    SliceHeader,
    UnusableDicom,
    quiet_pydicom,
)

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
DIRECTORY = "1.2.840.10008.1.3.10"
#: Units of rescaled CT values that are Hounsfield units; US is "unspecified".
HOUNSFIELD = ("", "HU", "HU_MOD", "US")
#: How many bits of the pixel type differ from 8, 16 or 32 can't be read as an array.
BITS = (8, 16, 32)


def check_slice(header: SliceHeader, *, modality: str | None, derived: bool) -> None:
    """Refuse a file that can't be one slice of a volume of grey values with a known place.

    Args:
        header: The file.
        modality: The only modality to take; None takes all. CT has to be in HU either way.
        derived: Whether to take images that were computed from others, such as reformatted ones.

    Raises:
        UnusableDicom: With its kind, what was found and what to do.
    """
    for check in (_check_object, _check_values):
        check(header)
    _check_modality(header, modality, derived)
    _check_geometry(header)
    if header.modality == "CT":
        _check_hounsfield(header)
    _check_encoding(header)


def _check_object(header: SliceHeader) -> None:
    def refuse(kind: str, text: str, remedy: str) -> None:
        raise UnusableDicom(header.path, kind, text, remedy)

    if header.sop_class == DIRECTORY:
        refuse("DICOMDIR", "an index of files, not an image", "Nothing: images are found without.")
    if header.sop_class.startswith(SECONDARY_CAPTURE):
        remedy = "A screen capture has no HU and no place: use the series that it was made from."
        refuse("secondary capture", "a secondary capture", remedy)
    without = not (header.rows and header.columns and header.bits_allocated)
    if without and header.modality in ("CT", "MR", "PT"):
        raise UnusableDicom(
            header.path,
            "damaged",
            "the file ends before the size of its image",
            "Download or export it again.",
            code="E05",
        )
    if without:
        text = "it holds no image, or is cut off before it"
        if header.modality:
            text = f"{header.modality} holds no image"
        refuse("no pixels", text, "Leave it out: only images are read.")
    if not header.series_uid or not header.sop_uid:
        text = "SeriesInstanceUID or SOPInstanceUID is missing"
        refuse("no identity", text, "Export it with its identifiers, or with new ones.")


def _check_values(header: SliceHeader) -> None:
    if header.frames > 1:
        raise UnusableDicom(
            header.path,
            "multi-frame",
            f"{header.frames} frames in one file",
            "Save one slice a file (dcm4che's emf2sf does it), or the volume as NIfTI.",
        )
    grey = header.photometric in ("MONOCHROME1", "MONOCHROME2")
    if header.samples > 1 or not grey or header.bits_allocated not in BITS:
        found = f"{header.photometric or 'no photometric interpretation'}, {header.samples} samples"
        raise UnusableDicom(
            header.path,
            "colour",
            f"the pixels are {found} of {header.bits_allocated} bits, not grey values",
            "Use the series of grey values that it was made from.",
        )


def _check_modality(header: SliceHeader, modality: str | None, derived: bool) -> None:
    if modality is not None and header.modality != modality:
        found = header.modality or "not given"
        remedy = f"Only {modality} is read here."
        text = f"the modality is {found}, not {modality}"
        raise UnusableDicom(header.path, f"modality {found}", text, remedy)
    if "LOCALIZER" in header.image_type:
        text, remedy = "a localizer (scout) image", "Leave it out: it is no slice of the volume."
        raise UnusableDicom(header.path, "localizer", text, remedy)
    made = [word for word in header.image_type[:2] if word in ("DERIVED", "SECONDARY")]
    if made and not derived:
        text = f"the image type is {'/'.join(header.image_type[:3])}: it was made from other images"
        remedy = "Use the original series."
        raise UnusableDicom(header.path, "derived image", text, remedy)


def _check_geometry(header: SliceHeader) -> None:
    def refuse(text: str) -> None:
        remedy = "Export it with its geometry; fusionzoo never makes geometry up."
        raise UnusableDicom(header.path, "no geometry", text, remedy)

    for name, value in (
        ("ImagePositionPatient", header.position),
        ("ImageOrientationPatient", header.orientation),
        ("PixelSpacing", header.pixel_spacing),
    ):
        if value is None:
            refuse(f"{name} is missing or unreadable")
    assert header.orientation is not None
    assert header.pixel_spacing is not None
    if min(header.pixel_spacing) <= 0:
        refuse(f"PixelSpacing is {_list(header.pixel_spacing)}, not two positive numbers")
    row, column = np.reshape(header.orientation, (2, 3))
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > 1e-3:
        text = f"ImageOrientationPatient is {_list(header.orientation)}, not two perpendicular unit"
        refuse(f"{text} vectors")


def _check_hounsfield(header: SliceHeader) -> None:
    if header.slope is None or header.intercept is None or header.slope == 0:
        text = "RescaleSlope or RescaleIntercept is missing, so its HU are unknown"
        remedy = "Export it with both."
        raise UnusableDicom(header.path, "no HU", text, remedy)
    if header.rescale_type not in HOUNSFIELD:
        text = f"the rescaled values are {header.rescale_type!r}, not HU"
        raise UnusableDicom(header.path, "no HU", text, "Use a series in Hounsfield units.")


def _check_encoding(header: SliceHeader) -> None:
    if not header.transfer_syntax:
        raise UnusableDicom(
            header.path,
            "transfer syntax",
            "TransferSyntaxUID is missing, so its bytes could mean anything",
            "Export it again.",
        )
    lacking = missing_decoder(header.transfer_syntax)
    if lacking is not None:
        name = syntax_name(header.transfer_syntax)
        raise UnusableDicom(
            header.path, "transfer syntax", f"no decoder is installed for {name}", lacking
        )
    at = header.pixels_at
    if header.transfer_syntax in PLAIN and at is None:
        text, remedy = "there is no pixel data behind the header", "Download or export it again."
        raise UnusableDicom(header.path, "truncated", text, remedy, "E05")
    if at is not None and header.file_bytes < at + header.pixel_bytes:
        there = max(0, header.file_bytes - at)
        text = f"{there} of {header.pixel_bytes} bytes of pixels are there"
        raise UnusableDicom(
            header.path, "truncated", text, "Download or export it again.", code="E05"
        )


def syntax_name(uid: str) -> str:
    """A transfer syntax in words, with its UID."""
    from pydicom.uid import UID

    with quiet_pydicom():
        name = UID(uid).name
    return f"{name} ({uid})" if name != uid else f"an unknown transfer syntax ({uid})"


@cache
def missing_decoder(uid: str) -> str | None:
    """What to install so that a transfer syntax can be read; None where it can be already."""
    if uid in PLAIN or uid == DEFLATED:
        return None
    from pydicom.pixels.decoders.base import get_decoder

    try:
        with quiet_pydicom():
            decoder: Any = get_decoder(uid)
    except NotImplementedError:
        return "Convert it to an uncompressed syntax: gdcmconv --raw."
    if decoder.is_available:
        return None
    return advice(uid)


def advice(uid: str) -> str:
    """Which package reads a compressed transfer syntax."""
    jpeg2000 = uid.startswith(("1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20"))
    package = "pylibjpeg-openjpeg" if jpeg2000 else "python-gdcm"
    return f"Install {package}: pip install 'fusionzoo[dicom]'."


def _list(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
