"""What plugins add as TOML files: recipes and systems, found without importing their packages."""

from __future__ import annotations

import importlib.util
import traceback
from dataclasses import dataclass
from pathlib import Path

from fusionzoo import registry
from fusionzoo.errors import PluginError

_RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class RecipeFolder:
    """Recipes of one plugin.

    Args:
        name: First part of their names: the entry point's.
        origin: Distribution and version.
        target: The package that holds the TOML files.
        path: Its folder.
    """

    name: str
    origin: str
    target: str
    path: Path


def recipe_folders() -> dict[str, RecipeFolder]:
    """Where plugins have recipes, by the first part of the recipes' names.

    An entry point of the group `fusionzoo.recipes` names a package that holds TOML files. What
    can't be found, or has a name that is taken, is set aside.
    """
    taken = {path.name: "fusionzoo" for path in _RECIPES.iterdir() if path.is_dir()}
    found: dict[str, RecipeFolder] = {}
    for point, origin in registry.points_of("recipes"):
        entry = registry.Entry("recipe", point.name, origin, point.value)
        if point.name in found and found[point.name].target == point.value:
            continue  # the same distribution, met twice on the path
        if point.name in taken:
            registry.set_aside(
                entry,
                f"The name {point.name!r} is taken: {taken[point.name]} has recipes of that name "
                f"too. Rename the entry point of {origin}.",
            )
            continue
        try:
            path = _folder(point.value)
        except (Exception, SystemExit):
            registry.set_aside(entry, traceback.format_exc())
            continue
        taken[point.name] = origin
        found[point.name] = RecipeFolder(point.name, origin, point.value, path)
    return found


def system_file(entry: registry.Entry) -> Path:
    """The TOML file of a system; a plugin's entry point names the package that holds it.

    Raises:
        PluginError: The package or the file isn't there; the system is set aside.
    """
    if entry.origin == "fusionzoo":
        return Path(entry.target)
    try:
        path = _folder(entry.target) / f"{entry.name}.toml"
        if not path.is_file():
            raise PluginError(f"There is no file {path.name!r} in {entry.target!r}.")
    except (Exception, SystemExit) as error:
        registry.set_aside(entry, traceback.format_exc())
        raise PluginError(
            f"The system {entry.name!r} of {entry.origin} can't be used: {error} "
            "'fusionzoo plugins --traceback' shows where."
        ) from error
    return path


def _folder(package: str) -> Path:
    """The folder of a package, which itself is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PluginError(f"{package!r} is no package that is installed.")
    return Path(next(iter(spec.submodule_search_locations)))


__all__ = ["RecipeFolder", "recipe_folders", "system_file"]
