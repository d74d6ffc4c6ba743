"""Finds the files that a manifest names, inside their folder and by their exact names."""

from __future__ import annotations

import os
import unicodedata
from functools import cached_property
from pathlib import Path, PurePosixPath

from fusionzoo.data.problems import Problems
from fusionzoo.errors import nearest


class Folder:
    """The folder that a data set's files are in.

    Names are compared character by character, also where the disk ignores case, so that a data set
    that works on one computer works on another. A symbolic link may lead out of the folder; a path
    may not.
    """

    def __init__(self, root: Path):
        self.root = root
        self._names: dict[Path, frozenset[str]] = {}

    @cached_property
    def absolute(self) -> Path:
        """The folder's absolute path, links left as they are."""
        return Path(os.path.abspath(self.root))  # noqa: PTH100 - resolve() would follow links

    def find(
        self, cell: str, column: str, row: int, problems: Problems, *, folders: bool = False
    ) -> Path | None:
        """The file that a cell names; None, with E04, E05 or E06 noted, where it can't be used.

        Args:
            cell: The path as it is written.
            column: Column of the manifest, for messages.
            row: Its line.
            problems: Where problems are noted.
            folders: Whether it may be a folder, which a DICOM series is.
        """

        def refuse(code: str, text: str, remedy: str) -> None:
            problems.add(code, text, remedy, row=row, column=column, value=cell)

        path = self._inside(cell)
        if path is None:
            refuse(
                "E04",
                f"the path leaves {self.root}",
                "Move the file there, or set root: in the dataset.yaml.",
            )
            return None
        walked = self.absolute
        for part in path.relative_to(self.absolute).parts:
            if part not in self._listing(walked):
                refuse("E04", *self._missing(walked, part, cell))
                return None
            walked = walked / part
        if walked.is_dir():
            if not folders:
                refuse("E06", "a folder", "Name a file; a DICOM series is kind: volume.")
            return walked if folders else None
        if walked.stat().st_size == 0:
            refuse("E05", "the file is empty", "Copy it again.")
            return None
        return walked

    def _inside(self, cell: str) -> Path | None:
        """The absolute path that a cell means; None where it is outside of the folder."""
        if ".." in PurePosixPath(cell).parts:
            cell = os.path.normpath(cell)
        path = self.absolute / cell
        return path if path.is_relative_to(self.absolute) and ".." not in path.parts else None

    def _listing(self, folder: Path) -> frozenset[str]:
        if folder not in self._names:
            inside = folder.iterdir() if folder.is_dir() else ()
            self._names[folder] = frozenset(path.name for path in inside)
        return self._names[folder]

    def _missing(self, folder: Path, name: str, cell: str) -> tuple[str, str]:
        """What is wrong with a name that its folder doesn't list, and the remedy."""
        there = self._listing(folder)
        plain = unicodedata.normalize("NFKC", name).casefold()
        same = sorted(n for n in there if unicodedata.normalize("NFKC", n).casefold() == plain)
        if same:
            return (
                "the name differs in case or spelling",
                f"It is written {same[0]!r} on disk: copy it exactly.",
            )
        if "\\" in cell:
            return "there is no such file", "Write paths with '/', not with a backslash."
        return (
            f"there is no such file below {self.root}",
            f"{nearest(name, sorted(there))}Check the path, or set root:.",
        )
