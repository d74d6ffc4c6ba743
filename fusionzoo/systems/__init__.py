"""Named systems of papers: a spec string each, as data."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from fusionzoo import registry
from fusionzoo.errors import PluginError


@dataclass(frozen=True)
class System:
    """A named combo of a paper.

    Args:
        name: Its name.
        summary: What it is, in a line.
        spec: Its spec string.
    """

    name: str
    summary: str
    spec: str


def load_system(name: str) -> System:
    """A system by name.

    Raises:
        UnknownComponent: No system has that name.
        PluginError: A plugin's entry point gives no `System`.
    """
    entry = registry.entry("system", name)
    if entry.origin != "fusionzoo":
        system = registry.load("system", name)
        if not isinstance(system, System):
            raise PluginError(f"The system {name!r} of {entry.origin} is no System: {system!r}.")
        return system
    told = tomllib.loads(Path(entry.target).read_text(encoding="utf-8"))
    return System(name, told["summary"], told["spec"])
