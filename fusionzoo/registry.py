"""Which parts there are: built-ins by file name, plugins by entry point, or by decorator.

Names are known without importing any part, and without torch; `load` is the one place where a name
becomes a class. A plugin that can't be imported is set aside with its traceback and the rest works.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fusionzoo.errors import BadOption, PluginError, UnknownComponent, nearest
from fusionzoo.grammar import is_name

#: Kind of part -> folder under `fusionzoo/` and, for plugins, entry-point group
#: `fusionzoo.<plural>`.
FOLDERS: Mapping[str, str] = {
    "encoder": "encoders",
    "neck": "necks",
    "fusion": "fusions",
    "head": "heads",
    "dataset": "data/datasets",
    "augmentation": "data/augmentations",
    "system": "systems",
}
PLURALS: Mapping[str, str] = {kind: folder.rpartition("/")[2] for kind, folder in FOLDERS.items()}
_PACKAGE = Path(__file__).parent
_NAMING = "names have lower-case letters, digits and '_', and begin with a letter"

T = TypeVar("T", bound=type)


@dataclass(frozen=True)
class Entry:
    """One part, as known without importing it.

    Args:
        kind: One of `FOLDERS`.
        name: What spec strings call it.
        origin: `fusionzoo`, `notebook`, or the distribution and version of a plugin.
        target: Module and class as `module:Class`; for built-ins the module, for systems the file.
    """

    kind: str
    name: str
    origin: str
    target: str

    @property
    def summary(self) -> str:
        """First line of the docstring of the part's file, which isn't imported; empty without."""
        if self.kind == "system" and self.origin == "fusionzoo":
            import tomllib

            text = Path(self.target).read_text(encoding="utf-8")
            return str(tomllib.loads(text).get("summary", ""))
        path = None
        if self.origin != "notebook":
            path = _module_path(self.target.partition(":")[0])
        if path is None or not path.is_file():
            return ""
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        return doc.partition("\n")[0]


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin's part that is set aside, and why."""

    kind: str
    name: str
    origin: str
    target: str
    reason: str


_notebook: dict[tuple[str, str], type] = {}
_broken: dict[tuple[str, str, str], BrokenPlugin] = {}


def _module_path(module: str) -> Path | None:
    """The file of a module inside of a package, found without importing either."""
    package, *inner = module.split(".")
    spec = PathFinder.find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))).joinpath(*inner).with_suffix(".py") if places else None


@cache
def _builtins(kind: str) -> dict[str, Entry]:
    folder = _PACKAGE / FOLDERS[kind]
    suffix = ".toml" if kind == "system" else ".py"
    files = (
        sorted(p for p in folder.glob(f"*{suffix}") if not p.stem.startswith("_"))
        if folder.is_dir()
        else []
    )
    package = "fusionzoo." + FOLDERS[kind].replace("/", ".")
    return {
        path.stem: Entry(
            kind,
            path.stem,
            "fusionzoo",
            str(path) if kind == "system" else f"{package}.{path.stem}",
        )
        for path in files
    }


@cache
def _plugins(kind: str) -> dict[str, tuple[Entry, Any]]:
    """Entry points of a kind; those whose names can't be used are set aside."""
    found: dict[str, tuple[Entry, Any]] = {}
    for point, origin in points_of(PLURALS[kind]):
        entry = Entry(kind, point.name, origin, point.value)
        taken = _builtins(kind).get(point.name) or found.get(point.name, (None,))[0]
        if taken and (taken.origin, taken.target) == (origin, point.value):
            continue  # the same distribution, met twice on the path
        if taken:
            set_aside(
                entry,
                f"The name {point.name!r} is taken: {taken.origin} has a {kind} {point.name!r} too "
                f"({taken.target}), and {origin} can't replace it. Rename the entry point of one "
                "of them.",
            )
        elif kind != "system" and not is_name(point.name):
            set_aside(entry, f"Spec strings can't say {point.name!r}: {_NAMING}.")
        else:
            found[point.name] = (entry, point)
    return found


def plugins_off() -> bool:
    """Whether the environment says that no plugin is to be looked for."""
    return os.environ.get("FUSIONZOO_PLUGINS", "").lower() == "off"


def points_of(group: str) -> list[tuple[Any, str]]:
    """Entry points of a group in order, each with its distribution and version.

    They are of any class: the package importlib_metadata, once something has imported it, puts its
    own in the place of Python's.
    """
    if plugins_off():
        return []
    points = sorted(entry_points(group=f"fusionzoo.{group}"), key=lambda p: (p.name, p.value))
    return [(p, f"{p.dist.name} {p.dist.version}" if p.dist else "unknown") for p in points]


