"""A manifest read by its roles, with everything that is wrong with it or looks odd."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fusionzoo.data.image_files import ImageFiles
from fusionzoo.data.leakage import check_copies, check_inputs, check_split
from fusionzoo.data.manifest import Cases, find_roles, read_cases
from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import Roles
from fusionzoo.data.rows import Rows
from fusionzoo.data.suspicions import look

#: Files that together are larger are not decoded when the data set is opened, in GiB.
FULL_CHECK_GIB = 2.0

Check = Literal["auto", "full", "headers"]


@dataclass(frozen=True)
class Checked:
    """What a manifest and its roles hold.

    Args:
        manifest: The manifest's path.
        roles: What its columns are.
        cases: Its cases; a cell with a problem counts as empty.
        rows: It as text.
        images: Per image modality, its files.
    """

    manifest: Path
    roles: Roles
    cases: Cases
    rows: Rows
    images: dict[str, ImageFiles]


def read_checked(
    path: Path,
    problems: Problems,
    warnings: Problems,
    *,
    roles: Path | None = None,
    root: Path | None = None,
    predict: bool = False,
    check: Check = "auto",
    cache_gib: float = 1.0,
    optional: Collection[str] = (),
) -> Checked | None:
    """Read a manifest and note everything; None where not even its rows can be read.

    Args:
        path: The `dataset.yaml`, or the manifest with a `dataset.yaml` beside it.
        problems: Where problems are noted.
        warnings: Where warnings are noted.
        roles: The yaml, where it is not beside the manifest.
        root: Folder of the images; see `Manifest`.
        predict: Whether these are new cases, without targets and split.
        check: How far images are read.
        cache_gib: Prepared images are kept where all of them need no more than this.
        optional: Images that a case may be without, whatever the yaml says.
    """
    found = find_roles(path, roles, problems)
    if found is None:
        return None
    manifest, read = found
    if root is None:
        inside = read.root if roles is None else None
        root = manifest.parent if inside is None else path.parent / Path(inside).expanduser()
    read = replace(
        read,
        images=tuple(
            replace(image, optional=image.optional or image.name in optional)
            for image in read.images
        ),
    )
    entries = read_cases(manifest, read, root, problems, predict=predict)
    if entries is None:
        return None
    cases, rows = entries
    checked = Checked(manifest, read, cases, rows, _image_files(cases, read))
    _check_images(checked, problems, warnings, check, cache_gib)
    if not predict:
        check_split(cases, read, problems)
        check_inputs(cases, rows, read, problems)
        look(cases, rows, read, warnings)
    return checked


def _image_files(cases: Cases, roles: Roles) -> dict[str, ImageFiles]:
    return {
        role.name: ImageFiles(
            role, cases.ids, cases.lines, cases.files[role.name], cases.spacings.get(role.name)
        )
        for role in roles.images
    }


def _check_images(
    checked: Checked, problems: Problems, warnings: Problems, check: Check, cache_gib: float
) -> None:
    images = checked.images.values()
    keep = sum(files.decoded_bytes for files in images) <= cache_gib * 2**30
    small = sum(files.file_bytes for files in images) <= FULL_CHECK_GIB * 2**30
    full = check == "full" or (check == "auto" and small)
    for files in images:
        files.keep = keep
        files.check(problems, warnings, full=full)
    if full:
        hashes = {name: files.hashes for name, files in checked.images.items()}
        check_copies(checked.cases, hashes, problems, warnings)
