"""Write a plugin from templates; nothing that exists is touched."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path

from fusionzoo import registry
from fusionzoo.errors import BadOption
from fusionzoo.grammar import is_name
from fusionzoo.plugin_files import recipe_folders
from fusionzoo.storage import make_folder, write_atomic

_TEMPLATES = Path(__file__).parent / "templates"
#: Kinds of part that a plugin can be begun with, one folder of templates each.
KINDS: tuple[str, ...] = tuple(
    sorted(folder.name for folder in _TEMPLATES.iterdir() if folder.name != "package")
)
#: Kinds that are TOML files in a package of their own, by the name of that package.
_DATA: Mapping[str, str] = {"recipe": "recipes", "system": "systems"}
_PACKAGE = re.compile(r"[a-z](?:[a-z0-9]|[-_](?=[a-z0-9]))*\Z")


def new_plugin(package: str, *, kind: str, name: str, out: str | Path = ".") -> Path:
    """Write a package with one part.

    Args:
        package: Name of the distribution, `my-zoo`; its module is `my_zoo`.
        kind: One of `KINDS`.
        name: What spec strings call the part.
        out: Where its folder is made.

    Returns:
        The folder.

    Raises:
        BadOption: Everything that is wrong with the names, at once.
        RunError: The folder can't be written.
    """
    folder = Path(out).expanduser() / package
    problems = [*_wrong_package(package), *_wrong_part(kind, name, package)]
    if folder.exists():
        problems.append(f"{str(folder)!r} exists already. Choose another name, or another --out.")
    if problems:
        raise BadOption("\n".join(problems))
    made = contents(package, kind=kind, name=name)
    make_folder(folder)
    try:
        for path, text in made.items():
            write_atomic(folder / path, text)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def contents(package: str, *, kind: str, name: str) -> dict[str, str]:
    """The files of a new plugin, by path below its folder."""
    values = _values(package, kind, name)
    return {path: _filled(template, values) for path, template in _files(kind, values).items()}


def _wrong_package(package: str) -> list[str]:
    if not _PACKAGE.match(package):
        return [
            f"A package can't be called {package!r}: use lower-case letters, digits and '-', "
            "beginning with a letter."
        ]
    module = package.replace("-", "_")
    if module == "fusionzoo" or module in sys.stdlib_module_names:
        return [
            f"The module {module!r} is taken. Choose another name, 'my-{package}' for instance."
        ]
    try:
        version = distribution(package).version
    except PackageNotFoundError:
        if find_spec(module) is None:
            return []
        return [f"A module {module!r} is installed already. Choose another name."]
    return [f"A package {package!r} is installed already, version {version}. Choose another name."]


def _wrong_part(kind: str, name: str, package: str) -> list[str]:
    if kind not in KINDS:
        return [f"There is no template for a {kind!r}. Kinds: {', '.join(KINDS)}."]
    if kind != "system" and not is_name(name):
        return [
            f"A {kind} can't be called {name!r}: names have lower-case letters, digits and '_', "
            "and begin with a letter."
        ]
    if kind == "system" and not _PACKAGE.match(name):
        return [f"A system can't be called {name!r}: use lower-case letters, digits and '-'."]
    if kind == "recipe":
        taken = package.replace("-", "_") in recipe_folders()
        return [f"Recipes of {package!r} are installed already."] if taken else []
    for entry in registry.entries(kind):
        if entry.name == name:
            return [
                f"The name {name!r} is taken: {entry.origin} has a {kind} of that name. Choose "
                "another one."
            ]
    return []


def _values(package: str, kind: str, name: str) -> dict[str, str]:
    """What the placeholders of the templates stand for."""
    module = package.replace("-", "_")
    words = re.split(r"[-_]", name)
    title = "".join(word[:1].upper() + word[1:] for word in words)
    target = f"{module}.{_DATA[kind]}" if kind in _DATA else f"{module}.{name}:{title}"
    return {
        "package": package,
        "module": module,
        "kind": kind,
        "plural": "recipes" if kind == "recipe" else registry.PLURALS[kind],
        "name": name,
        "Class": title,
        "entry": module if kind == "recipe" else name,
        "target": target,
        "version": version("fusionzoo"),
    }


def _files(kind: str, values: Mapping[str, str]) -> dict[str, Path]:
    """Paths below the new folder, and the template of each."""
    inside, name = f"src/{values['module']}", values["name"]
    test = f"tests/test_{name.replace('-', '_')}.py"
    files = {
        "pyproject.toml": _TEMPLATES / "package" / "pyproject.toml.txt",
        "README.md": _TEMPLATES / kind / "README.md.txt",
        f"{inside}/__init__.py": _TEMPLATES / "package" / "__init__.py.txt",
        test: _TEMPLATES / kind / "test_component.py.txt",
    }
    if kind not in _DATA:
        return files | {f"{inside}/{name}.py": _TEMPLATES / kind / "component.py.txt"}
    return files | {
        f"{inside}/{_DATA[kind]}/__init__.py": _TEMPLATES / kind / "package_init.py.txt",
        f"{inside}/{_DATA[kind]}/{name}.toml": _TEMPLATES / kind / "component.toml.txt",
    }


def _filled(template: Path, values: Mapping[str, str]) -> str:
    text = template.read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace("{{" + key + "}}", value)
    return text


__all__ = ["KINDS", "contents", "new_plugin"]