def set_aside(entry: Entry, reason: str) -> None:
    """Leave a plugin's part out from now on, and keep why."""
    _broken[entry.kind, entry.name, entry.origin] = BrokenPlugin(
        entry.kind, entry.name, entry.origin, entry.target, reason
    )


def refresh() -> None:
    """Forget what was found, so that newly installed plugins are seen."""
    _builtins.cache_clear()
    _plugins.cache_clear()
    _broken.clear()


def entries(kind: str) -> list[Entry]:
    """Every part of a kind, by name."""
    notebook = {
        name: Entry(kind, name, "notebook", f"{cls.__module__}:{cls.__qualname__}")
        for (k, name), cls in _notebook.items()
        if k == kind
    }
    plugins = {name: entry for name, (entry, _) in _plugins(kind).items()}
    return sorted((_builtins(kind) | plugins | notebook).values(), key=lambda entry: entry.name)


def names(kind: str) -> list[str]:
    """Names of every part of a kind."""
    return [entry.name for entry in entries(kind)]


def broken() -> list[BrokenPlugin]:
    """Plugin parts that were set aside so far."""
    for kind in FOLDERS:
        _plugins(kind)
    return list(_broken.values())


def entry(kind: str, name: str) -> Entry:
    """The entry of one part; UnknownComponent names the nearest ones."""
    for candidate in entries(kind):
        if candidate.name == name:
            return candidate
    for part in broken():
        if (part.kind, part.name) == (kind, name):
            raise PluginError(
                f"The {kind} {name!r} of {part.origin} is set aside: "
                f"{part.reason.strip().splitlines()[-1]} 'fusionzoo plugins --traceback' shows "
                "all of it."
            )
    known = names(kind)
    elsewhere = [k for k in FOLDERS if k != kind and name in names(k)]
    hint = f"There is a {elsewhere[0]} of that name. " if elsewhere else nearest(name, known)
    raise UnknownComponent(
        f"No {kind} is called {name!r}. {hint}'fusionzoo list {PLURALS[kind]}' shows all "
        f"{len(known)}."
    )


def load(kind: str, name: str) -> Any:
    """The class of a part; imports its module, and so torch for the parts of a model."""
    if (kind, name) in _notebook:
        return _notebook[kind, name]
    found = entry(kind, name)
    if found.origin == "fusionzoo":
        return _only_class(importlib.import_module(found.target), kind)
    point = _plugins(kind)[name][1]
    try:
        part = point.load()
        _check_kind(kind, part)
    except (Exception, SystemExit) as error:
        set_aside(found, traceback.format_exc())
        _plugins(kind).pop(name, None)
        raise PluginError(
            f"The {kind} {name!r} of {found.origin} can't be used: {type(error).__name__}: "
            f"{error}. It is set aside; 'fusionzoo plugins --traceback' shows where."
        ) from error
    return part


def _check_kind(kind: str, part: Any) -> None:
    """Refuse what is no class of its kind; by name, because the interface comes later."""
    base = f"Abstract{kind.capitalize()}"
    if kind == "system" or (inspect.isclass(part) and base in (c.__name__ for c in part.__mro__)):
        return
    told = f"a class {part.__name__!r}" if inspect.isclass(part) else f"{part!r}"
    raise PluginError(f"A {kind} is a subclass of {base}; this is {told}.")


def _only_class(module: Any, kind: str) -> type:
    """The component of a built-in file, marked by `@component`, or its data set class."""
    here = [
        cls
        for cls in vars(module).values()
        if inspect.isclass(cls) and cls.__module__ == module.__name__
    ]
    if kind == "dataset":
        parts = [
            cls for cls in here if any(base.__name__ == "AbstractDataset" for base in cls.__mro__)
        ]
    else:
        parts = [cls for cls in here if "source" in vars(cls)]
    if len(parts) != 1:
        raise PluginError(
            f"{module.__name__} must define exactly one {kind}; it defines {len(parts)}."
        )
    return parts[0]


def register(kind: str, name: str) -> Callable[[T], T]:
    """Decorator that adds a part for this process, for a notebook; no name is taken over."""
    if kind not in FOLDERS:
        raise BadOption(
            f"There is no kind of part called {kind!r}. {nearest(kind, FOLDERS)}Kinds: "
            f"{', '.join(FOLDERS)}."
        )

    if not is_name(name):
        raise BadOption(f"A {kind} can't be called {name!r}: {_NAMING}.")

    def add(cls: T) -> T:
        _check_kind(kind, cls)
        taken = next((e for e in entries(kind) if e.name == name), None)
        same = (
            taken is not None
            and taken.origin == "notebook"
            and taken.target == f"{cls.__module__}:{cls.__qualname__}"
        )
        if taken is not None and not same:
            raise PluginError(
                f"The name {name!r} is taken: {taken.origin} has a {kind} {name!r} "
                f"({taken.target}). Register {cls.__qualname__} under another name."
            )
        _notebook[kind, name] = cls
        return cls

    return add


