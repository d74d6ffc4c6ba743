"""What of a folder of DICOM can be used, what can't and why, and what could give the answer away.

Nothing is trained. Every header is read, and one slice of each series; all slices where asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from fusionzoo.data.association import separation
from fusionzoo.data.ct_series import Series, SeriesFacts, series_of, sha256_of
from fusionzoo.data.dicom_cache import INDEX, damaged, open_cache
from fusionzoo.data.dicom_header import UnusableDicom
from fusionzoo.data.dicom_rules import syntax_name
from fusionzoo.data.dicom_series import SetAside, find_series
from fusionzoo.data.lesion_boxes import Annotations, Box, boxes_on, read_annotations
from fusionzoo.data.lung_clinic import COLUMNS, Clinic, read_clinic
from fusionzoo.data.lung_patients import LETTERS, patient_of
from fusionzoo.errors import DataError

#: Area under the ROC curve from which on a fact of acquisition is worth a look.
TELLS = 0.75
#: From what has to be mended to what is well.
VERDICTS = ("bad", "look", "good")
#: Transfer syntaxes that lose information.
LOSSY = tuple(f"1.2.840.10008.1.2.4.{number}" for number in ("50", "51", "81", "91", "203"))


@dataclass(frozen=True)
class Examined:
    """One series that can be used.

    Args:
        series: The series.
        letter: Letter of its class, or empty where the id names none.
        shown: The slice that pictures show: the middle one of those with boxes, or of all.
        boxes: Per slice, its boxes.
        num_named: How many slices have boxes of their own; the others have them by geometry.
    """

    series: Series
    letter: str
    shown: int
    boxes: Mapping[int, tuple[Box, ...]]
    num_named: int


@dataclass(frozen=True)
class Check:
    """One thing that was looked for.

    Args:
        verdict: `good`, `look` (odd, but it can be used) or `bad`.
        text: What was found, in whole sentences.
    """

    verdict: Literal["good", "look", "bad"]
    text: str


@dataclass(frozen=True)
class Report:
    """Everything that `examine` found.

    Args:
        path: The folder.
        examined: Series that can be used, by patient.
        set_aside: What can't, by reason.
        others: Files that are no images, by suffix.
        annotations: The boxes, where there are any.
        clinic: The clinical sheet, where there is one.
        checks: What was looked for, the worst first.
    """

    path: Path
    examined: tuple[Examined, ...]
    set_aside: tuple[SetAside, ...]
    others: Counter[str]
    annotations: Annotations | None
    clinic: Clinic | None
    checks: tuple[Check, ...]

    def classes(self) -> list[tuple[str, int, int, int, int]]:
        """Per class: its name, patients, series, slices, and patients with boxes."""
        told = []
        for letter, name in {**LETTERS, "": "no class in the id"}.items():
            own = [e for e in self.examined if e.letter == letter]
            facts = [e.series.facts for e in own]
            boxed = {e.series.facts.patient_id for e in own if e.boxes}
            patients = {one.patient_id for one in facts}
            slices = sum(one.shape[0] for one in facts)
            if own:
                title = f"{letter} {name}".strip().replace("_", " ")
                told.append((title, len(patients), len(own), slices, len(boxed)))
        return told

    def syntaxes(self) -> list[tuple[str, int]]:
        """Transfer syntaxes of what can be used, and how many series have each."""
        counts = Counter(e.series.facts.transfer_syntax for e in self.examined)
        return [
            (syntax_name(uid) + (", lossy" if uid in LOSSY else ""), n)
            for uid, n in counts.most_common()
        ]

    def reasons(self) -> list[tuple[str, int, SetAside]]:
        """Why files are set aside: the reason, the number of files, and one example."""
        groups: dict[str, list[SetAside]] = defaultdict(list)
        for aside in self.set_aside:
            groups[aside.kind].append(aside)
        told = [(kind, sum(a.num_files for a in own), own[0]) for kind, own in groups.items()]
        return sorted(told, key=lambda row: -row[1])


def examine(
    path: Path,
    *,
    annotations: Path | None = None,
    clinical: Path | None = None,
    decode: bool = False,
    workers: int = 1,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Look at a folder of DICOM files, or at a prepared cache.

    Args:
        path: The folder.
        annotations: Folder of PASCAL VOC files named by SOPInstanceUID.
        clinical: The clinical sheet of Lung-PET-CT-Dx.
        decode: Decode every slice; of a cache, check every sum.
        workers: Processes that read headers.
        tell: Hears how many of how many files are read.

    Raises:
        DataError: There is no such folder, or no DICOM in it, or the sheet can't be read.
        RunError: The cache can't be read.
    """
    if not path.is_dir():
        raise DataError([f"there is no folder {path}. Check the path."], str(path))
    damage: list[str] = []
    if (path / INDEX).is_file():
        cache = open_cache(path)
        series, aside, others = list(cache.series), list(cache.set_aside), cache.others
        damage = damaged(cache) if decode else []
    else:
        found = find_series(path, workers=workers, tell=tell)
        series, aside, others = [], list(found.set_aside), found.others
        for stack in found.stacks:
            one = series_of(stack)
            try:
                one.read(range(len(stack.slices)) if decode else [len(stack.slices) // 2])
                series.append(one)
            except UnusableDicom as error:
                aside.append(_undecodable(error, one.facts))
    if not series and not aside:
        raise DataError([f"there is no DICOM image in it. {_instead(path)}"], str(path))
    read = None if annotations is None else read_annotations(annotations)
    examined = _examined(series, read)
    clinic = None if clinical is None else read_clinic(clinical)
    checks = [Check("bad", text) for text in damage]
    checks += [*_identity(examined), *_content(examined), *_acquisition(examined)]
    checks += [*_annotated(examined, read), *_clinical(examined, clinic)]
    checks.sort(key=lambda check: VERDICTS.index(check.verdict))
    return Report(path, tuple(examined), tuple(aside), others, read, clinic, tuple(checks))


def _undecodable(error: UnusableDicom, facts: SeriesFacts) -> SetAside:
    where, count = error.path.parent, facts.shape[0]
    text = f"{error.path.name}: {error.text}"
    return SetAside(
        error.kind, text, error.remedy, where, count, facts.patient_id, facts.description
    )


def _instead(path: Path) -> str:
    """What to do about a folder without DICOM."""
    if any((path / sub / "meta" / "meta.csv").is_file() for sub in (".", "release_v0")):
        call = f"derm7pt(root='{path}', check=full)"
        return f'It looks like the release of Derm7pt: fusionzoo data show "{call}".'
    if (path / "dataset.yaml").is_file():
        return f"It has a dataset.yaml: fusionzoo data check {path / 'dataset.yaml'}."
    if (path / "manifest.csv").is_file():
        call = f"dect_lnm(root='{path}')"
        return (
            f"It has a manifest.csv: write a dataset.yaml for it (docs/own_data.md), or, for six "
            f'crops a case, fusionzoo data show "{call}".'
        )
    return "Check the path."


def _examined(series: Sequence[Series], read: Annotations | None) -> list[Examined]:
    facts = [one.facts for one in series]
    boxes = boxes_on(facts, read.boxes if read else {})
    examined = []
    for one, own in zip(series, boxes, strict=True):
        named = [uid.lower() in (read.boxes if read else {}) for uid in one.facts.sop_uids]
        slices = sorted(own) or list(range(one.facts.shape[0]))
        patient = patient_of(one.facts.patient_id) or ""
        examined.append(Examined(one, patient[:1], slices[len(slices) // 2], own, sum(named)))
    return examined


def _identity(examined: Sequence[Examined]) -> Iterator[Check]:
    """Identifiers that belong to two patients, and ids that name no class."""
    shared = []
    for name in ("study_uid", "frame_uid"):
        owners: dict[str, set[str]] = defaultdict(set)
        for one in examined:
            owners[getattr(one.series.facts, name)].add(one.series.facts.patient_id)
        shared += [patients for uid, patients in owners.items() if uid and len(patients) > 1]
    for patients in {tuple(sorted(patients)) for patients in shared}:
        text = f"Patients {', '.join(patients)} share a study or a frame of reference: they may be "
        yield Check("bad", text + "one person, who would then be in two parts of a split.")
    if not shared:
        count = len({one.series.facts.patient_id for one in examined})
        yield Check("good", f"No study belongs to two of the {count} patients.")
    if any(one.letter for one in examined):
        text = "The patient's id names the class. It is the label and in no input."
        yield Check("good", text)


def _content(examined: Sequence[Examined]) -> Iterator[Check]:
    """The same pixels in two patients."""
    owners: dict[str, set[str]] = defaultdict(set)
    for one in examined:
        middle = one.series.read([one.series.facts.shape[0] // 2])
        if middle.min() < middle.max():
            owners[sha256_of(middle)].add(one.series.facts.patient_id)
    twice = [sorted(patients) for patients in owners.values() if len(patients) > 1]
    for patients in twice:
        text = f"Patients {', '.join(patients)} have a series with the same pixels in the middle."
        yield Check("bad", f"{text} Give them one group, or remove the copy.")
    if not twice:
        yield Check("good", "No two patients have the same pixels in the middle of a series.")


def _acquisition(examined: Sequence[Examined]) -> Iterator[Check]:
    """Facts of the scan that tell the class: a model may learn the scanner."""
    known = [one for one in examined if one.letter in ("A", "G")]
    positive = np.array([one.letter == "G" for one in known], dtype=bool)
    facts = [one.series.facts for one in known]
    columns = {
        "the manufacturer": [one.manufacturer for one in facts],
        "the distance of slices": [one.spacing_mm[0] for one in facts],
        "the pixel spacing": [one.spacing_mm[1] for one in facts],
        "the number of slices": [float(one.shape[0]) for one in facts],
        "the series description": [one.description for one in facts],
        "the encoding": [one.transfer_syntax for one in facts],
    }
    areas = {n: separation(pd.Series(v), positive) for n, v in columns.items() if len(known)}
    for name, area in areas.items():
        if area is not None and area > TELLS:
            text = f"{name.capitalize()} alone tells A from G with an AUROC of {area:.2f}"
            yield Check("look", f"{text}: a model may learn how patients were scanned.")
    judged = [name for name, area in areas.items() if area is not None and area <= TELLS]
    if judged:
        yield Check(
            "good", f"These don't tell A from G (AUROC up to {TELLS}): {', '.join(judged)}."
        )


def _annotated(examined: Sequence[Examined], read: Annotations | None) -> Iterator[Check]:
    if read is None:
        return
    there = {uid.lower() for one in examined for uid in one.series.facts.sop_uids}
    lost = len(set(read.boxes) - there)
    by_name = sum(one.num_named for one in examined)
    by_place = sum(len(one.boxes) - one.num_named for one in examined)
    text = f"{read.num_files} annotation files: {by_name} slices have boxes of their own, "
    yield Check("good", f"{text}{by_place} of other reconstructions by their place.")
    if lost:
        text = f"{lost} annotation files name no slice of a usable series"
        yield Check("look", f"{text}: theirs is set aside, or was not downloaded.")
    wrong = sorted(
        {
            one.series.facts.patient_id
            for one in examined
            for boxes in one.boxes.values()
            for box in boxes
            if one.letter and box.label in LETTERS and box.label != one.letter
        }
    )
    if wrong:
        text = f"Boxes of {', '.join(wrong[:5])} are labelled with another class than the id's."
        yield Check("bad", text)
    for problem in read.problems[:5]:
        yield Check("look", f"Annotation {problem}.")


def _clinical(examined: Sequence[Examined], clinic: Clinic | None) -> Iterator[Check]:
    if clinic is None:
        return
    patients = {patient_of(one.series.facts.patient_id) for one in examined} - {None}
    without = sorted(str(name) for name in patients - set(clinic.table.index))
    if without:
        named = ", ".join(without[:5])
        yield Check("look", f"{len(without)} patients have no clinical row: {named}.")
    empty = [f"{name} {int(clinic.table[name].isna().sum())}" for name in COLUMNS]
    yield Check("good", f"{len(clinic.table)} clinical rows; empty cells: {', '.join(empty)}.")
    for text in clinic.flagged[:10]:
        yield Check("look", f"Clinical cell of {text}.")
    if len(clinic.flagged) > 10:
        yield Check("look", f"And {len(clinic.flagged) - 10} more clinical cells like these.")
