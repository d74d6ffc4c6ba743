"""Everything that is wrong with one's own data, or looks odd, as a report; leakage comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionzoo.data.checked import Check, read_checked
from fusionzoo.data.datasets.manifest import Manifest
from fusionzoo.data.problems import Problem, Problems
from fusionzoo.data.splits import make_split
from fusionzoo.errors import DataError
from fusionzoo.schema import to_json

#: Codes that mean that an answer may leak into training.
LEAKAGE = frozenset({"E12", "E14", "E15", "E16", "W01", "W02", "W03", "W10", "W14"})


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Args:
        source: The path that was checked.
        num_cases: Rows of the manifest; 0 where they can't be read.
        num_groups: Patients.
        modalities: Name and kind of each modality.
        errors: What must be mended, leakage first, then by code and row.
        warnings: What may be meant, in the same order.
    """

    source: str
    num_cases: int
    num_groups: int
    modalities: dict[str, str]
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether the data can be used."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """Plain values; every error and warning with code, row, column, value, text and remedy."""
        return {"ok": self.ok, **to_json(self)}


def check_data(path: str | Path, *, check: Check = "full") -> CheckReport:
    """Check a data set of one's own and report everything at once.

    Args:
        path: Its `dataset.yaml`, or the manifest with a `dataset.yaml` beside it.
        check: `full` decodes every image, `headers` reads what stands in front of the values,
            `auto` is `full` up to 2 GiB of files.

    Returns:
        The report; nothing is raised for anything that is wrong with the data.
    """
    problems, warnings = Problems(), Problems()
    read = read_checked(Path(path), problems, warnings, check=check)
    if not problems.found:
        _try_split(Path(path), problems)
    cases = () if read is None else read.cases.ids
    groups = set() if read is None else set(read.cases.groups.tolist())
    modalities: dict[str, str] = {}
    if read is not None:
        modalities |= {role.name: role.kind for role in read.roles.images}
        modalities |= dict.fromkeys(read.roles.tables, "table")
    return CheckReport(
        str(path),
        len(cases),
        len(groups),
        modalities,
        _ordered(problems.found),
        _ordered(warnings.found),
    )


def _try_split(path: Path, problems: Problems) -> None:
    """E13 where the split that a run without a fold uses, or the first fold, can't be made."""
    data = Manifest(path=path, check="headers")
    folds = data.roles.split is not None and data.roles.split.scheme is not None
    fold = 0 if folds or data.given_folds is not None else None
    try:
        make_split(data, fold=fold, num_folds=data.num_folds, seed=data.fold_seed)
    except DataError as error:
        *found, remedy = error.problems
        made = "" if fold is None else " with fold 0 as test"
        for text in found:
            problems.add("E13", f"the split can't be made{made}: {text}", remedy)


def _ordered(found: Sequence[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(found, key=lambda p: (p.code not in LEAKAGE, p.code, p.row or 0)))
