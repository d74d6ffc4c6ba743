"""Training, validation and test parts in which no patient is twice."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.errors import BadOption, DataError

#: Shares of the patients in a hash split; validation also has this share of the cases in folds.
TRAIN_SHARE, VAL_SHARE = 0.70, 0.15
#: Patients or cases that one problem names.
MAX_NAMED = 5


@dataclass(frozen=True)
class Split:
    """Rows of a data set in three parts.

    Args:
        train: Ascending rows to fit on.
        val: Ascending rows to choose epochs and thresholds on.
        test: Ascending rows to report.
        scheme: How the parts were made, in words.
        digest: SHA-256 over the case ids of each part, as hex; equal for equal parts, whatever made
            them.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    scheme: str
    digest: str


def make_split(
    dataset: AbstractDataset, *, fold: int | None = None, num_folds: int = 5, seed: int = 0
) -> Split:
    """Split a data set by patient.

    Without a fold: the split that comes with the data, or else a split by a hash of the patient
    (SHA-1, 70 % of the patients to train, 15 % to validate, 15 % to test), which stays the same
    when cases are added. With a fold: the folds that come with the data, or else stratified ones;
    where nothing says what validates, a stratified part of the remaining patients with about 15 %
    of all cases does. Stratified means by the classes of the first task.

    Args:
        dataset: What to split.
        fold: The fold to test on, from 0; None for the one fixed split.
        num_folds: Number of folds where the data come without.
        seed: Shuffles patients where folds or validation patients are drawn.

    Raises:
        BadOption: The fold does not exist.
        DataError: A patient is in two parts, a part is empty or has one class of a task only, or
            there are fewer patients than folds.
    """
    if fold is not None:
        return _fold_split(dataset, fold, num_folds, seed)
    if dataset.given_split is not None:
        return _given_split(dataset, np.asarray(dataset.given_split), seed)
    place = np.array([_place(str(group)) for group in dataset.groups])
    part = np.where(
        place < TRAIN_SHARE, "train", np.where(place < TRAIN_SHARE + VAL_SHARE, "val", "test")
    )
    return _checked(dataset, part, "hash of the patient, 70/15/15")


def _place(group: str) -> float:
    """A patient's fixed place in [0, 1)."""
    return int.from_bytes(hashlib.sha1(group.encode()).digest()[:8], "big") / 2**64


def _given_split(dataset: AbstractDataset, part: np.ndarray, seed: int) -> Split:
    known = ("train", "val", "test")
    unknown = sorted(set(part.tolist()) - set(known))
    if unknown:
        raise DataError(
            [f"part {name!r} is none of {', '.join(known)}" for name in unknown], "the split"
        )
    _refuse_shared(dataset, part, "parts")
    if "val" in part:
        return _checked(dataset, part, "given")
    return _checked(
        dataset, _with_val(dataset, part, seed), f"given, validation drawn with seed {seed}"
    )


def _fold_split(dataset: AbstractDataset, fold: int, num_folds: int, seed: int) -> Split:
    if dataset.given_folds is not None:
        folds, origin = np.asarray(dataset.given_folds), "given folds"
        known = sorted(set(folds.tolist()))
        _refuse_shared(dataset, folds, "folds")
    else:
        if num_folds < 2:
            raise BadOption(f"{num_folds} folds were asked for. Ask for 2 or more.")
        known = list(range(num_folds))
        folds, origin = None, f"{num_folds} stratified folds by patient"
    if fold not in known:
        raise BadOption(
            f"Fold {fold} does not exist. Data set {dataset.spec.name!r} has: "
            f"{', '.join(map(str, known))}."
        )
    if folds is None:
        folds = _draw_folds(dataset, np.arange(len(dataset.cases)), num_folds, seed)
    part = np.where(folds == fold, "test", "train")
    return _checked(
        dataset, _with_val(dataset, part, seed), f"fold {fold} of {origin}, seed {seed}"
    )


def _with_val(dataset: AbstractDataset, part: np.ndarray, seed: int) -> np.ndarray:
    """Turn a patient-grouped part of 'train' into 'val', about 15 % of all cases."""
    rest = np.flatnonzero(part == "train")
    num_parts = max(2, round(len(rest) / (VAL_SHARE * len(part))))
    drawn = _draw_folds(dataset, rest, num_parts, seed)
    part = part.astype("<U5")
    part[rest[drawn == 0]] = "val"
    return part


def _draw_folds(
    dataset: AbstractDataset, rows: np.ndarray, num_folds: int, seed: int
) -> np.ndarray:
    """A fold number for each of `rows`."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = dataset.groups[rows]
    num_groups = len(set(groups.tolist()))
    if num_groups < num_folds:
        raise DataError(
            [f"{num_groups} patients can't be split into {num_folds} parts. Ask for fewer folds."],
            f"data set {dataset.spec.name!r}",
        )
    classes = dataset.targets[dataset.spec.tasks[0].name][rows]
    folds = np.zeros(len(rows), dtype=np.int64)
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for k, (_, test) in enumerate(splitter.split(rows, classes, groups)):
            folds[test] = k
    return folds


def _refuse_shared(dataset: AbstractDataset, part: np.ndarray, what: str) -> None:
    """Raise where a patient is in two of the data's own parts or folds."""
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(dataset.groups.tolist()):
        rows.setdefault(group, []).append(row)
    problems = []
    for group, own in rows.items():
        if len(set(part[own].tolist())) > 1:
            where = _named([f"{dataset.cases[row]} ({part[row]})" for row in own])
            problems.append(f"patient {group!r} is in several {what}: {where}")
    if problems:
        problems = [*_limited(problems), "Give all cases of a patient the same one."]
        raise DataError(problems, f"the given {what} of data set {dataset.spec.name!r}")


def _checked(dataset: AbstractDataset, part: np.ndarray, scheme: str) -> Split:
    """The split that `part` says, or an error where a part can't be used."""
    rows = {name: np.flatnonzero(part == name) for name in ("train", "val", "test")}
    problems = []
    for name, own in rows.items():
        if not len(own):
            problems.append(f"part {name!r} has no case")
            continue
        for task in dataset.spec.tasks:
            found = sorted(set(dataset.targets[task.name][own].tolist()) - {-1})
            if len(found) < 2:
                words = f"only class {task.classes[found[0]]!r}" if found else "no label"
                problems.append(
                    f"part {name!r} ({len(own)} cases) has {words} of task {task.name!r}"
                )
    if problems:
        problems.append("Use folds, fewer folds, another seed, or more cases.")
        raise DataError(problems, f"the split ({scheme}) of data set {dataset.spec.name!r}")
    patients = [set(dataset.groups[own].tolist()) for own in rows.values()]
    assert sum(map(len, patients)) == len(set().union(*patients)), "a patient is in two parts"
    return Split(**rows, scheme=scheme, digest=_digest(dataset.cases, rows))


def _digest(cases: Sequence[str], rows: Mapping[str, np.ndarray]) -> str:
    told = hashlib.sha256()
    for name, own in rows.items():
        for text in (f"[{name}]", *sorted(cases[row] for row in own)):
            told.update(text.encode() + b"\0")
    return told.hexdigest()


def _named(names: list[str]) -> str:
    rest = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _limited(problems: list[str]) -> list[str]:
    rest = len(problems) - MAX_NAMED
    return problems[:MAX_NAMED] + ([f"and {rest} more patients"] if rest > 0 else [])


__all__ = ["Split", "make_split"]
