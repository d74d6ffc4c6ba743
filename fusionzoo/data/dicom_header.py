"""What one DICOM file says of itself, read without its pixels, and what makes it unusable.

Source: DICOM PS3.3 (image plane, image pixel and modality LUT modules), PS3.5 and PS3.10.
"""

from __future__ import annotations

import io
import logging
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fusionzoo.data.unreadable import UnreadableImage
from fusionzoo.errors import MissingExtra

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
EXPLICIT_BIG, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
#: Transfer syntaxes whose pixels lie in the file as they are.
PLAIN = (IMPLICIT, EXPLICIT, EXPLICIT_BIG)
_PIXEL_DATA, _UNDEFINED = 0x7FE00010, 0xFFFFFFFF
_TAGS = {
    "sop_class": 0x00080016,
    "sop_uid": 0x00080018,
    "image_type": 0x00080008,
    "modality": 0x00080060,
    "manufacturer": 0x00080070,
    "description": 0x0008103E,
    "patient_id": 0x00100020,
    "study_uid": 0x0020000D,
    "series_uid": 0x0020000E,
    "instance_number": 0x00200013,
    "position": 0x00200032,
    "orientation": 0x00200037,
    "frame_uid": 0x00200052,
    "samples": 0x00280002,
    "photometric": 0x00280004,
    "frames": 0x00280008,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "pixel_spacing": 0x00280030,
    "bits_allocated": 0x00280100,
    "bits_stored": 0x00280101,
    "signed": 0x00280103,
    "intercept": 0x00281052,
    "slope": 0x00281053,
    "rescale_type": 0x00281054,
}
_NUMBERS = list(_TAGS.values())
#: Those that are binary numbers; the others are texts.
_BINARY = ("samples", "rows", "columns", "bits_allocated", "bits_stored", "signed")
_SYNTAX = 0x00020010
#: Bytes in which nearly all headers end.
_HEAD = 2**15


class UnusableDicom(UnreadableImage):
    """A DICOM file or series that can't be part of a volume.

    Args:
        path: The file, or the folder of the series.
        kind: The reason in a word or two, the same for all files of that reason.
        text: What was found, without a full stop.
        remedy: What to do, in whole sentences.
        code: `E06`, or `E05` for what is damaged.
    """

    def __init__(self, path: Path, kind: str, text: str, remedy: str, code: str = "E06"):
        self.kind = kind
        super().__init__(path, code, text, remedy)

    def __reduce__(self) -> tuple[type, tuple[Path, str, str, str, str]]:
        return type(self), (self.path, self.kind, self.text, self.remedy, self.code)


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """The facts of one file that decide whether and where its pixels are a slice.

    A tag that is absent or can't be read is empty, 0 or None.

    Args:
        path: The file.
        pixels_at: Byte where uncompressed pixels begin; None where pydicom has to decode them.
        file_bytes: Size of the file.
        transfer_syntax: UID of how pixels are encoded.
        patient_id: Whose image it is; also `study_uid`, `series_uid`, `sop_uid` and `frame_uid`
            (frame of reference), which say what it belongs to.
        sop_class: Kind of object; also `modality`, `image_type`, `manufacturer`, `description` (of
            the series), `instance_number`.
        rows: Height in pixels, with `columns`, `samples` per pixel, `frames` and `photometric`.
        bits_allocated: Bits a value takes in the file, of which the lowest `bits_stored` count;
            `signed` values are two's complement.
        slope: HU = slope * stored + intercept, with `intercept` and the unit `rescale_type`.
        position: Centre of the first pixel in mm, to the left, the back and the head.
        orientation: Directions of a row and of a column, six cosines.
        pixel_spacing: Distance of rows and of columns in mm.
    """

    path: Path
    file_bytes: int
    pixels_at: int | None
    transfer_syntax: str
    sop_class: str
    sop_uid: str
    image_type: tuple[str, ...]
    modality: str
    manufacturer: str
    description: str
    patient_id: str
    study_uid: str
    series_uid: str
    instance_number: int | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    frame_uid: str
    samples: int
    photometric: str
    frames: int
    rows: int
    columns: int
    pixel_spacing: tuple[float, ...] | None
    bits_allocated: int
    bits_stored: int
    signed: bool
    intercept: float | None
    slope: float | None
    rescale_type: str

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored values."""
        return np.dtype(f"{'i' if self.signed else 'u'}{max(1, self.bits_allocated // 8)}")

    @property
    def pixel_bytes(self) -> int:
        """Bytes that uncompressed pixels take."""
        return self.rows * self.columns * max(1, self.bits_allocated // 8)


def read_slice_header(path: Path) -> SliceHeader:
    """The header of one file; of a damaged one, an error that says so.

    Raises:
        UnusableDicom: The file is no DICOM file, or its header is damaged.
        MissingExtra: pydicom is not installed.
    """
    with path.open("rb", buffering=0) as file:
        start = file.read(_HEAD)
        if start[128:132] != b"DICM":
            text = "it has no DICOM preamble" if start else "the file is empty"
            remedy = "Export it as a DICOM file (PS3.10), or move it elsewhere if it is no image."
            raise UnusableDicom(path, "no DICOM file", text, remedy)
        pydicom = import_pydicom(path)
        file_bytes = file.seek(0, 2)
        try:
            return _quick(path, start, file_bytes) or _thorough(path, file_bytes, pydicom)
        except Exception as error:
            reason = " ".join(str(error).replace(str(path), path.name).split())[:160]
            text = f"the header can't be read ({type(error).__name__}: {reason})"
            remedy = "The file is damaged: download or export it again."
            raise UnusableDicom(path, "damaged", text, remedy, "E05") from error


def import_pydicom(path: Path) -> Any:
    """pydicom, which is imported for the first DICOM file only."""
    try:
        import pydicom
    except ImportError:
        raise MissingExtra(
            f"Reading {path.name} needs pydicom, which is not installed. "
            "Install it: pip install pydicom, or 'fusionzoo[dicom]' with decoders."
        ) from None
    return pydicom


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Without pydicom's remarks on odd values: what matters of them is checked here."""
    import warnings

    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def _quick(path: Path, start: bytes, file_bytes: int) -> SliceHeader | None:
    """The header of the two usual transfer syntaxes, from the first bytes of the file.

    pydicom's own generator reads the elements, and nothing is made of those that aren't needed.
    None where anything is unusual: `_thorough` then decides.
    """
    from pydicom.filereader import data_element_generator

    file = io.BytesIO(start)
    file.seek(132)
    meta = {
        int(element.tag): element
        for element in data_element_generator(
            file, False, True, stop_when=lambda tag, vr, length: int(tag) >> 16 != 2
        )
    }
    syntax = _text(meta.get(_SYNTAX))
    if syntax not in (IMPLICIT, EXPLICIT):
        return None
    elements = {
        int(element.tag): element
        for element in data_element_generator(
            file,
            syntax == IMPLICIT,
            True,
            stop_when=lambda tag, vr, length: int(tag) >= _PIXEL_DATA,
            specific_tags=_NUMBERS,
        )
    }
    begin = file.tell()
    at = _pixels_at(file.read(12), begin, syntax)
    if at is None or any(_TAGS[name] not in elements for name in ("sop_class", "rows", "samples")):
        return None
    return _header(path, syntax, elements, at, file_bytes)


