"""Lung-PET-CT-Dx: adenocarcinoma or squamous-cell carcinoma? CT from DICOM files and a table.

Source: Li et al., The Cancer Imaging Archive, 2020, doi 10.7937/TCIA.2020.NNC2-0461; windows of CT
as MMCAF-Net takes them.
Differs from the released preprocessing of MMCAF-Net: HU instead of stored values, slices sorted by
position, CT only, windows that are the same in every epoch and use no annotation; options bring
the first, second and last of these back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from fusionzoo.data import lung_clinic
from fusionzoo.data.ct_series import Series, series_of
from fusionzoo.data.ct_windows import lesion_starts, scale_window, sequential_starts, shrink
from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.dicom_cache import open_cache
from fusionzoo.data.dicom_series import find_series
from fusionzoo.data.lesion_boxes import boxes_on, read_annotations
from fusionzoo.data.lung_patients import LETTERS, choose_series, patient_of
from fusionzoo.errors import BadOption, DataError
from fusionzoo.schema import canonical
from fusionzoo.spec import DataSpec, Modality, TaskSpec

#: What options with few values take.
CHOICES = {
    "series": ("longest", "annotated", "all"),
    "lesion_windows": ("off", "oracle"),
    "stages": ("ordinal", "categories"),
}


class LungPETCTDx(AbstractDataset):
    """Windows of CT slices, each a case; the patient is its group.

    `ct` is `1 x num_slices x size x size` (z to the head, y to the back, x to the left):
    clip((HU - low) / (high - low), 0, 1) - mean. `table` has sex, age, weight, the three TNM stages
    and smoking. The label is the letter of the patient's id, and so the id is in no input. Score
    patients with `fusionzoo evaluate --per-patient max`, as the paper does.

    Args:
        root: Folder of the DICOM files, in any layout; not needed with a cache.
        cache: Folder that `fusionzoo data prepare` made.
        clinical: The clinical sheet, xlsx or CSV; without it there is no table.
        annotations: Folder of the XML files; only `lesion_windows` and `series="annotated"` use it.
        classes: Letters of the classes, in the order of their codes.
        series: Of a patient, `longest` takes the usable CT series with most slices, `annotated` the
            longest of those with boxes, `all` every one.
        lesion_windows: `off` goes through a series from one end to the other. `oracle` draws
            windows around the annotated lesions, in validation and test too, as the released code
            does: it uses what nobody knows of a new patient.
        raw_stored_values: Use stored values without slope and intercept, in the order of file
            names, as the released preprocessing does.
        num_slices: Slices of a window.
        size: Height and width of a window.
        window_hu: HU that become 0 and 1.
        mean: Subtracted afterwards.
        stages: `ordinal` gives each stage a number in clinical order, seven columns in all;
            `categories` one column per value.
        seed: Of the windows of `oracle`.

    Raises:
        BadOption: An option has an impossible value.
        DataError: Everything that is wrong with the data.
    """

    about: ClassVar[str] = (
        "Lung-PET-CT-Dx, The Cancer Imaging Archive, doi 10.7937/TCIA.2020.NNC2-0461, CC BY 4.0; "
        "cite Li et al. 2020 and Clark et al. 2013. The label is the histology that the patient's "
        "id names."
    )

    def __init__(
        self,
        *,
        root: str | None = None,
        cache: str | None = None,
        clinical: str | None = None,
        annotations: str | None = None,
        classes: Sequence[str] = ("A", "G"),
        series: str = "longest",
        lesion_windows: str = "off",
        raw_stored_values: bool = False,
        num_slices: int = 12,
        size: int = 192,
        window_hu: Sequence[float] = (-100.0, 900.0),
        mean: float = 0.15897,
        stages: str = "ordinal",
        seed: int = 0,
    ):
        self.options = {
            "classes": tuple(classes),
            "series": series,
            "lesion_windows": lesion_windows,
            "raw_stored_values": raw_stored_values,
            "num_slices": num_slices,
            "size": size,
            "window_hu": tuple(map(float, window_hu)),
            "mean": mean,
            "stages": stages,
            "seed": seed,
        }
        self._letters, self._raw, self._mean = tuple(classes), raw_stored_values, mean
        self._length, self._size, self._window = num_slices, size, tuple(map(float, window_hu))
        self._refuse(root, cache, annotations)
        notes: list[str] = []
        found = open_cache(Path(cache)).series if cache else _in_files(Path(str(root)))
        boxes = None
        if series == "annotated" or lesion_windows == "oracle":
            boxes = _boxes(found, Path(str(annotations)), notes)
        chosen = choose_series(
            [one.facts for one in found],
            letters=self._letters,
            which=series,
            min_slices=num_slices,
            boxes=boxes,
            notes=notes,
        )
        oracle = lesion_windows == "oracle"
        if oracle:
            notes.append(
                "lesion_windows='oracle': windows of validation and test cases are placed with the "
                "lesion annotations, which a new patient doesn't have"
            )
        self._place_windows(
            [found[k] for k in chosen],
            [set(boxes[k]) for k in chosen] if boxes and oracle else None,
            seed,
        )
        codes = [self._letters.index(group[0]) for group in self.groups.tolist()]
        self.targets = {"histology": np.array(codes, dtype=np.int64)}
        self._read_table(clinical, stages, notes)
        self._describe()
        self.warnings = tuple(notes)

    def _refuse(self, root: str | None, cache: str | None, annotations: str | None) -> None:
        def refuse(text: str) -> None:
            raise BadOption(f"Data set 'lung_pet_ct_dx' {text}")

        if (root is None) == (cache is None):
            refuse("takes either root=, the folder of the DICOM files, or cache=, a prepared one.")
        letters = self._letters
        if set(letters) - set(LETTERS) or len(set(letters)) != len(letters) or len(letters) < 2:
            known = ", ".join(f"{letter} {name}" for letter, name in LETTERS.items())
            refuse(f"can't tell classes={letters!r} apart. It has: {known}.")
        for name, known_values in CHOICES.items():
            if self.options[name] not in known_values:
                takes = ", ".join(known_values)
                refuse(f"can't use {name}={self.options[name]!r}. It takes: {takes}.")
        for name, value in (("series", "annotated"), ("lesion_windows", "oracle")):
            if self.options[name] == value and annotations is None:
                refuse(f"needs annotations=, the folder of the XML files, for {name}={value!r}.")
        if self._length < 2 or self._size < 2 or not self._window[0] < self._window[-1]:
            refuse(
                f"can't make windows of num_slices={self._length}, size={self._size}, "
                f"window_hu={self._window}. Sizes are 2 or more, and the window ascends."
            )

    def _place_windows(
        self, chosen: Sequence[Series], lesions: Sequence[set[int]] | None, seed: int
    ) -> None:
        cases, groups = [], []
        self._places: list[tuple[Series, int]] = []
        for number, one in enumerate(chosen):
            depth, uid = one.facts.shape[0], one.facts.series_uid
            starts = sequential_starts(depth, self._length)
            if lesions is not None:
                lesion = _in_file_order(one, lesions[number]) if self._raw else lesions[number]
                starts = lesion_starts(depth, self._length, lesion, seed=seed, key=uid)
            patient = str(patient_of(one.facts.patient_id))
            short = hashlib.sha256(uid.encode()).hexdigest()[:8]
            cases += [f"{patient}/{short}/{k}" for k in range(len(starts))]
            groups += [patient] * len(starts)
            self._places += [(one, start) for start in starts]
        self.cases, self.groups = tuple(cases), np.array(groups)

    def _read_table(self, clinical: str | None, stages: str, notes: list[str]) -> None:
        self.columns = {}
        self._table, self._has_row = pd.DataFrame(), np.zeros(len(self.cases), dtype=bool)
        if clinical is None:
            return
        clinic = lung_clinic.read_clinic(Path(clinical))
        notes += clinic.flagged
        table = lung_clinic.as_numbers(clinic.table) if stages == "ordinal" else clinic.table
        self._has_row = np.isin(self.groups, clinic.table.index.to_numpy(dtype=str))
        without = sorted(set(self.groups[~self._has_row].tolist()))
        if without:
            notes.append(f"{len(without)} patients have no clinical row: {', '.join(without[:5])}")
        self._table = table.reindex(self.groups).reset_index(drop=True)
        self.columns = {"table": lung_clinic.roles(stages)}

    def _describe(self) -> None:
        size = (self._length, self._size, self._size)
        tables = [Modality(n, "table", roles.num_encoded) for n, roles in self.columns.items()]
        self.spec = DataSpec(
            name="lung_pet_ct_dx",
            modalities=(Modality("ct", "volume", 1, size), *tables),
            tasks=(TaskSpec("histology", tuple(LETTERS[letter] for letter in self._letters)),),
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over options, cases, labels, table and every series' values and geometry."""
        told = hashlib.sha256(canonical(self.options).encode())
        series = {one.facts.series_uid: one for one, _ in self._places}
        for uid in sorted(series):
            told.update(series[uid].digest.encode())
        for case, (_, start) in zip(self.cases, self._places, strict=True):
            told.update(f"{case} {start}\n".encode())
        told.update(self.targets["histology"].astype("<i8").tobytes())
        told.update(self._table.to_csv(index=False).encode())
        return told.hexdigest()

    def image(self, modality: str, index: int) -> np.ndarray:
        """One window, float32 `(1, num_slices, size, size)`."""
        one, start = self._places[index]
        chosen = range(start, start + self._length)
        values = one.raw(chosen) if self._raw else one.hounsfield(chosen)
        resized = shrink(values, (self._size, self._size))
        return scale_window(resized, self._window, self._mean)[None]

    def table(self, modality: str) -> pd.DataFrame:
        """The table, one row a window; windows of a patient have the same row."""
        return self._table.copy()

    def present(self, modality: str) -> np.ndarray:
        """Which cases have a clinical row; all have CT."""
        return self._has_row.copy() if modality == "table" else super().present(modality)


def _in_files(root: Path) -> list[Series]:
    if not root.is_dir():
        raise DataError([f"there is no folder {root}. Check root=."], "Lung-PET-CT-Dx")
    return [series_of(found) for found in find_series(root).stacks]


def _boxes(found: Sequence[Series], folder: Path, notes: list[str]) -> list[dict[int, Any]]:
    """Per series, its slices with boxes."""
    if not folder.is_dir():
        raise DataError([f"there is no folder {folder}. Check annotations=."], "the annotations")
    read = read_annotations(folder)
    notes += [f"annotation left out: {problem}" for problem in read.problems]
    return [dict(own) for own in boxes_on([one.facts for one in found], read.boxes)]


def _in_file_order(one: Series, lesion: set[int]) -> set[int]:
    """Annotated slices by the place of their file's name."""
    place = {k: position for position, k in enumerate(one.facts.file_order)}
    return {place[k] for k in lesion}
