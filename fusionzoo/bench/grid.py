"""What a bench is asked to run: a published table, or a grid of one's own.

A grid is a TOML file with rows, and with every combination of some encoders, fusions and heads.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusionzoo import registry
from fusionzoo.errors import BadOption, FusionZooError
from fusionzoo.grammar import Combo, parse
from fusionzoo.models.complete import complete
from fusionzoo.models.matrix import JOIN
from fusionzoo.recipes import Recipe, load_recipes
from fusionzoo.records.sheet import PublishedTest
from fusionzoo.schema import made_or_problems
from fusionzoo.spec import DataSpec
from fusionzoo.systems import load_system
from fusionzoo.training.config import TrainConfig

#: What a grid's file needn't say.
_GRID: Mapping[str, Any] = {
    "title": "",
    "dataset": "",
    "note": "",
    "decimals": 3,
    "training": {},
    "grid": None,
    "rows": [],
}
_AXES: Mapping[str, Any] = {"fusions": [""], "heads": ["linear"]}
_ROW: Mapping[str, Any] = dict.fromkeys(("label", "spec", "system", "category", "note"), "")
#: What stands for all names there are.
ALL = "all"


@dataclass(frozen=True)
class TableRow:
    """One row that is asked for.

    Args:
        label: What the table calls it.
        spec: Its spec string; empty for a combination of parts.
        encoders: Encoders of a combination, each as `--encoder` takes it.
        fusion: Its fusion; empty for none.
        head: Its head.
        basis: What rebuilding it rests on; empty for rows that no paper has.
        category: Group of rows; empty for none.
        training: Training settings over the table's.
        published: Printed numbers by metric.
        published_sd: Printed standard deviations.
        note: What is in doubt.
    """

    label: str
    spec: str = ""
    encoders: tuple[str, ...] = ()
    fusion: str = ""
    head: str = ""
    basis: str = ""
    category: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    published_sd: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def combo(self, data: DataSpec) -> Combo:
        """The row as a combo for a data set.

        Raises:
            FusionZooError: It can't be read, or a part of it fits no modality.
        """
        if self.spec:
            return parse(self.spec)
        return complete(self.encoders, self.fusion or None, self.head or None, data)


@dataclass(frozen=True)
class Table:
    """Rows that belong together.

    Args:
        name: Name of the recipe, or of the grid.
        title: What it is, in a line.
        paper: The publication; empty for a grid.
        place: Where in it the numbers are.
        dataset: Data set that it is about; empty where any will do.
        stand_in: Data set of the package that may take its place.
        decimals: Digits after the point that are printed.
        test: The published test set, where its class counts are known.
        training: Training settings of every row.
        note: What holds for all rows.
        rows: The rows, in order.
    """

    name: str
    title: str
    paper: str
    place: str
    dataset: str
    stand_in: str
    decimals: int
    test: PublishedTest | None
    training: Mapping[str, Any]
    note: str
    rows: tuple[TableRow, ...]


@dataclass(frozen=True)
class _Axes:
    """Combinations: a text is one encoder, a list of texts one for each of several modalities."""

    encoders: Any
    fusions: Any
    heads: Any


@dataclass(frozen=True)
class _RowTold:
    label: str
    spec: str
    system: str
    category: str
    note: str
    training: Mapping[str, Any]


@dataclass(frozen=True)
class _GridTold:
    """A grid's file."""

    name: str
    title: str
    dataset: str
    note: str
    decimals: int
    training: Mapping[str, Any]
    grid: _Axes | None
    rows: tuple[_RowTold, ...]


