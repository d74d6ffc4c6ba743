"""Series decoded once into memory-mapped arrays, in parallel; a killed run goes on where it was.

    CACHE/index.json              which series there are, and what was set aside
    CACHE/series/<id>.npy         stored values, integers (depth, height, width), sorted
    CACHE/series/<id>.json        facts of the series, digest of its values and of its sources

Every file is whole or absent. A series is done when its json is there, which is written last.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from fusionzoo.data.ct_series import Series, SeriesFacts, facts_of, sha256_of
from fusionzoo.data.dicom_geometry import Stack
from fusionzoo.data.dicom_header import UnusableDicom
from fusionzoo.data.dicom_pixels import stored_values
from fusionzoo.data.dicom_series import SetAside, find_series
from fusionzoo.data.worker_pool import each
from fusionzoo.errors import DataError, RunError
from fusionzoo.schema import dumps, from_json
from fusionzoo.storage import atomic_path, check_writable, write_atomic

T = TypeVar("T")

SCHEMA = 1
INDEX, SERIES = "index.json", "series"


@dataclass(frozen=True)
class CachedFacts:
    """The json beside an array.

    Args:
        schema: Version of this format.
        sources_sha256: Digest over names, sizes and times of the DICOM files.
        values_sha256: Digest of the stored values.
        dtype: Their type, such as `<i2`.
        facts: Everything else.
    """

    schema: int
    sources_sha256: str
    values_sha256: str
    dtype: str
    facts: SeriesFacts


@dataclass(frozen=True)
class Listed:
    """One entry of what was set aside, as `SetAside`, with a path below the root."""

    kind: str
    text: str
    remedy: str
    where: str
    num_files: int
    patient_id: str
    description: str


@dataclass(frozen=True)
class Index:
    """What a cache holds.

    Args:
        schema: Version of this format.
        series: Ids, by patient and series.
        set_aside: What isn't in the cache, and why.
        others: Files that are no images, by suffix.
    """

    schema: int
    series: tuple[str, ...]
    set_aside: tuple[Listed, ...]
    others: dict[str, int]


@dataclass(frozen=True)
class Cache:
    """An open cache.

    Args:
        folder: Where it is.
        series: Its series, whose values stay on disk until they are used.
        set_aside: What the cache was made without, and why.
        others: Files that were no images, by suffix.
    """

    folder: Path
    series: tuple[Series, ...]
    set_aside: tuple[SetAside, ...]
    others: Counter[str]


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did.

    Args:
        written: Series decoded now.
        kept: Series that were there already.
        set_aside: What couldn't be used.
    """

    written: int
    kept: int
    set_aside: tuple[SetAside, ...]


