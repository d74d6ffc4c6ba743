"""Problems found in people's own data, gathered so that one report tells all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from fusionzoo.errors import DataError

#: Problems of one kind in one column that are told in full; the others are counted.
SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or suspicious, with its place and its remedy.

    Args:
        code: `E00` to `E16` for problems, `W01` to `W15` for warnings; docs/own_data.md lists them.
        text: What was found, without a full stop.
        remedy: What to do, in whole sentences.
        row: Line of the manifest, from 1, where a CSV has its header; Parquet counts its rows.
        column: Column of the manifest.
        value: What the cell holds.
    """

    code: str
    text: str
    remedy: str
    row: int | None = None
    column: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        place = [f"row {self.row}"] if self.row is not None else []
        place += [f"column {self.column!r}"] if self.column is not None else []
        place += [f"value {self.value!r}"] if self.value is not None else []
        head = " ".join([self.code, ", ".join(place)]).strip()
        return f"{head}: {self.text}. {self.remedy}"


def told(found: Sequence[Problem], shown: int = SHOWN) -> tuple[str, ...]:
    """One line a problem, in their order; at most `shown` of one code, column and remedy."""
    kinds: dict[tuple[str, str, str], list[Problem]] = defaultdict(list)
    for problem in found:
        kinds[problem.code, problem.column or "", problem.remedy].append(problem)
    lines = []
    for (code, column, _), alike in kinds.items():
        lines += [str(problem) for problem in alike[:shown]]
        if len(alike) > shown:
            where = f", column {column!r}" if column else ""
            lines.append(f"{code}{where}: and {len(alike) - shown} more like these.")
    return tuple(lines)


class Problems:
    """A growing list of problems; long runs of one kind are shortened when told."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(
        self,
        code: str,
        text: str,
        remedy: str,
        *,
        row: int | None = None,
        column: str | None = None,
        value: str | None = None,
    ) -> None:
        """Note one problem."""
        self.found.append(Problem(code, text, remedy, row, column, value))

    def lines(self) -> tuple[str, ...]:
        """One line a problem, by code and row, as `told` shortens them."""
        return told(sorted(self.found, key=lambda p: (p.code, p.row or 0)))

    def refuse(self, source: str) -> None:
        """Raise one DataError with every problem, where there is any."""
        if self.found:
            raise DataError(self.lines(), source)