def read_tables(target: str) -> list[Table]:
    """The tables of a recipe, a paper, or a file.

    Args:
        target: `mmcaf_net/table1`, `mmcaf_net`, or the path of a TOML file: a recipe's, or a
            grid's.

    Raises:
        UnknownComponent: There is no such recipe.
        BadOption: All that is wrong with the file.
    """
    if not target.endswith(".toml"):
        return [_of_recipe(recipe) for recipe in load_recipes(target)]
    try:
        told = tomllib.loads(Path(target).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadOption(f"The file {target!r} can't be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise BadOption(f"The file {target!r} is no TOML: {error}.") from error
    if "paper" in told:
        return [_of_recipe(recipe) for recipe in load_recipes(target)]
    return [_of_grid(told, target)]


def _of_recipe(recipe: Recipe) -> Table:
    test = recipe.test
    return Table(
        Path(recipe.name).stem if recipe.name.endswith(".toml") else recipe.name,
        recipe.summary,
        recipe.paper,
        recipe.place,
        recipe.dataset,
        recipe.stand_in,
        recipe.decimals,
        PublishedTest(test.positives, test.negatives, test.positive) if test else None,
        recipe.training,
        recipe.note,
        tuple(
            TableRow(
                label=row.label,
                spec=row.spec,
                basis=row.basis,
                category=row.category,
                training=row.training,
                published=row.published,
                published_sd=row.published_sd,
                note=row.note,
            )
            for row in recipe.rows
        ),
    )


def _of_grid(told: dict[str, Any], path: str) -> Table:
    grid = told.get("grid")
    filled = {"name": Path(path).stem, **_GRID, **told}
    if isinstance(grid, dict):
        filled["grid"] = {**_AXES, **grid}
    if isinstance(filled["rows"], list):
        filled["rows"] = [
            {**_ROW, "training": {}, **row} if isinstance(row, dict) else row
            for row in filled["rows"]
        ]
    found, problems = made_or_problems(_GridTold, filled)
    rows: list[TableRow] = []
    if found is not None:
        rows, problems = _rows(found)
    if found is None or problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise BadOption(f"The grid {path!r} has {len(problems)} problems:{listed}")
    return Table(
        found.name,
        found.title or f"Grid {found.name}",
        "",
        "",
        found.dataset,
        "",
        found.decimals,
        None,
        found.training,
        found.note,
        tuple(rows),
    )


def _rows(told: _GridTold) -> tuple[list[TableRow], list[str]]:
    """The rows of a grid, and what is wrong with it."""
    problems: list[str] = []
    rows = []
    for number, row in enumerate(told.rows, 1):
        try:
            rows.append(_row(row))
            TrainConfig.from_settings(told.training, row.training)
        except FusionZooError as error:
            problems.append(f"row {row.label or number}: {error}")
    if told.grid is not None:
        rows += _combinations(told.grid, problems)
    labels = [row.label for row in rows]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    problems += [f"{label!r} labels two rows" for label in twice]
    if not rows and not problems:
        problems.append("it has no rows: give [[rows]] with a spec, or [grid] with encoders")
    return rows, problems


def _row(told: _RowTold) -> TableRow:
    if bool(told.spec) == bool(told.system):
        raise BadOption("Give a row either spec = or system =.")
    system = load_system(told.system) if told.system else None
    spec = system.spec if system else told.spec
    parse(spec)
    training = {**(system.training if system else {}), **told.training}
    return TableRow(
        label=told.label or told.system or told.spec,
        spec=spec,
        basis=system.basis if system else "",
        category=told.category,
        training=training,
        note=told.note,
    )


def _combinations(axes: _Axes, problems: list[str]) -> list[TableRow]:
    """Every encoder with every fusion and head."""
    encoders = [
        (one,) if isinstance(one, str) else tuple(one)
        for one in _listed("encoder", axes.encoders, problems, nested=True)
    ]
    fusions = _listed("fusion", axes.fusions, problems)
    heads = _listed("head", axes.heads, problems)
    if axes.fusions == ALL:
        # A fusion that only refines needs another one after it that joins.
        places = {name: registry.load("fusion", name).places for name in fusions}
        fusions = [name if "join" in places[name] else f"{name}+{JOIN}" for name in fusions]
    rows = []
    for chosen, fusion, head in itertools.product(encoders, fusions, heads):
        parts = [", ".join(chosen), fusion, head if len(heads) > 1 else ""]
        label = " -> ".join(filter(None, parts))
        rows.append(TableRow(label=label, encoders=chosen, fusion=fusion, head=head))
    return rows


def _listed(kind: str, told: Any, problems: list[str], *, nested: bool = False) -> list[Any]:
    """The names of one axis."""
    if told == ALL:
        return registry.names(kind)

    def fits(one: Any) -> bool:
        inner = nested and isinstance(one, list) and one and all(isinstance(x, str) for x in one)
        return isinstance(one, str) or bool(inner)

    if isinstance(told, list) and told and all(map(fits, told)):
        return told
    lists = ", or of lists with one for each modality" if nested else ""
    problems.append(f"grid.{registry.PLURALS[kind]} must be a list of texts{lists}, or {ALL!r}")
    return []


__all__ = ["ALL", "Table", "TableRow", "read_tables"]