def prepare(
    root: Path,
    out: Path,
    *,
    modality: str | None = "CT",
    workers: int = 1,
    tell: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Prepared:
    """Decode every usable series below a folder into a cache.

    Args:
        root: Folder of DICOM files, of any layout.
        out: The cache; what is done in it already is kept, unless its files changed.
        modality: The only modality to take; None takes all.
        workers: Processes.
        tell: Hears what is done, how much of it, of how much.

    Raises:
        DataError: There is no usable series.
        RunError: The cache can't be written.
    """
    check_writable(out / SERIES)
    found = find_series(root, modality=modality, workers=workers, tell=partial(tell, "headers"))
    aside, written, ids = list(found.set_aside), 0, []
    write = partial(_write, out / SERIES)
    for k, result in enumerate(each(write, found.stacks, workers)):
        if isinstance(result, UnusableDicom):
            first = found.stacks[k].slices[0]
            text = f"{result.path.name}: {result.text}"
            aside.append(
                SetAside(
                    *(result.kind, text, result.remedy, result.path.parent),
                    *(len(found.stacks[k].slices), first.patient_id, first.description),
                )
            )
        else:
            ids.append(series_id(found.stacks[k].slices[0].series_uid))
            written += result
        tell("series", k + 1, len(found.stacks))
    if not ids:
        raise DataError([str(a) for a in aside[:5]] or ["there is no DICOM image."], str(root))
    listed = tuple(
        Listed(
            *(a.kind, a.text, a.remedy, _below(a.where, root)),
            *(a.num_files, a.patient_id, a.description),
        )
        for a in aside
    )
    write_atomic(out / INDEX, dumps(Index(SCHEMA, tuple(ids), listed, dict(found.others))))
    return Prepared(written, len(ids) - written, tuple(aside))


def open_cache(folder: Path) -> Cache:
    """The series of a cache, without reading their values.

    Raises:
        RunError: There is no finished cache, or a file of it is missing, cut off or of another
            version.
    """
    if not (folder / INDEX).is_file():
        what = "an unfinished cache" if (folder / SERIES).is_dir() else "no cache"
        raise RunError(
            f"{folder} is {what}: it has no {INDEX}. Make or finish it: "
            f"fusionzoo data prepare PATH --out {folder}."
        )
    index = _read(Index, folder / INDEX)
    series = [_open(folder / SERIES / name) for name in index.series]
    aside = tuple(
        SetAside(a.kind, a.text, a.remedy, Path(a.where), a.num_files, a.patient_id, a.description)
        for a in index.set_aside
    )
    return Cache(folder, tuple(series), aside, Counter(index.others))


def damaged(cache: Cache) -> list[str]:
    """Series whose values are no longer those that were written; reads everything."""
    return [
        f"series {one.facts.series_uid} of {one.facts.patient_id}: the values changed on disk. "
        f"Delete {series_id(one.facts.series_uid)}.json and prepare again."
        for one in cache.series
        if sha256_of(one.read(range(one.facts.shape[0]))) != one.values_sha256
    ]


def series_id(series_uid: str) -> str:
    """Name of a series' files, short and without meaning."""
    return hashlib.sha256(series_uid.encode()).hexdigest()[:20]


def _write(folder: Path, found: Stack) -> bool | UnusableDicom:
    """Decode one series, unless it is there; True where it was decoded, or why it can't be."""
    base = folder / series_id(found.slices[0].series_uid)
    sources = _sources(found)
    if _is_done(base, sources):
        return False
    try:
        values = stored_values(found)
    except UnusableDicom as error:
        return error
    base.with_suffix(".json").unlink(missing_ok=True)
    with atomic_path(base.with_suffix(".npy")) as path, path.open("wb") as file:
        np.save(file, values)
    facts = CachedFacts(SCHEMA, sources, sha256_of(values), values.dtype.str, facts_of(found))
    write_atomic(base.with_suffix(".json"), dumps(facts, indent=None))
    return True


def _is_done(base: Path, sources: str) -> bool:
    try:
        known = _read(CachedFacts, base.with_suffix(".json"))
        _values(base, known)
    except (OSError, RunError):
        return False
    return known.sources_sha256 == sources


def _sources(found: Stack) -> str:
    """Digest over which files a series was read from; no content is read."""
    told = hashlib.sha256()
    for header in sorted(found.slices, key=lambda h: h.path.as_posix()):
        time = header.path.stat().st_mtime_ns
        facts = (header.path.name, header.sop_uid, header.file_bytes, time)
        told.update(repr(facts).encode())
    return told.hexdigest()


def _open(base: Path) -> Series:
    facts = _read(CachedFacts, base.with_suffix(".json"))
    values = _values(base, facts)
    return Series(facts.facts, partial(_slices, values), facts.values_sha256)


def _values(base: Path, facts: CachedFacts) -> np.ndarray:
    """The memory-mapped array, as its json says it is."""
    path = base.with_suffix(".npy")
    try:
        values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} can't be read ({error}). Prepare the cache again.") from error
    if values.shape != tuple(facts.facts.shape) or values.dtype.str != facts.dtype:
        found = f"{values.dtype} of shape {values.shape}"
        raise RunError(f"{path} holds {found}, its json says otherwise. Prepare the cache again.")
    return values


def _slices(values: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    if isinstance(chosen, range) and chosen.step == 1:
        return values[chosen.start : chosen.stop]
    return values[list(chosen)]


def _read(cls: type[T], path: Path) -> T:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise RunError(f"{path} is not JSON ({error}). Prepare the cache again.") from error
    except FileNotFoundError:
        raise RunError(f"{path} is missing. Prepare the cache again.") from None
    if data.get("schema") != SCHEMA:
        raise RunError(
            f"{path} has version {data.get('schema')} of the format, and {SCHEMA} is read. "
            "Prepare the cache again, in another folder."
        )
    return from_json(cls, data, str(path))


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
