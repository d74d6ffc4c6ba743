"""MONAI's data lists and the Medical Segmentation Decathlon's dataset.json.

Source: the `dataset.json` of Antonelli et al., Nature Communications 2022, and the data lists of
MONAI's `load_decathlon_datalist`: keys `training`, `validation` and `test` with a list of cases,
each a path or an object with `image` (one path or several), `label`, and any other values; `fold`
in training cases is MONAI's Auto3DSeg.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from fusionzoo.data.guesses.said import NONE, Said
from fusionzoo.data.importers.imported import Imported
from fusionzoo.errors import DataError

#: Names of the list's parts -> parts of a split.
PARTS = {"training": "train", "validation": "val", "test": "test", "testing": "test"}
_FILE = re.compile(r".*\.(nii|nii\.gz|npy|npz|dcm|png|jpe?g|tiff?|mha|nrrd)\Z", re.IGNORECASE)


def read(path: Path, target: str | None) -> Imported:
    """The cases of a data list, with the part that each is in.

    Args:
        path: The JSON file; paths in it are relative to its folder.
        target: Key with the class; `label` where not given.

    Raises:
        DataError: It is no data list, or its labels are masks rather than classes.
    """
    lists, problems = _lists(path), []
    cases: list[tuple[str, dict[str, Any]]] = []
    for name, part in PARTS.items():
        for number, item in enumerate(lists.get(name, ())):
            item = {"image": item} if isinstance(item, str) else item
            if not isinstance(item, Mapping) or "image" not in item:
                problems.append(f"{name}[{number}] has no 'image'. Name the file of each case.")
            else:
                cases.append((part, dict(item)))
    if problems or not cases:
        raise DataError(problems or ["there is no case in it"], str(path))
    key = target or "label"
    _refuse_masks(cases, key, path)
    classes = lists.get("labels") if key == "label" else None
    rows = [_row(part, item, key, classes) for part, item in cases]
    labelled = [row for row in rows if row.get(key)]
    others = [{k: v for k, v in row.items() if k != key} for row in rows if not row.get(key)]
    return _told(path, labelled, others, key)


def _told(
    path: Path, labelled: list[dict[str, str]], others: list[dict[str, str]], key: str
) -> Imported:
    """The rows with their roles: a split where its parts are there, folds where they are."""
    if not labelled:
        text = f"none of its {len(others)} cases has a {key!r}"
        raise DataError([f"{text}. Name the key with the class: --target KEY."], str(path))
    parts = {row["split"] for row in labelled}
    notes = []
    split = "fold" if all("fold" in row for row in labelled) else "split"
    if split == "split" and not {"train", "test"} <= parts:
        split = NONE
        notes.append(f"Labelled cases are in {', '.join(sorted(parts))} only: no split is given.")
    if others:
        notes.append(f"{len(others)} cases have no {key!r} and are in unlabelled.csv.")
    dropped = {"split", "fold"} - {split}
    kept = [{k: v for k, v in row.items() if k not in dropped} for row in labelled]
    rest = [{k: v for k, v in row.items() if k not in {"split", "fold"}} for row in others]
    images = {n: n for n in dict.fromkeys(k for row in kept for k in row) if _is_image(n)}
    said = Said(id="case_id", split=split, targets=(key,), images=images, root=path.parent)
    return Imported(kept, rest, path.parent, said, tuple(notes))


def _lists(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise DataError(["there is no such file. Give the JSON file."], str(path))
    try:
        lists = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError([f"it is not JSON: {error}. Write it again."], str(path)) from error
    if not isinstance(lists, Mapping) or not any(
        isinstance(lists.get(name), list) for name in PARTS
    ):
        raise DataError(
            [f"it has no list {', '.join(map(repr, PARTS))}. Give a MONAI data list."], str(path)
        )
    return {k: v for k, v in lists.items() if k not in PARTS or isinstance(v, list)}


def _refuse_masks(cases: list[tuple[str, dict[str, Any]]], key: str, path: Path) -> None:
    masks = [item[key] for _, item in cases if isinstance(item.get(key), str)]
    masks = [mask for mask in masks if _FILE.match(mask)]
    if masks:
        scalars = {k for _, item in cases for k, v in item.items() if not _is_path(v)}
        others = ", ".join(sorted(scalars)) or "none"
        raise DataError(
            [f"its {key!r} are files ({masks[0]}): masks, while here each case gets a class. Name "
             f"another key with --target; there are: {others}."],
            str(path),
        )  # fmt: skip


def _is_path(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and bool(_FILE.match(value)))


def _is_image(name: str) -> bool:
    return re.fullmatch(r"image(_\d+)?", name) is not None


def _row(part: str, item: Mapping[str, Any], key: str, classes: Any) -> dict[str, str]:
    """A case as cells; several images become `image_0`, `image_1`, ..."""
    images = item["image"] if isinstance(item["image"], list) else [item["image"]]
    names = ["image"] if len(images) == 1 else [f"image_{k}" for k in range(len(images))]
    paths = [PurePosixPath(str(image)).as_posix() for image in images]
    row = {"case_id": str(item.get("case_id", _stem(paths[0]))), "split": part}
    row |= dict(zip(names, paths, strict=True))
    for name, value in item.items():
        if name not in ("image", "case_id", key) and not isinstance(value, list | dict):
            row[name] = "" if value is None else str(value)
    label = _label(item.get(key))
    if label is not None:
        row[key] = str(classes[label]) if isinstance(classes, dict) and label in classes else label
    return row


def _label(value: Any) -> str | None:
    """A class as text; the place of the 1 of a one-hot list."""
    if isinstance(value, list) and len(value) > 1 and sorted(value) == [0] * (len(value) - 1) + [1]:
        return str(value.index(1))
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return None if value is None or isinstance(value, list | dict) else str(value)


def _stem(path: str) -> str:
    return re.sub(r"(\.nii)?\.[A-Za-z0-9]+\Z", "", path)
