"""Reads a `dataset.yaml` into roles, telling everything that is wrong with it at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from fusionzoo.data.dataset import TableColumns
from fusionzoo.data.problems import Problems
from fusionzoo.data.roles import ImageRole, Roles, SplitRole, TargetRole
from fusionzoo.data.yaml_section import Section, read_yaml

T = TypeVar("T")

IMAGE_KINDS = ("volume", "rgb", "gray")
SCHEMES = ("group_kfold",)
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


def parse_roles(text: str, source: str = "dataset.yaml") -> Roles:
    """The roles that a YAML text gives.

    Raises:
        DataError: Everything that is wrong with the text, each with its line.
    """
    problems = Problems()
    roles = read_roles(text, source, problems)
    problems.refuse(source)
    assert roles is not None
    return roles


def read_roles(text: str, source: str, problems: Problems) -> Roles | None:
    """The roles that a YAML text gives; None, with E00 noted, where it has mistakes."""
    before = len(problems.found)
    top = read_yaml(text, source, problems)
    roles = _roles(top, text) if top is not None else None
    return roles if len(problems.found) == before else None


def _roles(top: Section, text: str) -> Roles:
    schema = top.integer("schema", 1)
    if schema != 1:
        top.wrong("schema", f"schema {schema} is not known", "This version reads schema: 1.")
    images = _named(top, "images", _image)
    tables = _named(top, "tables", _table)
    single = top.section("table")
    if single is not None:
        if tables:
            top.wrong(
                "table", "both table and tables are there", "Move it below tables, with a name."
            )
        tables = {"table": _table(single, "table")} | tables
    targets = _named(top, "targets", _target)
    if not images and not tables:
        top.wrong("images", "neither images nor a table is there", "Give a modality at least.")
    if not targets:
        top.wrong("targets", "there is nothing to predict", "Name a target at least.")
    for name in images.keys() & tables.keys():
        top.wrong("images", f"{name!r} is an image and a table", "Rename one of them.")
    roles = Roles(
        text=text,
        name=top.text("name"),
        manifest=top.text("manifest", "manifest.csv") or "",
        root=top.text("root"),
        id=top.text("id", "case_id") or "",
        group=top.text("group"),
        split=_split(top.section("split")),
        images=tuple(images.values()),
        tables=tables,
        targets=tuple(targets.values()),
    )
    top.finish()
    return roles


def _named(top: Section, key: str, parse: Callable[[Section, str], T]) -> dict[str, T]:
    """One role for each name below a key."""
    parent = top.section(key)
    found: dict[str, T] = {}
    for name in parent.names() if parent is not None else ():
        assert parent is not None
        if not _NAME.match(name):
            parent.wrong(
                name, "not a name", "Use lower-case letters, digits and '_', a letter first."
            )
        child = parent.section(name)
        if child is not None:
            found[name] = parse(child, name)
    return found


def _image(section: Section, name: str) -> ImageRole:
    column = section.text("column", required=True) or ""
    kind = section.choice("kind", IMAGE_KINDS)
    is_volume = kind == "volume"
    axes = 3 if is_volume else 2
    size = section.numbers("size", axes, positive=True, spread=True, required=True) or (1.0,) * axes
    if any(number != int(number) for number in size):
        section.wrong("size", "not whole numbers", "Give voxels or pixels.")
    spacing = section.numbers("spacing", 3, positive=True, spread=True)
    spacing_column = section.text("spacing_column")
    if not is_volume and (spacing is not None or spacing_column is not None):
        section.wrong(
            "spacing", f"a {kind} image has no spacing in mm", "Remove it, or say kind: volume."
        )
    window = section.numbers("window", 2)
    if window is not None and window[0] >= window[1]:
        section.wrong(
            "window", "the lower end is not below the upper", "Write window: [low, high]."
        )
        window = None
    if window is not None and kind == "rgb":
        section.wrong("window", "colours have no window", "Remove it; colours are divided by 255.")
    channels = 3 if kind == "rgb" else 1
    role = ImageRole(
        name=name,
        column=column,
        kind=kind,  # type: ignore[arg-type]
        size=tuple(int(number) for number in size),
        spacing_mm=spacing,
        spacing_column=spacing_column,
        window=window,
        fit=section.choice("fit", ("pad", "resize"), "pad" if is_volume else "resize"),  # type: ignore[arg-type]
        key=section.text("key"),
        mean=section.numbers("mean", channels, spread=True) or (),
        std=section.numbers("std", channels, positive=True, spread=True) or (),
        optional=section.flag("optional"),
    )
    section.finish()
    return role


def _table(section: Section, name: str) -> TableColumns:
    numeric = section.texts("numeric")
    vocabularies = section.section("categorical")
    categorical: dict[str, tuple[str, ...]] = {}
    for column in vocabularies.names() if vocabularies is not None else ():
        assert vocabularies is not None
        categorical[column] = vocabularies.texts(column)
        if len(categorical[column]) < 2:
            vocabularies.wrong(column, "fewer than two values", "List every value it can have.")
    for column in set(numeric) & set(categorical):
        section.wrong(
            "numeric", f"{column!r} is numeric and categorical", "Keep it in one of them."
        )
    if not numeric and not categorical:
        section.wrong(
            "numeric", f"table {name!r} has no columns", "List numeric or categorical columns."
        )
    columns = TableColumns(
        numeric=numeric,
        categorical=categorical,
        missing=section.choice("missing", ("median", "median+flag", "refuse"), "median"),  # type: ignore[arg-type]
        scale=section.choice("scale", ("standard", "minmax", "none"), "standard"),  # type: ignore[arg-type]
    )
    section.finish()
    return columns


def _target(section: Section, name: str) -> TargetRole:
    kind = section.choice("type", ("binary", "multiclass"))
    classes = section.texts("classes")
    positive = section.text("positive")
    if kind == "multiclass":
        if len(classes) < 3:
            section.wrong(
                "classes", f"{len(classes)} classes", "List three or more, or say type: binary."
            )
        if positive is not None:
            section.wrong(
                "positive",
                "several classes have no positive one",
                "Remove it, or say type: binary.",
            )
    else:
        classes = _two_classes(section, classes, positive)
    role = TargetRole(
        name=name,
        column=section.text("column", required=True) or "",
        classes=classes,
        missing=section.choice("missing", ("refuse", "ignore"), "refuse"),  # type: ignore[arg-type]
    )
    section.finish()
    return role


def _two_classes(
    section: Section, classes: tuple[str, ...], positive: str | None
) -> tuple[str, ...]:
    """Negative and positive class of a binary target."""
    if not classes and positive in ("0", "1"):
        classes = ("0", "1")
    if len(classes) != 2:
        section.wrong(
            "classes",
            f"{len(classes)} classes for a binary target",
            "Write classes: [negative, positive], or positive: 1 for a column of 0 and 1.",
        )
        return classes
    if positive is not None and positive not in classes:
        section.wrong(
            "positive", f"{positive!r} is not one of the classes", f"Known: {', '.join(classes)}."
        )
    return classes if positive in (None, classes[1]) else classes[::-1]


def _split(section: Section | None) -> SplitRole | None:
    if section is None:
        return None
    column, fold, scheme = section.text("column"), section.text("fold"), None
    if "scheme" in section.nodes:
        scheme = section.choice("scheme", SCHEMES)
    if sum(word is not None for word in (column, fold, scheme)) != 1:
        section.wrong(
            "column", "not exactly one of column, fold and scheme", "Keep the one that you mean."
        )
    if scheme is None and section.nodes.keys() & {"k", "seed"}:
        section.wrong("k", "k and seed belong to a scheme", "Remove them, or give a scheme.")
    role = SplitRole(
        column=fold if column is None else column,
        folds_only=fold is not None,
        scheme=scheme,
        num_folds=section.integer("k", 5, least=2),
        seed=section.integer("seed", 0),
    )
    section.asked["scheme"] = None
    section.finish()
    return role
