"""The files of one image modality: checked before training, decoded when they are asked for."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from fusionzoo.data.dicom import dicom_sha256, is_dicom
from fusionzoo.data.images import (
    ARRAYS,
    NIFTI,
    PICTURES,
    Header,
    Picture,
    read_header,
    read_image,
    suffix,
)
from fusionzoo.data.nifti import SPACING_TOLERANCE
from fusionzoo.data.preparation import prepare, resampled_size
from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import ImageRole
from fusionzoo.data.unreadable import UnreadableImage
from fusionzoo.errors import DataError

#: Suffixes of files that are hashed as they are.
FILES = ARRAYS + NIFTI + PICTURES


class ImageFiles:
    """One image per case, or none.

    Args:
        role: What the `dataset.yaml` says of the image.
        ids: Case ids, for messages.
        lines: Line of each case in the manifest.
        paths: File of each case; None where it has none.
        column_spacing: Voxel sizes in mm that the manifest gives; None where it gives none.
        crop: Pixels that are cut off at each border of a picture, before anything else.
    """

    def __init__(
        self,
        role: ImageRole,
        ids: Sequence[str],
        lines: Sequence[int],
        paths: Sequence[Path | None],
        column_spacing: Sequence[tuple[float, ...] | None] | None = None,
        *,
        crop: int = 0,
    ):
        self.role = role
        self.ids = tuple(ids)
        self.lines = tuple(lines)
        self.paths = tuple(paths)
        self.column_spacing = tuple(column_spacing or (None,) * len(self.paths))
        self.crop = crop
        self.keep = False
        self._decoded: dict[int, np.ndarray] = {}

    @property
    def decoded_bytes(self) -> int:
        """Memory that all prepared images need."""
        return (
            4 * math.prod(self.role.modality.shape) * sum(path is not None for path in self.paths)
        )

    @property
    def file_bytes(self) -> int:
        """Size of all files on disk."""
        return sum(_num_bytes(path) for path in self.paths if path is not None)

    def image(self, index: int) -> np.ndarray:
        """The prepared image of one case, float32 `(channels, *size)`; zeros where it has none.

        Raises:
            DataError: The file, which was sound when the data set was opened, can't be read.
        """
        if self.paths[index] is None:
            return np.zeros(self.role.modality.shape, dtype=np.float32)
        try:
            return self._read(index).copy()
        except UnreadableImage as error:
            case = f"case {self.ids[index]!r} (row {self.lines[index]}, image {self.role.name!r})"
            raise DataError(
                [f"{error.code} {case}: {error.text}. {error.remedy}"], str(error.path)
            ) from error

    @cached_property
    def hashes(self) -> tuple[str | None, ...]:
        """SHA-256 of each file, or of a DICOM series' values; None where a case has none."""
        return tuple(None if path is None else _sha256(path) for path in self.paths)

    def check(self, problems: Problems, warnings: Problems, *, full: bool) -> None:
        """Read every header, and every value where `full`; note what can't be used or looks odd."""
        headers: list[tuple[int, Header]] = []
        for index, path in enumerate(self.paths):
            if path is None:
                continue
            try:
                header = read_header(path, self.role.kind, self.role.key)
                self._spacing(index, header.spacing_mm)
                _refuse_small(path, header.size, self.crop)
                if full:
                    self._read(index)
                headers.append((index, header))
            except UnreadableImage as error:
                problems.add(
                    error.code,
                    error.text,
                    error.remedy,
                    row=self.lines[index],
                    column=self.role.column,
                    value=path.name,
                )
        if self.role.kind == "volume":
            self._look(headers, warnings)

    def _read(self, index: int) -> np.ndarray:
        if index in self._decoded:
            return self._decoded[index]
        path = self.paths[index]
        assert path is not None
        picture = _cropped(path, read_image(path, self.role.kind, self.role.key), self.crop)
        image = prepare(picture, self.role, self._spacing(index, picture.spacing_mm))
        if image.min() == image.max():
            low, high = float(picture.values.min()), float(picture.values.max())
            text = (
                f"the file holds {low:g} to {high:g}, but after preparation every value is the same"
            )
            remedy = f"Check the window and size under images.{self.role.name}."
            raise UnreadableImage(path, "E07", text, remedy)
        if self.keep:
            self._decoded[index] = image
        return image

    def _spacing(self, index: int, in_file: tuple[float, ...] | None) -> tuple[float, ...] | None:
        """The case's voxel size, which file and manifest may both give but not differently."""
        path, in_row = self.paths[index], self.column_spacing[index]
        assert path is not None
        if in_file and in_row and not np.allclose(in_file, in_row, rtol=SPACING_TOLERANCE, atol=0):
            text = f"the voxel size is {_mm(in_file)} in the file and {_mm(in_row)} in the manifest"
            raise UnreadableImage(path, "E07", text, "Find out which is right.")
        if self.role.spacing_mm and not in_file and not in_row:
            wanted = _mm(self.role.spacing_mm)
            text = f"the file has no voxel size, so it can't be resampled to {wanted}"
            remedy = (
                f"Give a spacing_column under images.{self.role.name}, store 'spacing' in an npz, "
                f"use NIfTI, or remove spacing."
            )
            raise UnreadableImage(path, "E07", text, remedy)
        return in_file or in_row

    def _look(self, headers: Sequence[tuple[int, Header]], warnings: Problems) -> None:
        """W09, W12, W13: voxel sizes that look lost or differ, sizes that are mostly padding."""
        column, name = self.role.column, self.role.name
        spacings = [self._spacing(index, header.spacing_mm) for index, header in headers]
        known = [spacing for spacing in spacings if spacing is not None]
        if known and all(spacing == (1.0, 1.0, 1.0) for spacing in known):
            remedy = "Were they resampled, or was the voxel size lost?"
            warnings.add(
                "W09", f"every volume of {name!r} says 1 x 1 x 1 mm", remedy, column=column
            )
        differ = [s for s in known if not np.allclose(s, known[0], rtol=SPACING_TOLERANCE, atol=0)]
        if differ and self.role.spacing_mm is None:
            text = f"voxel sizes of {name!r} differ, as {_mm(known[0])} and {_mm(differ[0])}"
            warnings.add(
                "W12", text, f"Resample: write spacing: under images.{name}.", column=column
            )
        if self.role.fit != "pad":
            return
        padded = 0
        for (_, header), spacing in zip(headers, spacings, strict=True):
            size = header.size
            if self.role.spacing_mm is not None and spacing is not None:
                size = resampled_size(size, spacing, self.role.spacing_mm)
            padded += any(2 * n < wanted for n, wanted in zip(size, self.role.size, strict=True))
        if padded:
            text = (
                f"{padded} volumes of {name!r} fill less than half of an axis of {self.role.size}"
            )
            remedy = "The rest is padding: check spacing and size, or say fit: resize."
            warnings.add("W13", text, remedy, column=column)


def _refuse_small(path: Path, size: Sequence[int], crop: int) -> None:
    if 2 * crop >= min(size):
        text = f"{crop} pixels can't be cut off each border of an image of {tuple(size)}"
        raise UnreadableImage(path, "E07", text, "Crop less.")


def _cropped(path: Path, picture: Picture, crop: int) -> Picture:
    """The picture without its border."""
    if not crop:
        return picture
    _refuse_small(path, picture.values.shape[1:], crop)
    return replace(picture, values=picture.values[:, crop:-crop, crop:-crop])


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{mm:.4g}" for mm in spacing) + " mm"


def _num_bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())


def _sha256(path: Path) -> str | None:
    """Digest of a file or series; None of a series that can't be read, which is told elsewhere."""
    if suffix(path) not in FILES and is_dicom(path):
        try:
            return dicom_sha256(path)
        except UnreadableImage:
            return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
