"""Checks that no answer leaks: patients or images in two parts, targets or ids as inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from fusionzoo.data.association import one_to_one, separation
from fusionzoo.data.dataset import TableColumns
from fusionzoo.data.manifest import PARTS, Cases
from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import Roles
from fusionzoo.data.rows import Rows


def check_split(cases: Cases, roles: Roles, problems: Problems) -> None:
    """E12: a group in two parts. E13: a part of one class, or too few groups for the folds."""
    parts = cases.parts
    if parts is not None:
        homes: dict[str, dict[str, int]] = defaultdict(dict)
        for group, part, line in zip(cases.groups, parts.tolist(), cases.lines, strict=True):
            if _known(part):
                homes[group].setdefault(str(part), line)
        for group, seen in homes.items():
            if len(seen) > 1:
                where = ", ".join(f"{part} (row {line})" for part, line in seen.items())
                remedy = "Put all cases of a patient in one part."
                problems.add(
                    "E12",
                    f"the group is in {where}",
                    remedy,
                    row=min(seen.values()),
                    value=str(group),
                )
        _check_classes(cases, roles, parts, problems)
    elif roles.split is not None and roles.split.scheme is not None:
        _check_scheme(cases, roles, roles.split.num_folds, problems)


def _check_classes(cases: Cases, roles: Roles, parts: np.ndarray, problems: Problems) -> None:
    """Every part that is trained or evaluated on needs two classes of every target."""
    known = [part for part in dict.fromkeys(parts.tolist()) if _known(part)]
    chosen = {str(part): parts == part for part in known}
    if cases.folds is not None:
        chosen = {f"fold {part}": mask for part, mask in chosen.items()}
        chosen |= {f"the training part of {part}": ~mask for part, mask in chosen.items()}
    for role in roles.targets:
        codes = cases.targets.get(role.name)
        for part, mask in chosen.items() if codes is not None else ():
            assert codes is not None
            seen = [role.classes[code] for code in sorted(set(codes[mask].tolist()) - {-1})]
            if len(seen) < 2:
                text = (
                    f"target {role.name!r} has only the class {seen[0]!r}"
                    if seen
                    else f"target {role.name!r} has no label"
                )
                problems.add(
                    "E13", f"{text} in {part}", "Move cases, or merge parts.", column=role.column
                )


def _known(part: str | int) -> bool:
    """Whether a cell names a part at all; what doesn't is an E11 already."""
    return part in PARTS if isinstance(part, str) else part >= 0


def _check_scheme(cases: Cases, roles: Roles, num_folds: int, problems: Problems) -> None:
    remedy = f"Lower k from {num_folds} under split:."
    num_groups = len(set(cases.groups.tolist()))
    if num_groups < num_folds:
        problems.add("E13", f"{num_groups} groups can't make {num_folds} folds", remedy)
        return
    for role in roles.targets:
        codes = cases.targets.get(role.name)
        for code, name in enumerate(role.classes) if codes is not None else ():
            count = len(set(cases.groups[codes == code].tolist()))
            if 0 < count < num_folds:
                text = f"class {name!r} of {role.name!r} has {count} groups for {num_folds} folds"
                problems.add("E13", text, f"{remedy} Or merge classes.", column=role.column)


def check_copies(
    cases: Cases, hashes: Mapping[str, Sequence[str | None]], problems: Problems, warnings: Problems
) -> None:
    """E14: one image's content in two parts. W14: in two groups, where folds are made later."""
    parts = cases.parts
    for name, contents in hashes.items():
        where: dict[str, list[int]] = defaultdict(list)
        for index, content in enumerate(contents):
            if content is not None:
                where[content].append(index)
        for indices in (alike for alike in where.values() if len(alike) > 1):
            rows = ", ".join(str(cases.lines[i]) for i in indices)
            text = f"the files of image {name!r} in rows {rows} have the same content"
            line = cases.lines[indices[0]]
            if parts is not None and len({parts[i] for i in indices}) > 1:
                remedy = "Put them in one part, or remove the copies."
                problems.add("E14", f"{text}, in two parts of the split", remedy, row=line)
            elif len({cases.groups[i] for i in indices}) > 1:
                remedy = "Give them one group if they are one patient, or remove the copies."
                warnings.add("W14", f"{text} and different groups", remedy, row=line)


def check_inputs(cases: Cases, rows: Rows, roles: Roles, problems: Problems) -> None:
    """E15: a target, or what says it exactly, as input. E16: an id, path or split as input."""
    answers = {role.column: role.name for role in roles.targets}
    names = _names(roles)
    for table, columns in roles.tables.items():
        for column in [*columns.numeric, *columns.categorical]:
            remedy = f"Remove it from {table}."
            if column in answers:
                text = f"it is the target {answers[column]!r} and an input"
                problems.add("E15", text, remedy, column=column)
            elif column in names:
                problems.add("E16", f"it is {names[column]} and an input", remedy, column=column)
            elif column in rows.cells and _is_id(rows.cells[column], cases):
                problems.add(
                    "E16", "it holds the case id or group on every row", remedy, column=column
                )
            elif column in cases.tables[table]:
                _check_copy(cases, roles, columns, table, column, problems)


def _names(roles: Roles) -> dict[str, str]:
    """Columns that name a case, and what they are."""
    found = {image.column: f"the path of image {image.name!r}" for image in roles.images}
    found |= {"split": "the split", "fold": "the split"}
    if roles.split is not None and roles.split.column is not None:
        found[roles.split.column] = "the split"
    return found | {roles.group or "group": "the group", roles.id: "the case id"}


def _is_id(cells: Sequence[str], cases: Cases) -> bool:
    return len(cells) > 1 and (
        list(cells) == list(cases.ids) or list(cells) == cases.groups.tolist()
    )


def _check_copy(
    cases: Cases, roles: Roles, columns: TableColumns, table: str, column: str, problems: Problems
) -> None:
    """E15 for a column that says a target exactly, in more cases than chance explains."""
    values = cases.tables[table][column]
    for role in roles.targets:
        codes = cases.targets.get(role.name)
        if codes is None:
            continue
        labelled = codes >= 0
        area = separation(values[labelled], codes[labelled] == codes.max())
        if area is None:
            continue
        exact = one_to_one(values, codes)
        if exact or (area == 1.0 and len(role.classes) == 2 and column in columns.numeric):
            text = f"alone it says the target {role.name!r} without an error"
            problems.add("E15", text, f"Remove it from {table}; it is the answer.", column=column)
