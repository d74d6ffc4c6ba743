"""Warnings about data that can be read but may not mean what their owner thinks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import sqrt
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from fusionzoo.data.association import separation
from fusionzoo.data.cells import is_empty
from fusionzoo.data.manifest import Cases
from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import Roles
from fusionzoo.data.rows import Rows

#: Area under the ROC curve above which one column alone is suspicious.
PREDICTS = 0.98
#: The same, for telling training from test cases.
SHIFTS = 0.9

#: Names that a class has which is not the positive one.
NEGATIVE = frozenset(
    {"0", "no", "n", "false", "neg", "negative", "benign", "absent", "normal", "healthy", "control"}
)

#: Columns whose unit can be told from their name, with plausible values.
PLAUSIBLE = {"age": (0.0, 120.0, "years"), "weight": (2.0, 400.0, "kg")}


def look(cases: Cases, rows: Rows, roles: Roles, warnings: Problems) -> None:
    """Note everything that looks odd; columns and cells with a problem count as absent or empty."""
    for name, frame in cases.tables.items():
        for column in frame:
            values = frame[column]
            _look_at_column(values, str(column), warnings)
            _look_for_answers(values, str(column), cases, roles, warnings)
        _look_for_shift(frame, cases, warnings)
        for column, vocabulary in roles.tables[name].categorical.items():
            if len(vocabulary) > 20:
                text, remedy = f"{len(vocabulary)} values in table {name!r}", "Merge rare ones."
                warnings.add("W06", text, remedy, column=column)
    _look_at_names(cases, rows, roles, warnings)
    _look_at_targets(cases, roles, warnings)


def _classes(cases: Cases, roles: Roles) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Target, class, labelled cases, and which of those are of the class; a binary target once."""
    for role in roles.targets:
        codes = cases.targets.get(role.name, np.full(len(cases.ids), -1))
        for code in range(len(role.classes)) if len(role.classes) > 2 else (1,):
            yield role.name, role.classes[code], codes >= 0, codes[codes >= 0] == code


def _look_at_column(values: pd.Series, column: str, warnings: Problems) -> None:
    missing = float(values.isna().mean())
    if missing > 0.5:
        warnings.add("W04", f"{missing:.0%} of the cells are empty", "Leave it out?", column=column)
    if values.nunique() == 1:
        text = f"every known cell is {values.dropna().iloc[0]!s}"
        warnings.add("W05", text, "It tells nothing: leave it out.", column=column)
    for word, (low, high, unit) in PLAUSIBLE.items():
        if word in re.split(r"[^a-z]+", column.lower()) and pd.api.types.is_numeric_dtype(values):
            odd = values[(values < low) | (values > high)]
            if len(odd):
                text = f"{len(odd)} cells outside {low:g} to {high:g} {unit}, as {odd.iloc[0]:g}"
                warnings.add("W08", text, "Check the unit.", column=column)


def _look_for_answers(
    values: pd.Series, column: str, cases: Cases, roles: Roles, warnings: Problems
) -> None:
    """W01: a column that nearly is the answer. W03: cells empty more often in one class."""
    for target, name, labelled, positive in _classes(cases, roles):
        area = separation(values[labelled], positive)
        if area is not None and area > PREDICTS:
            text = f"alone it tells class {name!r} of {target!r} with an AUROC of {area:.3f}"
            warnings.add("W01", text, "Was it known before the outcome?", column=column)
        empty = values[labelled].isna().to_numpy()
        if _differ(empty, positive):
            text = (
                f"empty in {empty[positive].mean():.0%} of class {name!r} of {target!r} "
                f"and in {empty[~positive].mean():.0%} of the others"
            )
            warnings.add("W03", text, "Missing cells may tell the answer.", column=column)


def _differ(event: np.ndarray, positive: np.ndarray) -> bool:
    """Whether a share differs by over 0.2 and over 3.3 standard errors between two groups."""
    if positive.all() or not positive.any():
        return False
    share, gap = event.mean(), abs(event[positive].mean() - event[~positive].mean())
    error = sqrt(share * (1 - share) * (1 / positive.sum() + 1 / (~positive).sum()))
    return bool(gap > 0.2 and gap > 3.3 * error)


def _look_for_shift(frame: pd.DataFrame, cases: Cases, warnings: Problems) -> None:
    if cases.split is None:
        return
    chosen = np.isin(cases.split, ("train", "test"))
    for column in frame:
        area = separation(frame[column][chosen], cases.split[chosen] == "test")
        if area is not None and area > SHIFTS:
            text = f"it tells test from training cases with an AUROC of {area:.3f}"
            warnings.add("W10", text, "Were they acquired in another way?", column=str(column))


def _look_at_names(cases: Cases, rows: Rows, roles: Roles, warnings: Problems) -> None:
    """W02: ids, folders or file names that tell the answer. W11: no case shares its group."""
    named: dict[str, dict[str, list[str | None]]] = {
        roles.id: {"beginning": [_prefix(case) for case in cases.ids]}
    }
    for image in (role for role in roles.images if role.column in rows.cells):
        paths = [PurePosixPath(cell.replace("\\", "/")) for cell in rows.cells[image.column]]
        named[image.column] = {
            "folder": [None if is_empty(str(path)) else str(path.parent) for path in paths],
            "file name": [None if is_empty(str(path)) else _prefix(path.name) for path in paths],
        }
    for column, kinds in named.items():
        for kind, words in kinds.items():
            values = pd.Series(words, dtype=object)
            for target, name, labelled, positive in _classes(cases, roles):
                area = separation(values[labelled], positive)
                if area is not None and area > PREDICTS:
                    text = (
                        f"its {kind} tells class {name!r} of {target!r} with an AUROC of {area:.3f}"
                    )
                    warnings.add("W02", text, "Never make an input of it.", column=column)
    if len(set(cases.groups.tolist())) == len(cases.groups) > 1:
        text = "every case is a group of its own"
        warnings.add(
            "W11", text, "Is it really one case a patient? Name the patient's column under group:."
        )


def _prefix(name: str) -> str:
    """A name without its last number and what follows it: `Lung_Dx-A` of `Lung_Dx-A0001`."""
    return re.sub(r"\d+\D*\Z", "", name)


def _look_at_targets(cases: Cases, roles: Roles, warnings: Problems) -> None:
    """W07: rare classes. W15: classes in an order that is seldom meant."""
    for role in (role for role in roles.targets if role.name in cases.targets):
        codes = cases.targets[role.name]
        labelled = codes[codes >= 0]
        for code, name in enumerate(role.classes):
            share = float((labelled == code).mean()) if len(labelled) else 0.0
            if 0 < share < 0.05:
                text = f"class {name!r} of target {role.name!r} has {share:.1%} of the cases"
                remedy = "Read AUPRC and intervals, not accuracy."
                warnings.add("W07", text, remedy, column=role.column)
        if _out_of_order(role.classes):
            text = f"the classes of target {role.name!r} are {', '.join(role.classes)}"
            last = "The last is the positive one" if len(role.classes) == 2 else "This is the order"
            remedy = f"{last}: is it meant?"
            warnings.add("W15", text, remedy, column=role.column)


def _out_of_order(classes: Sequence[str]) -> bool:
    """Numbers that don't ascend, or a positive class whose name says that it is the negative."""
    try:
        numbers = [float(name) for name in classes]
    except ValueError:
        negative = [name.casefold() in NEGATIVE for name in classes]
        return len(classes) == 2 and negative == [False, True]
    return numbers != sorted(numbers)
