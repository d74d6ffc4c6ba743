"""Named systems of papers, as data: a spec string and the presets it was trained with."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionzoo import registry
from fusionzoo.errors import BadOption, FusionZooError, nearest
from fusionzoo.grammar import parse
from fusionzoo.plugin_files import system_file
from fusionzoo.schema import made_or_problems
from fusionzoo.training.config import TrainConfig

#: As for the rows of recipes: released code, the paper's text, or this package's own reading.
BASES = ("released", "paper", "reconstruction")


@dataclass(frozen=True)
class Preset:
    """One way in which a system was trained.

    Args:
        summary: Which one, in a line.
        spec: Its spec string, where it isn't the system's; empty otherwise.
        training: Settings for the trainer.
        open: What of it can't be said in settings, one sentence each.
    """

    summary: str
    spec: str
    training: Mapping[str, Any]
    open: tuple[str, ...]


@dataclass(frozen=True)
class _File:
    """What a system's file holds."""

    summary: str
    paper: str
    basis: str
    spec: str
    default: str
    presets: Mapping[str, Preset]


@dataclass(frozen=True)
class System:
    """A named combo of a paper under one of its presets.

    Args:
        name: Its name.
        preset: Name of the preset.
        summary: What it is, in a line.
        paper: The publication.
        basis: What the rebuilding rests on: one of `BASES`.
        spec: Its spec string.
        training: The preset's settings for the trainer.
        open: What of the preset can't be said in settings.
        presets: Names of all its presets, the default one first.
    """

    name: str
    preset: str
    summary: str
    paper: str
    basis: str
    spec: str
    training: Mapping[str, Any]
    open: tuple[str, ...]
    presets: tuple[str, ...]


def load_system(name: str, preset: str | None = None) -> System:
    """A system by name, under a preset.

    Args:
        name: `mmcaf-net`, or with its preset `mmcaf-net:official`.
        preset: The preset, where the name doesn't say it; the default one otherwise.

    Raises:
        UnknownComponent: No system has that name.
        BadOption: It has no such preset, the preset is given twice, or its file is wrong.
    """
    name, colon, said = name.partition(":")
    if colon and preset is not None and preset != said:
        raise BadOption(f"{name!r} is asked for with the presets {said!r} and {preset!r}.")
    entry = registry.entry("system", name)
    found = _read(system_file(entry), name)
    chosen = said if colon else preset or found.default
    if chosen not in found.presets:
        raise BadOption(
            f"System {name!r} has no preset {chosen!r}. {nearest(chosen, found.presets)}It has: "
            f"{', '.join(found.presets)}."
        )
    one = found.presets[chosen]
    return System(
        name,
        chosen,
        found.summary,
        found.paper,
        found.basis,
        one.spec or found.spec,
        one.training,
        one.open,
        tuple(sorted(found.presets, key=lambda other: other != found.default)),
    )


def _read(path: Path, name: str) -> _File:
    """A system's file, checked; BadOption lists all that is wrong with it."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BadOption(f"The file of system {name!r} is no TOML: {error}.") from error
    presets = told.get("presets")
    if isinstance(presets, dict):
        filled = {"spec": "", "training": {}, "open": []}
        told["presets"] = {
            k: {**filled, **v} if isinstance(v, dict) else v for k, v in presets.items()
        }
    found, problems = made_or_problems(_File, told)
    if found is not None:
        problems = _wrong(found)
    if found is None or problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise BadOption(f"The file of system {name!r} has {len(problems)} problems:{listed}")
    return found


def _wrong(found: _File) -> list[str]:
    """What is wrong with the values of a file whose keys and types are right."""
    problems = []
    if found.basis not in BASES:
        problems.append(f"basis {found.basis!r} is none of {', '.join(BASES)}")
    if found.default not in found.presets:
        problems.append(
            f"the default preset {found.default!r} is none of {', '.join(found.presets)}"
        )
    for name, preset in found.presets.items():
        try:
            parse(preset.spec or found.spec)
            TrainConfig.from_settings(preset.training)
        except FusionZooError as error:
            problems.append(f"preset {name!r}: {error}")
    return problems


__all__ = ["BASES", "Preset", "System", "load_system"]