@contextmanager
def lent(kind: str, name: str, cls: type) -> Iterator[None]:
    """A class under a name, over whatever has it, until the block ends."""
    before = _notebook.get((kind, name))
    _notebook[kind, name] = cls
    try:
        yield
    finally:
        if before is None:
            _notebook.pop((kind, name), None)
        else:
            _notebook[kind, name] = before


def imported(target: str) -> Any:
    """What `module` or `module:attribute` names, imported.

    Raises:
        PluginError: It can't be imported, or the module has no such attribute.
    """
    module, _, attribute = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{target!r} can't be imported: {type(error).__name__}: {error}. Is its package "
            "installed, and is the name right?"
        ) from error
    return found


def options(kind: str, name: str) -> dict[str, Any]:
    """Keyword options of a part with defaults, in order; `Parameter.empty` where required."""
    parameters = inspect.signature(load(kind, name).__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def bind(kind: str, name: str, given: Mapping[str, Any], text: str = "") -> dict[str, Any]:
    """All options of a part: its defaults, with the given ones over them.

    Args:
        kind: Kind of the part.
        name: Its name.
        given: Values by option; the empty key is the first option.
        text: Where they were given, for errors.

    Raises:
        BadOption: An option that the part doesn't have, is given twice, or needs and isn't given.
    """
    known = options(kind, name)
    hints = _hints(kind, name)
    first = next(iter(known), "")
    where = f" Given in {text!r}." if text else ""
    takes = f"It takes: {', '.join(known)}." if known else "It takes no options."
    chosen: dict[str, Any] = {}
    for key, value in given.items():
        actual = key or first
        if actual not in known:
            asked = f"no option {key!r}" if key else "no option that goes without a name"
            raise BadOption(
                f"{kind.capitalize()} {name!r} has {asked}. {nearest(key, known)}{takes}{where}"
            )
        if actual in chosen:
            raise BadOption(
                f"{kind.capitalize()} {name!r} is given the option {actual!r} twice.{where}"
            )
        if not value_fits(value, hints.get(actual, Any)):
            raise BadOption(
                f"Option {actual!r} of {kind} {name!r} takes {in_words(hints[actual])}, not "
                f"{value!r}.{where}"
            )
        chosen[actual] = _as_float(value, hints.get(actual, Any))
    lacking = [
        key
        for key, default in known.items()
        if default is inspect.Parameter.empty and key not in chosen
    ]
    if lacking:
        raise BadOption(
            f"{kind.capitalize()} {name!r} needs {', '.join(lacking)}: write "
            f"'{name}({lacking[0]}=...)'.{where}"
        )
    return {key: chosen.get(key, default) for key, default in known.items()}


def _hints(kind: str, name: str) -> dict[str, Any]:
    """Annotations of the options; none where a plugin's can't be resolved."""
    try:
        return get_type_hints(load(kind, name).__init__)
    except (NameError, TypeError):
        return {}


def _as_float(value: Any, hint: Any) -> Any:
    """A whole number as a float where the option takes floats, so that both are one value."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    taken = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return float(value) if float in taken and int not in taken else value


def value_fits(value: Any, hint: Any) -> bool:
    """Whether an option's value, as the grammar gives it, agrees with the annotation."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(value_fits(value, arg) for arg in args)
    if origin is Literal:
        return any(value == arg and type(value) is type(arg) for arg in args)
    if origin in (list, tuple, Sequence):
        length = len(args) if origin is tuple and Ellipsis not in args else None
        listed = isinstance(value, tuple | list) and len(value) == (length or len(value))
        return listed and all(value_fits(item, args[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if inspect.isclass(hint) and hint is not Any else True


def in_words(hint: Any) -> str:
    """An annotation in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(in_words(arg) for arg in args)
    if origin is Literal:
        return " or ".join(str(arg) for arg in args)
    if origin in (list, tuple, Sequence):
        count = f" of {len(args)}" if origin is tuple and Ellipsis not in args else ""
        return f"a list{count} ({in_words(args[0])} each)"
    words = {
        float: "a number",
        int: "a whole number",
        bool: "True or False",
        str: "a word",
        NoneType: "None",
    }
    return words.get(hint, str(hint))
