"""Published tables as data: a row is a spec, its settings and the numbers that were printed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionzoo.errors import BadOption, FusionZooError, UnknownComponent, nearest
from fusionzoo.evaluation.metrics import METRICS
from fusionzoo.grammar import parse
from fusionzoo.plugin_files import recipe_folders
from fusionzoo.schema import made_or_problems
from fusionzoo.training.config import TrainConfig

_FOLDER = Path(__file__).parent
#: What a row rests on: code that its authors released, the paper's text, or this package's own
#: reading where neither says enough.
BASES = ("released", "paper", "reconstruction")
_DEFAULTS: Mapping[str, Any] = {
    "note": "",
    "training": {},
    "test": None,
    "cases": None,
    "stand_in": "",
}
_CASES_DEFAULTS: Mapping[str, Any] = {"folds": 1, "tasks": 1}
_ROW_DEFAULTS: Mapping[str, Any] = {
    "note": "",
    "category": "",
    "training": {},
    "published": {},
    "published_sd": {},
}


@dataclass(frozen=True)
class TestSet:
    """The published test set of a two-class table.

    Args:
        positives: Positive cases.
        negatives: Negative cases.
        positive: What the positive class is.
    """

    __test__ = False  # for pytest, which takes the name for a test's

    positives: int
    negatives: int
    positive: str


@dataclass(frozen=True)
class TestCases:
    """The published test cases of a table whose accuracies alone can be checked.

    Args:
        test: Test cases; of each fold, where there are folds.
        folds: Folds that a number is the mean over; 1 for one split.
        tasks: Tasks that a number is the mean over.
    """

    __test__ = False

    test: int
    folds: int
    tasks: int


@dataclass(frozen=True)
class Row:
    """One row of a published table.

    Args:
        label: What the table calls it.
        spec: The spec string that rebuilds it.
        basis: One of `BASES`.
        training: Training settings over the recipe's.
        category: Group of rows that the table puts it in; empty for none.
        published: Printed numbers by metric, on the scale from 0 to 1.
        published_sd: Printed standard deviations of some of them.
        note: What is in doubt, or was left open.
    """

    label: str
    spec: str
    basis: str
    category: str
    training: Mapping[str, Any]
    published: Mapping[str, float]
    published_sd: Mapping[str, float]
    note: str


@dataclass(frozen=True)
class Recipe:
    """A published table.

    Args:
        name: `paper/table`.
        summary: What it is, in a line.
        paper: The publication.
        place: Where in it the numbers are.
        dataset: Data set that they were measured on.
        stand_in: A data set of the package whose modalities are of the same kinds and names, for
            who hasn't the other one.
        decimals: Digits after the point that are printed.
        test: The published test set, where its class counts are known.
        cases: The published numbers of test cases, where class counts say nothing: for more
            classes or tasks, and for means over folds.
        training: Training settings of every row.
        rows: The rows, in order.
        note: What holds for all of them.
    """

    name: str
    summary: str
    paper: str
    place: str
    dataset: str
    stand_in: str
    decimals: int
    test: TestSet | None
    cases: TestCases | None
    training: Mapping[str, Any]
    rows: tuple[Row, ...]
    note: str

    def row(self, label: str) -> Row:
        """The row of a label.

        Raises:
            BadOption: There is none.
        """
        for row in self.rows:
            if row.label == label:
                return row
        labels = [row.label for row in self.rows]
        raise BadOption(
            f"Recipe {self.name!r} has no row {label!r}. {nearest(label, labels)}It has: "
            f"{', '.join(labels)}."
        )


def recipe_names() -> list[str]:
    """Names of all recipes, `paper/table`; plugins' begin with the name of their entry point."""
    return sorted(_files())


def _files() -> dict[str, Path]:
    """The file of each recipe, of the package and of plugins."""
    own = {
        path.relative_to(_FOLDER).with_suffix("").as_posix(): path
        for path in _FOLDER.rglob("*.toml")
    }
    for name, folder in recipe_folders().items():
        own |= {f"{name}/{path.stem}": path for path in sorted(folder.path.glob("*.toml"))}
    return own


def load_recipes(name: str) -> list[Recipe]:
    """The recipe of a name or path, or every table of a paper.

    Args:
        name: `mmcaf_net/table1`, `mmcaf_net`, or the path of a TOML file.

    Raises:
        UnknownComponent: There is no such recipe.
        BadOption: All that is wrong with the file.
    """
    if name.endswith(".toml"):
        return [_read(Path(name), name)]
    known = recipe_names()
    found = [other for other in known if other == name or other.startswith(f"{name}/")]
    if not found:
        papers = {other.partition("/")[0] for other in known}
        raise UnknownComponent(
            f"No recipe is called {name!r}. {nearest(name, [*known, *papers])}'fusionzoo recipe "
            f"list' shows all {len(known)}."
        )
    files = _files()
    return [_read(files[other], other) for other in found]


def load_recipe(name: str) -> Recipe:
    """One recipe; a paper with several tables is refused."""
    found = load_recipes(name)
    if len(found) > 1:
        raise BadOption(
            f"{name!r} has {len(found)} tables. Name one: {', '.join(r.name for r in found)}."
        )
    return found[0]


def _read(path: Path, name: str) -> Recipe:
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadOption(f"Recipe {name!r} can't be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise BadOption(f"Recipe {name!r} is no TOML: {error}.") from error
    rows = told.get("rows")
    if isinstance(rows, list):
        rows = [{**_ROW_DEFAULTS, **row} if isinstance(row, dict) else row for row in rows]
        told = {**told, "rows": rows}
    if isinstance(told.get("cases"), dict):
        told = {**told, "cases": {**_CASES_DEFAULTS, **told["cases"]}}
    recipe, problems = made_or_problems(Recipe, {"name": name, **_DEFAULTS, **told})
    if recipe is not None:
        problems = list(_wrong(recipe))
    if recipe is None or problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise BadOption(f"Recipe {name!r} has {len(problems)} problems:{listed}")
    return recipe


def _wrong(recipe: Recipe) -> list[str]:
    """What is wrong with the values of a recipe whose keys and types are right."""
    problems = []
    labels = [row.label for row in recipe.rows]
    problems += [
        f"{name!r} labels two rows" for name in sorted({x for x in labels if labels.count(x) > 1})
    ]
    for row in recipe.rows:
        where = f"row {row.label!r}"
        if row.basis not in BASES:
            problems.append(f"{where}: basis {row.basis!r} is none of {', '.join(BASES)}")
        for metric, value in row.published.items():
            if metric not in METRICS:
                problems.append(
                    f"{where}: no metric is called {metric!r}. {nearest(metric, METRICS)}".strip()
                )
            elif not 0 <= value <= 1:
                problems.append(f"{where}: {metric} is {value}, not between 0 and 1")
        problems += [
            f"{where}: {metric} has a standard deviation and no value"
            for metric in row.published_sd
            if metric not in row.published
        ]
        for check in (
            lambda row=row: parse(row.spec),
            lambda row=row: TrainConfig.from_settings(recipe.training, row.training),
        ):
            try:
                check()
            except FusionZooError as error:
                problems.append(f"{where}: {error}")
    return problems


__all__ = [
    "BASES",
    "Recipe",
    "Row",
    "TestCases",
    "TestSet",
    "load_recipe",
    "load_recipes",
    "recipe_names",
]
