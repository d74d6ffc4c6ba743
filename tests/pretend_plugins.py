"""Distributions with entry points, as if they were installed."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

from fusionzoo import registry


def pretend(monkeypatch: Any, points: Iterable[tuple[str, str, str, str]]) -> None:
    """Let the registry find these (group, name, target, distribution) and no others."""
    made = []
    for group, name, target, distribution in points:
        point = EntryPoint(name, target, f"fusionzoo.{group}")
        vars(point)["dist"] = SimpleNamespace(name=distribution, version="0.2")
        made.append(point)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [p for p in made if p.group == group]
    )
    registry.refresh()
