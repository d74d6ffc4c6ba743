"""What the owner of the data has said, which goes before every guess, and what a guess is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fusionzoo.data.problems import Problems
from fusionzoo.data.rows import Rows

#: The answer that means that no column has the role.
NONE = "-"


@dataclass(frozen=True)
class Guess:
    """One value, and why.

    Args:
        value: A column, or a word; None for none.
        reason: Why, without a full stop; empty where the owner said so.
    """

    value: str | None
    reason: str


@dataclass(frozen=True)
class Said:
    """What is known without guessing; `-` for a role means that no column has it.

    Args:
        id: Column of the case id.
        group: Column of the patient.
        split: Column of the parts or folds.
        images: Name of a modality, and its column.
        kinds: Name of a modality, and `volume`, `rgb` or `gray`.
        numeric: Columns of numbers.
        categorical: Columns of categories.
        targets: Columns to predict.
        positive: Positive class of a binary target.
        ignore: Columns that have no role.
        root: Folder that paths are relative to; the manifest's own where not given.
        name: Name of the data set; its folder's where not given.
    """

    id: str | None = None
    group: str | None = None
    split: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    positive: str | None = None
    ignore: tuple[str, ...] = ()
    root: Path | None = None
    name: str | None = None

    @property
    def columns(self) -> dict[str, str]:
        """Every column that was named, and the role it was named for."""
        roles = {"the case id": self.id, "the patient": self.group, "the split": self.split}
        named = {column: role for role, column in roles.items() if column not in (None, NONE)}
        named |= {column: f"image {name!r}" for name, column in self.images.items()}
        for role, columns in (
            ("a number", self.numeric),
            ("a category", self.categorical),
            ("a target", self.targets),
            ("to be ignored", self.ignore),
        ):
            named |= dict.fromkeys(columns, role)
        return {str(column): role for column, role in named.items()}

    def check(self, rows: Rows, source: str) -> None:
        """Refuse columns that the manifest doesn't have.

        Raises:
            DataError: One or more are absent; the nearest names are shown.
        """
        problems = Problems()
        for column, role in self.columns.items():
            rows.has(column, problems, f"said to be {role}")
        problems.refuse(source)
