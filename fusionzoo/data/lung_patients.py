"""Patients of Lung-PET-CT-Dx: the class that an id names, and which series stands for a patient."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fusionzoo.data.ct_series import SeriesFacts
from fusionzoo.errors import DataError

#: Histology by the letter of the patient's id.
LETTERS = {"A": "adenocarcinoma", "B": "small_cell", "E": "large_cell", "G": "squamous_cell"}
_PATIENT = re.compile(r"(?:Lung_Dx-)?([A-Z])(\d{4})", re.IGNORECASE)


def patient_of(patient_id: str) -> str | None:
    """`A0001` of `Lung_Dx-A0001`; None where an id is not of this collection."""
    match = _PATIENT.fullmatch(patient_id.strip())
    if match is None or match[1].upper() not in LETTERS:
        return None
    return match[1].upper() + match[2]


def choose_series(
    series: Sequence[SeriesFacts],
    *,
    letters: Sequence[str],
    which: str,
    min_slices: int,
    boxes: Sequence[Mapping[int, Any]] | None,
    notes: list[str],
) -> list[int]:
    """Places of the series to use, by patient.

    Args:
        series: Every usable series.
        letters: Classes to use.
        which: `longest` or `all`, of those that have boxes where `boxes` are given; the series
            with most slices is the longest, and equal ones go by their UID.
        min_slices: Fewest slices.
        boxes: Per series, its slices with boxes; None where boxes don't matter.
        notes: What is left out is added here.

    Raises:
        DataError: A class has no series.
    """
    own, foreign, unfit = _by_patient(series, letters, min_slices)
    if foreign:
        notes.append(f"{foreign} series are left out: the patient's id names no class")
    if unfit:
        notes.append(f"{unfit} series are left out: fewer than {min_slices} slices, or not axial")
    chosen: list[int] = []
    for patient, places in sorted(own.items()):
        able = [k for k in places if boxes is None or boxes[k]]
        if not able:
            notes.append(f"patient {patient} is left out: no usable series of theirs has a box")
        able.sort(key=lambda k: (-series[k].shape[0], series[k].series_uid))
        chosen += able if which == "all" else able[:1]
    _refuse_empty({str(patient_of(series[k].patient_id))[0] for k in chosen}, letters, notes)
    return chosen


def _by_patient(
    series: Sequence[SeriesFacts], letters: Sequence[str], min_slices: int
) -> tuple[dict[str, list[int]], int, int]:
    own: dict[str, list[int]] = defaultdict(list)
    foreign = unfit = 0
    for index, one in enumerate(series):
        patient = patient_of(one.patient_id)
        if patient is None:
            foreign += 1
        elif patient[0] in letters:
            fits = one.shape[0] >= min_slices and one.axial
            unfit += not fits
            own[patient] += [index] * fits
    return {patient: places for patient, places in own.items() if places}, foreign, unfit


def _refuse_empty(there: Collection[str], letters: Sequence[str], notes: Sequence[str]) -> None:
    problems = [
        f"no usable series is of class {letter} ({LETTERS[letter]}). "
        "'fusionzoo data doctor' says what was set aside and why."
        for letter in letters
        if letter not in there
    ]
    if problems:
        raise DataError([*problems, *notes], "Lung-PET-CT-Dx")
