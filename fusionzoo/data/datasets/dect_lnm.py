"""DECT-LNM: has a cancer spread to this lymph node? Three CT crops at each of two energies.

Source: the DECT-LNM experiments of IIMGF-Net, MICCAI 2025; the data are not public.
Differs from the paper: it doesn't say how six crops become two inputs. Here the three of one energy
are the channels of one image, or three pairs are three cases; and this layout of files is ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.dect_manifest import COLUMNS, DectCases, read_dect
from fusionzoo.data.image_files import ImageFiles
from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import ImageRole
from fusionzoo.errors import BadOption
from fusionzoo.schema import canonical
from fusionzoo.spec import DataSpec, Modality, TaskSpec

#: What options with few values take.
CHOICES = {
    "inputs": ("stacked", "pairs"),
    "normalise": ("none", "imagenet"),
    "check": ("full", "headers"),
}
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class DectLnm(AbstractDataset):
    """Lymph nodes with and without metastasis, in dual-energy CT.

    A manifest has one row a case, with the columns `case_id`, `label` (1 is metastasis),
    `img_low_0`, `img_low_1`, `img_low_2` (100 keV), `img_high_0` to `img_high_2` (150 keV), and, if
    you like, `group` (the patient; the case otherwise) and `fold` (from 0; five folds are drawn by
    group otherwise). Images are png, jpg, tif or npy with one channel, relative to the manifest.
    `low` and `high` are `3 x size x size`.

    Args:
        root: The manifest, or a folder with a `manifest.csv`.
        inputs: `stacked` makes the three crops of an energy the channels of its image; `pairs`
            makes three cases of each, the same crop in all channels. Score those with
            `fusionzoo evaluate RUN --per-case mean`.
        size: Height and width of both images.
        window: Values that become 0 and 1, for arrays that hold HU; none for pictures.
        normalise: `none`, or `imagenet` for networks that were trained on ImageNet.
        check: `full` decodes every image when the data set is opened, `headers` doesn't.

    Raises:
        BadOption: An option has an impossible value.
        DataError: Everything that is wrong with the files.
    """

    about: ClassVar[str] = (
        "DECT-LNM, data of IIMGF-Net (MICCAI 2025): they are its authors', who know the terms.\n"
        "Limits: the paper states neither how the network's inputs are made of a case's six crops "
        "nor which cases are in which fold."
    )

    def __init__(
        self,
        *,
        root: str,
        inputs: str = "stacked",
        size: int = 224,
        window: Sequence[float] | None = None,
        normalise: str = "none",
        check: str = "full",
    ):
        self._size, self._pairs = (size, size), inputs == "pairs"
        self._standardise = normalise == "imagenet"
        self._window = None if window is None else tuple(map(float, window))
        self.options = {
            "inputs": inputs,
            "size": size,
            "window": self._window,
            "normalise": normalise,
        }
        self._refuse({**self.options, "check": check})
        path = Path(root).expanduser()
        manifest = path / "manifest.csv" if path.is_dir() else path
        problems, warnings = Problems(), Problems()
        cases = read_dect(manifest, problems)
        if cases is not None:
            self._images = self._open(cases)
            for files in self._images.values():
                files.check(problems, warnings, full=check == "full")
        problems.refuse(str(manifest))
        assert cases is not None
        self._cases = cases
        if check == "full":
            self._look(warnings)
        self.warnings = warnings.lines()
        self._describe()

    def _refuse(self, given: dict[str, object]) -> None:
        wrong = [
            f"{name}={given[name]!r} is none of {', '.join(known)}"
            for name, known in CHOICES.items()
            if given[name] not in known
        ]
        if self._size[0] < 8:
            wrong.append(f"size={self._size[0]} is less than 8")
        window = self._window
        if window is not None and not (len(window) == 2 and window[0] < window[1]):
            wrong.append(f"window={list(window)} is no [low, high]")
        if wrong:
            raise BadOption(f"Data set 'dect_lnm' can't be opened so: {'; '.join(wrong)}.")

    def _open(self, cases: DectCases) -> dict[str, ImageFiles]:
        return {
            column: ImageFiles(
                ImageRole(column, column, "gray", self._size, window=self._window, fit="resize"),
                cases.ids,
                cases.lines,
                paths,
            )
            for column, paths in cases.files.items()
        }

    def _look(self, warnings: Problems) -> None:
        """Values that no picture has, and the same image twice."""
        seen: dict[str, str] = {}
        for column, files in self._images.items():
            values = [files.image(index) for index in range(len(files.paths))]
            low, high = min(v.min() for v in values), max(v.max() for v in values)
            if low < -1 or high > 2:
                text = f"values go from {low:.4g} to {high:.4g}"
                remedy = "Say which of them become 0 and 1: window=[low, high]."
                warnings.add("W22", text, remedy, column=column)
            for case, line, found in zip(files.ids, files.lines, files.hashes, strict=True):
                place = f"case {case!r}, column {column!r}"
                if seen.setdefault(str(found), place) != place:
                    text = f"the same content as of {seen[str(found)]}"
                    remedy = "Was a file copied over another?"
                    warnings.add("W14", text, remedy, row=line, column=column)

    def _describe(self) -> None:
        known, times = self._cases, 3 if self._pairs else 1
        self.cases = tuple(
            f"{case}/{k}" if times > 1 else case for case in known.ids for k in range(times)
        )
        self.groups = np.repeat(np.array(known.groups), times)
        self.targets = {"metastasis": np.repeat(known.labels, times)}
        self.given_folds = None if known.folds is None else np.repeat(known.folds, times)
        self.columns = {}
        more: dict[str, object] = {} if self._window is None else {"window": list(self._window)}
        if self._standardise:
            more |= {"mean": MEAN.tolist(), "std": STD.tolist()}
        self.preparation = dict.fromkeys(COLUMNS, more)
        self.spec = DataSpec(
            name="dect_lnm",
            modalities=tuple(Modality(energy, "image", 3, self._size) for energy in COLUMNS),
            tasks=(TaskSpec("metastasis", ("absent", "present")),),
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the options, and each case's group, label, fold and files."""
        told = hashlib.sha256(canonical(self.options).encode())
        hashes = [files.hashes for files in self._images.values()]
        known = self._cases
        for row in sorted(range(len(known.ids)), key=lambda k: known.ids[k]):
            fold = None if known.folds is None else int(known.folds[row])
            facts = [known.ids[row], known.groups[row], int(known.labels[row]), fold]
            told.update(canonical([*facts, [own[row] for own in hashes]]).encode())
        return told.hexdigest()

    def image(self, modality: str, index: int) -> np.ndarray:
        """One energy of one case, float32 `(3, size, size)`."""
        if self._pairs:
            row, place = divmod(index, 3)
            image = self._images[COLUMNS[modality][place]].image(row).repeat(3, axis=0)
        else:
            image = np.concatenate([self._images[c].image(index) for c in COLUMNS[modality]])
        if self._standardise:
            image = (image - MEAN[:, None, None]) / STD[:, None, None]
        return image.astype(np.float32)

    def table(self, modality: str) -> pd.DataFrame:
        """There is none; KeyError."""
        raise KeyError(modality)
