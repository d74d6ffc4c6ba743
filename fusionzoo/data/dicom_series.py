"""Finds the DICOM series below a folder, whatever its layout, by what the files say.

Series are told apart by SeriesInstanceUID, wherever their files lie. What can't be used is set
aside with the reason, and nothing else suffers from it.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.data.dicom_geometry import Stack, stack
from fusionzoo.data.dicom_header import SliceHeader, UnusableDicom, read_slice_header
from fusionzoo.data.dicom_rules import check_slice
from fusionzoo.data.worker_pool import each

#: Files that are read together by one worker.
CHUNK = 64
#: Reasons that concern single images of a series, whose other images are a volume all the same.
LONE = ("localizer", "derived image", "secondary capture", "no pixels")


@dataclass(frozen=True)
class SetAside:
    """Files that are not used, and why.

    Args:
        kind: The reason in a word or two.
        text: What was found.
        remedy: What to do.
        where: A file, or the folder of the series.
        num_files: How many files it concerns.
        patient_id: Whose they are, where that is known.
        description: Description of the series, where there is one.
    """

    kind: str
    text: str
    remedy: str
    where: Path
    num_files: int
    patient_id: str = ""
    description: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}. {self.remedy}"


@dataclass(frozen=True)
class Inventory:
    """Everything that is below a folder.

    Args:
        root: The folder.
        stacks: Series that can be used, by patient and series.
        set_aside: What can't, by reason.
        others: Files that are no images by their looks, by suffix: annotations, tables, licences.
    """

    root: Path
    stacks: tuple[Stack, ...]
    set_aside: tuple[SetAside, ...]
    others: Counter[str]


def find_series(
    root: Path,
    *,
    modality: str | None = "CT",
    derived: bool = False,
    min_slices: int = 2,
    workers: int = 1,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Inventory:
    """Read every header below a folder and sort the files into series.

    Args:
        root: A folder of any layout.
        modality: The only modality to use; None uses all.
        derived: Whether to use images that were made from other images.
        min_slices: Fewest slices of a series.
        workers: Processes that read headers.
        tell: Hears how many of how many files are read.

    Raises:
        MissingExtra: pydicom is not installed.
    """
    paths = find_files(root)
    chunks = [paths[k : k + CHUNK] for k in range(0, len(paths), CHUNK)]
    headers: list[SliceHeader] = []
    aside: list[SetAside] = []
    others: Counter[str] = Counter()
    for k, (read, refused) in enumerate(each(_read_chunk, chunks, workers)):
        headers += read
        for error in refused:
            if error.kind == "no DICOM file" and error.path.suffix.lower() not in (".dcm", ".ima"):
                others[error.path.suffix.lower() or error.path.name] += 1
            else:
                aside.append(_aside([error], 1))
        tell(min(len(paths), (k + 1) * CHUNK), len(paths))
    stacks, refused_series = sort_into_series(
        headers, modality=modality, derived=derived, min_slices=min_slices
    )
    aside += refused_series
    return Inventory(
        root,
        tuple(stacks),
        tuple(sorted(aside, key=lambda a: (a.kind, a.patient_id, a.where))),
        others,
    )


def find_files(root: Path) -> list[Path]:
    """Every file below a folder, by name; hidden ones are left out."""
    found = []
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    return found


def sort_into_series(
    headers: Iterable[SliceHeader], *, modality: str | None, derived: bool, min_slices: int
) -> tuple[list[Stack], list[SetAside]]:
    """Volumes of the series that can be used, and the reasons of the others."""
    series: dict[str, list[SliceHeader]] = defaultdict(list)
    for header in headers:
        series[header.series_uid or header.path.as_posix()].append(header)
    stacks: list[Stack] = []
    aside: list[SetAside] = []
    for own in series.values():
        good, errors = _sort_out(own, modality, derived)
        lone = [error for error in errors if error.kind in LONE]
        by_kind: dict[str, list[UnusableDicom]] = defaultdict(list)
        for error in errors:
            by_kind[error.kind].append(error)
        aside += [_aside(alike, len(alike), own) for alike in by_kind.values()]
        if not good:
            continue
        if len(errors) > len(lone):
            bad = len(errors) - len(lone)
            text = f"{bad} of its {len(own)} files can't be used, and no volume has holes"
            remedy = "Mend or download these files, and it is whole."
            refused = UnusableDicom(good[0].path.parent, "incomplete series", text, remedy)
            aside.append(_aside([refused], len(good), own))
            continue
        try:
            stacks.append(stack(good, min_slices=min_slices))
        except UnusableDicom as error:
            aside.append(_aside([error], len(good), own))
    stacks.sort(key=lambda s: (s.slices[0].patient_id, s.slices[0].series_uid))
    return stacks, aside


def _sort_out(
    headers: Sequence[SliceHeader], modality: str | None, derived: bool
) -> tuple[list[SliceHeader], list[UnusableDicom]]:
    good, errors = [], []
    for header in headers:
        try:
            check_slice(header, modality=modality, derived=derived)
            good.append(header)
        except UnusableDicom as error:
            errors.append(error)
    return good, errors


def _read_chunk(paths: Sequence[Path]) -> tuple[list[SliceHeader], list[UnusableDicom]]:
    headers, errors = [], []
    for path in paths:
        try:
            headers.append(read_slice_header(path))
        except UnusableDicom as error:
            errors.append(error)
    return headers, errors


def _aside(
    errors: Sequence[UnusableDicom], num_files: int, headers: Sequence[SliceHeader] = ()
) -> SetAside:
    first = errors[0]
    return SetAside(
        kind=first.kind,
        text=first.text,
        remedy=first.remedy,
        where=first.path,
        num_files=num_files,
        patient_id=headers[0].patient_id if headers else "",
        description=headers[0].description if headers else "",
    )