def _thorough(path: Path, file_bytes: int, pydicom: Any) -> SliceHeader:
    """The header of any file that pydicom reads."""
    with quiet_pydicom(), path.open("rb") as file:
        found = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_NUMBERS)
        meta = found.file_meta
        syntax = str(getattr(meta, "TransferSyntaxUID", ""))
        begin = file.tell()
        at = _pixels_at(file.read(12), begin, syntax) if syntax in PLAIN else None
        elements = {tag: found.get_item(tag) for tag in _NUMBERS if tag in found}
        header = _header(path, syntax, elements, at, file_bytes)
        if not header.sop_class:
            stated = str(getattr(meta, "MediaStorageSOPClassUID", ""))
            header = replace(header, sop_class=stated)
    return header


def _header(
    path: Path, syntax: str, elements: Mapping[int, Any], pixels_at: int | None, file_bytes: int
) -> SliceHeader:
    """The facts as numbers and texts; `elements` are as the file has them."""
    raw = {name: elements.get(tag) for name, tag in _TAGS.items()}
    texts = {name: "" if name in _BINARY else _text(element) for name, element in raw.items()}
    order: Any = "big" if syntax == EXPLICIT_BIG else "little"
    number = {name: _whole(raw[name], order) for name in _BINARY}
    instance = _numbers(texts["instance_number"], 1)
    frames = _numbers(texts["frames"], 1)
    slope, intercept = _numbers(texts["slope"], 1), _numbers(texts["intercept"], 1)
    return SliceHeader(
        path=path,
        file_bytes=file_bytes,
        pixels_at=pixels_at,
        transfer_syntax=syntax,
        sop_class=texts["sop_class"],
        sop_uid=texts["sop_uid"],
        image_type=tuple(word.strip() for word in texts["image_type"].split("\\")),
        modality=texts["modality"],
        manufacturer=texts["manufacturer"],
        description=texts["description"],
        patient_id=texts["patient_id"],
        study_uid=texts["study_uid"],
        series_uid=texts["series_uid"],
        instance_number=int(instance[0]) if instance else None,
        position=_numbers(texts["position"], 3),
        orientation=_numbers(texts["orientation"], 6),
        frame_uid=texts["frame_uid"],
        samples=number["samples"],
        photometric=texts["photometric"],
        frames=int(frames[0]) if frames else 1,
        rows=number["rows"],
        columns=number["columns"],
        pixel_spacing=_numbers(texts["pixel_spacing"], 2),
        bits_allocated=number["bits_allocated"],
        bits_stored=number["bits_stored"] or number["bits_allocated"],
        signed=number["signed"] == 1,
        intercept=intercept[0] if intercept else None,
        slope=slope[0] if slope else None,
        rescale_type=texts["rescale_type"],
    )


def _whole(element: Any, order: Any) -> int:
    """A whole number that the file has in binary."""
    value = None if element is None else element.value
    return int.from_bytes(value, order) if isinstance(value, bytes) else int(value or 0)


def _text(element: Any) -> str:
    """The text of an element as it was read, without padding; equal texts share their memory."""
    value = None if element is None else element.value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return sys.intern(value.decode("latin-1").strip(" \0"))
    return "\\".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _numbers(text: str, count: int) -> tuple[float, ...] | None:
    """So many finite numbers, or None."""
    try:
        numbers = tuple(float(word) for word in text.split("\\"))
    except ValueError:
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def _pixels_at(head: bytes, begin: int, syntax: str) -> int | None:
    """Where the values of the pixel data element begin, given its first twelve bytes."""
    big = syntax == EXPLICIT_BIG
    if len(head) < 12:
        return None
    group, element = struct.unpack(">HH" if big else "<HH", head[:4])
    if (group << 16) + element != _PIXEL_DATA:
        return None
    if syntax == IMPLICIT:
        (length,) = struct.unpack("<I", head[4:8])
        return None if length == _UNDEFINED else begin + 8
    (length,) = struct.unpack(">I" if big else "<I", head[8:12])
    plain = head[4:6] in (b"OW", b"OB") and length != _UNDEFINED
    return begin + 12 if plain else None
