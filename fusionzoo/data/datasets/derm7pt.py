"""Derm7pt: a clinical and a dermoscopic image of a skin lesion, its diagnosis and seven criteria.

Source: Kawahara et al., Seven-Point Checklist and Skin Lesion Classification, IEEE J. Biomed.
Health Inform. 23, 2019; the files from derm.cs.sfu.ca.
Differs from IIMGF-Net's loader: colours in the order red, green, blue, and images made smaller by
averaging instead of by picking points; `colour="bgr"` brings the first of these back.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fusionzoo.data.dataset import AbstractDataset, TableColumns
from fusionzoo.data.derm7pt_labels import LEAKS, SCORE, TABLES, TASKS, VOCABULARY
from fusionzoo.data.derm7pt_release import IMAGES, Release, note_copies, read_release
from fusionzoo.data.image_files import ImageFiles
from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import ImageRole
from fusionzoo.errors import BadOption
from fusionzoo.schema import canonical
from fusionzoo.spec import DataSpec, Modality, TaskSpec

#: Mean and deviation per channel (red, green, blue) of each normalisation.
NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "none": ((), ()),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
#: What options with few values take.
CHOICES = {
    "colour": ("rgb", "bgr"),
    "normalise": tuple(NORMALISATIONS),
    "table": tuple(TABLES),
    "check": ("headers", "full"),
}


class Derm7pt(AbstractDataset):
    """1011 lesions, eight tasks: the diagnosis in five classes and the seven-point checklist.

    `clinic` and `derm` are `3 x size x size`, stretched to a square. Infrequent labels are grouped
    by name, as in the paper. The split is the release's: 413 to train, 203 to validate, 395 to
    test; with a fold, folds are drawn over all cases. Patients aren't known, so that each case is
    a group of its own.

    Args:
        root: The folder `release_v0`, or the one that holds it.
        size: Height and width of both images.
        crop: Pixels cut off at each border first; 25 is what the authors' own loader does.
        colour: Order of the channels: `rgb`, or `bgr` as in IIMGF-Net's released code.
        normalise: `none` leaves values from 0 to 1, as there; `imagenet` standardises channels by
            the means and deviations that networks trained on ImageNet expect.
        table: `none`; `clinical` has elevation, sex and location as 14 columns; `leaky_published`
            adds management and diagnostic difficulty, which makes the 20 columns that TFormer and
            FusionM4Net were published with; `leaky_score` adds the seven-point score too. What is
            leaky gives the answer away, and is told in `warnings`.
        check: `headers` looks at every image's header when the data set is opened; `full` decodes
            them all and looks for copies.

    Raises:
        BadOption: An option has an impossible value.
        DataError: Everything that is wrong with the folder.
    """

    about: ClassVar[str] = (
        "Derm7pt, https://derm.cs.sfu.ca: get it there, under the terms stated there. Cite "
        "Kawahara, Daneshvar, Argenziano and Hamarneh, Seven-Point Checklist and Skin Lesion "
        "Classification using Multi-Task Multi-Modal Neural Nets, IEEE J. Biomed. Health Inform. "
        "23:538-546, 2019, doi 10.1109/JBHI.2018.2824327.\n"
        "Limits: patients aren't known, so that one may be in two parts of a split."
    )

    def __init__(
        self,
        *,
        root: str,
        size: int = 224,
        crop: int = 0,
        colour: str = "rgb",
        normalise: str = "none",
        table: str = "none",
        check: str = "headers",
    ):
        self.options = {
            "size": size,
            "crop": crop,
            "colour": colour,
            "normalise": normalise,
            "table": table,
        }
        self._size, self._crop = (size, size), crop
        self._refuse({**self.options, "check": check})
        self._bgr = colour == "bgr"
        self._mean, self._std = NORMALISATIONS[normalise]
        problems, warnings = Problems(), Problems()
        release = read_release(Path(root).expanduser(), TABLES[table], problems, warnings)
        if release is None:
            problems.refuse(str(root))
        assert release is not None
        self._images = self._open(release)
        for files in self._images.values():
            files.check(problems, warnings, full=check == "full")
            if check == "full" and not problems.found:
                note_copies(files, release.parts, warnings)
        problems.refuse(str(root))
        self._describe(release)
        leaks = [
            f"table={table!r} has {column!r} as an input, though {why}."
            for column, why in LEAKS.items()
            if column in TABLES[table]
        ]
        self.warnings = (*leaks, *warnings.lines())

    def _refuse(self, given: dict[str, object]) -> None:
        wrong = [
            f"{name}={given[name]!r} is none of {', '.join(known)}"
            for name, known in CHOICES.items()
            if given[name] not in known
        ]
        if self._size[0] < 8:
            wrong.append(f"size={self._size[0]} is less than 8")
        if self._crop < 0:
            wrong.append(f"crop={self._crop} is less than 0")
        if wrong:
            raise BadOption(f"Data set 'derm7pt' can't be opened so: {'; '.join(wrong)}.")

    def _open(self, release: Release) -> dict[str, ImageFiles]:
        role = ImageRole("", "", "rgb", self._size, fit="resize", mean=self._mean, std=self._std)
        return {
            name: ImageFiles(
                replace(role, name=name, column=name),
                release.numbers,
                release.lines,
                release.files[name],
                crop=self._crop,
            )
            for name in IMAGES
        }

    def _describe(self, release: Release) -> None:
        self.cases = tuple(f"case-{number}" for number in release.numbers)
        self.groups = np.array(self.cases)
        self.targets = release.targets
        self.given_split = release.parts
        self._table = release.table
        standard = {"mean": list(self._mean), "std": list(self._std)} if self._mean else {}
        sayable = not (self._bgr or self._crop)
        self.preparation = dict.fromkeys(IMAGES, standard if sayable else None)
        names = tuple(release.table.columns)
        numbers = tuple(name for name in names if name == SCORE)
        roles = TableColumns(numbers, {n: VOCABULARY[n] for n in names if n != SCORE})
        self.columns = {"table": roles} if names else {}
        tables = [Modality("table", "table", roles.num_encoded)] if names else []
        self.spec = DataSpec(
            name="derm7pt",
            modalities=(*(files.role.modality for files in self._images.values()), *tables),
            tasks=tuple(TaskSpec(task, tuple(classes)) for task, classes in TASKS.items()),
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the options, and each case's labels, part, metadata and files."""
        told = hashlib.sha256(canonical(self.options).encode())
        hashes = [files.hashes for files in self._images.values()]
        assert self.given_split is not None
        for row, case in enumerate(self.cases):
            labels = [int(codes[row]) for codes in self.targets.values()]
            told.update(
                canonical(
                    [case, labels, str(self.given_split[row]), [own[row] for own in hashes]]
                ).encode()
            )
        told.update(self._table.to_csv(index=False).encode())
        return told.hexdigest()

    def image(self, modality: str, index: int) -> np.ndarray:
        """One image, float32 `(3, size, size)`."""
        image = self._images[modality].image(index)
        return np.ascontiguousarray(image[::-1]) if self._bgr else image

    def table(self, modality: str) -> pd.DataFrame:
        """The metadata, one row a case; None or NaN where a cell is empty."""
        return self._table.copy()
