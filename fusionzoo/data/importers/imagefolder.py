"""Hugging Face's ImageFolder: folders of splits and classes, or a metadata file with `file_name`.

Source: the layout that `datasets.load_dataset("imagefolder", data_dir=...)` reads. Pictures lie in
`class/`, or in `train/class/`, `validation/class/` and `test/class/`; or a `metadata.csv` or
`metadata.jsonl`, at the top or in each split's folder, names each picture under `file_name`,
relative to itself, with any other values.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fusionzoo.data.guesses.said import NONE, Said
from fusionzoo.data.images import PICTURES
from fusionzoo.data.importers.imported import Imported
from fusionzoo.data.manifest import PARTS
from fusionzoo.data.problems import Problems
from fusionzoo.data.rows import read_rows
from fusionzoo.errors import DataError

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
#: Words for parts, as folders are called.
WORDS = {
    "train": "train",
    "training": "train",
    "validation": "val",
    "valid": "val",
    "val": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


def read(path: Path, target: str | None) -> Imported:
    """The pictures of a folder, with their part and class.

    Args:
        path: The folder.
        target: Column of the metadata to predict; the folder of a picture where there is none.

    Raises:
        DataError: There is no such folder, no picture in it, or a metadata file is wrong.
    """
    if not path.is_dir():
        raise DataError(["there is no such folder. Give the folder of the pictures."], str(path))
    parts = {p.name: WORDS[p.name.lower()] for p in _folders(path) if p.name.lower() in WORDS}
    tops = [(path / name, part) for name, part in parts.items()] or [(path, "")]
    tops.sort(key=lambda top: ("", *PARTS).index(top[1]))
    if any((path / name).is_file() for name in METADATA):
        tops = [(path, "")]
    rows: list[dict[str, str]] = []
    from_folders = False
    for top, part in tops:
        described = list(_described(path, top))
        from_folders |= not described
        for row in described or _classified(path, top):
            guessed = part or _part(row["file_name"])
            rows.append(({"split": guessed} if guessed else {}) | row)
    return _told(path, rows, target, from_folders)


def _told(
    path: Path, rows: list[dict[str, str]], target: str | None, from_folders: bool
) -> Imported:
    if not rows:
        known = ", ".join(PICTURES)
        raise DataError([f"there is no picture in it (known: {known})"], str(path))
    parts = {row.get("split", "") for row in rows}
    notes = []
    split = "split" if {"train", "test"} <= parts and "" not in parts else NONE
    if split == NONE and parts != {""}:
        named = ", ".join(sorted(parts - {""}))
        notes.append(f"The folders make parts {named} only, so no split is given.")
    if split == NONE:
        rows = [{k: v for k, v in row.items() if k != "split"} for row in rows]
    key = target or ("label" if from_folders else None)
    others = [row for row in rows if key and not row.get(key)]
    labelled = [row for row in rows if not key or row.get(key)]
    if not labelled:
        raise DataError(
            [f"no picture has a {key!r}. Put each into a folder of its class."], str(path)
        )
    if others:
        notes.append(f"{len(others)} pictures have no {key!r} and are in unlabelled.csv.")
    images = {"image": "file_name"}
    targets = (key,) if key else ()
    said = Said(id="case_id", split=split, images=images, targets=targets, root=path)
    drop = {key, "split"}
    rest = [{k: v for k, v in row.items() if k not in drop} for row in others]
    return Imported(labelled, rest, path, said, tuple(notes))


def _described(root: Path, top: Path) -> Iterator[dict[str, str]]:
    """Rows of a folder's metadata file, `file_name` made relative to the root."""
    for name in METADATA:
        if not (top / name).is_file():
            continue
        problems = Problems()
        rows = read_rows(top / name, problems)
        if rows is not None:
            rows.has("file_name", problems, "the path of a picture")
        problems.refuse(str(top / name))
        assert rows is not None
        for index in range(len(rows)):
            row = {column: cells[index] for column, cells in rows.cells.items()}
            file = (top / row.pop("file_name")).relative_to(root).as_posix()
            yield {"case_id": _case(file), "file_name": file} | row
        return


def _classified(root: Path, top: Path) -> Iterator[dict[str, str]]:
    """Pictures below a folder; the folder that a picture lies in is its class."""
    for file in sorted(top.rglob("*")):
        if file.suffix.lower() in PICTURES and file.is_file():
            name = file.relative_to(root).as_posix()
            label = "" if file.parent == top else file.parent.name
            yield {"case_id": _case(name), "file_name": name, "label": label}


def _case(file: str) -> str:
    return file.rpartition(".")[0] or file


def _part(file: str) -> str:
    first = file.partition("/")[0].lower() if "/" in file else ""
    return WORDS.get(first, "")


def _folders(path: Path) -> list[Path]:
    return sorted(inner for inner in path.iterdir() if inner.is_dir())
