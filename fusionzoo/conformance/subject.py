"""What is checked: a component, its options, and the settings that it is built for."""

import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fusionzoo import registry
from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.errors import BadOption, PluginError, UnknownComponent, nearest
from fusionzoo.grammar import Call, parse_chain
from fusionzoo.interface import (
    AbstractAugmentation,
    AbstractEncoder,
    AbstractFusion,
    AbstractHead,
    AbstractNeck,
)

#: Kinds that the kit knows, with the class that each is a subclass of.
BASES: Mapping[str, type] = {
    "encoder": AbstractEncoder,
    "neck": AbstractNeck,
    "fusion": AbstractFusion,
    "head": AbstractHead,
    "dataset": AbstractDataset,
    "augmentation": AbstractAugmentation,
}


@dataclass
class Subject:
    """A component under examination.

    Args:
        kind: encoder, neck, fusion, head, dataset or augmentation.
        name: What spec strings call it.
        cls: Its class.
        origin: Where it comes from.
        given: Options over those of `small`.
        dataset: A data set that is already open, where there is one.
    """

    kind: str
    name: str
    cls: Any
    origin: str
    given: Mapping[str, Any] = field(default_factory=dict)
    dataset: AbstractDataset | None = None

    def __post_init__(self) -> None:
        self.is_given_open = self.dataset is not None

    @property
    def module(self) -> Any:
        """The module that defines it; None for a class of a notebook."""
        found = sys.modules.get(self.cls.__module__)
        return found if getattr(found, "__file__", None) else None

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Arguments of the constructor."""
        found = dict(inspect.signature(self.cls.__init__).parameters)
        found.pop("self", None)
        return found

    @property
    def options(self) -> dict[str, Any]:
        """What it is built with: its smallest form, with what was given over it."""
        small: Mapping[str, Any] = getattr(self.cls, "small", {})
        return {**small, **self.given}

    @contextmanager
    def registered(self) -> Iterator[None]:
        """The component under its name in the registry, also where nobody registered it."""
        with registry.lent(self.kind, self.name, self.cls):
            yield


def find_subjects(
    component: Any, kind: str | None = None, name: str | None = None
) -> list[Subject]:
    """Everything that an argument may mean; a name may be one of several kinds.

    Args:
        component: A name, with options if wanted (`penet3d(width=0.25)`); `module:Class`; the path
            of a Python file; a class; or an open data set.
        kind: Only this kind.
        name: What a class is to be called; its registered name, or one made of the class's.

    Raises:
        UnknownComponent: Nothing has that name, or the module or file has no component.
        PluginError: A module or file that can't be imported.
    """
    if isinstance(component, AbstractDataset):
        return [_of_class(type(component), name, dataset=component)]
    if inspect.isclass(component):
        return [_of_class(component, name)]
    text = str(component)
    if text.endswith(".py"):
        found = [_of_class(cls, name or Path(text).stem) for cls in _components(_from_file(text))]
    elif ":" in text and "(" not in text:
        found = [_of_class(_from_module(text), name)]
    else:
        found = _by_name(text, kind)
    chosen = [subject for subject in found if kind in (None, subject.kind)]
    if not chosen:
        kinds = ", ".join(dict.fromkeys(subject.kind for subject in found)) or "no component"
        raise UnknownComponent(
            f"{text!r} is to be checked as {kind or 'a component'}, and it holds {kinds}. "
            "Name a component, 'module:Class', or a file that defines one."
        )
    return chosen


def _by_name(text: str, kind: str | None) -> list[Subject]:
    chain = parse_chain(text)
    if len(chain.calls) != 1:
        raise BadOption(f"One component is checked at a time; {text!r} names {len(chain.calls)}.")
    call = chain.calls[0]
    kinds = [k for k in BASES if kind in (None, k) and call.name in registry.names(k)]
    if not kinds:
        wanted = [kind] if kind is not None and kind in BASES else list(BASES)
        broken = [part for part in registry.broken() if part.name == call.name]
        if broken:
            registry.entry(broken[0].kind, call.name)  # raises, and says why it is set aside
        known = [name for k in wanted for name in registry.names(k)]
        raise UnknownComponent(
            f"No {kind or 'component'} is called {call.name!r}. {nearest(call.name, known)}"
            "'fusionzoo list' shows all; a class that isn't registered goes by 'module:Class'."
        )
    return [_registered(k, call) for k in kinds]


def _registered(kind: str, call: Call) -> Subject:
    entry = registry.entry(kind, call.name)
    return Subject(
        kind, call.name, registry.load(kind, call.name), entry.origin, _named_options(kind, call)
    )


def _named_options(kind: str, call: Call) -> dict[str, Any]:
    """Options by name, also the one that goes without."""
    first = next(iter(registry.options(kind, call.name)), "")
    named = {key or first: value for key, value in call.options}
    if named:
        small: Mapping[str, Any] = getattr(registry.load(kind, call.name), "small", {})
        registry.bind(kind, call.name, {**small, **named}, str(call))
    return named


def _of_class(
    cls: type, name: str | None = None, dataset: AbstractDataset | None = None
) -> Subject:
    kinds = [kind for kind, base in BASES.items() if issubclass(cls, base)]
    if not kinds:
        raise UnknownComponent(
            f"{cls.__qualname__} is no component: it derives from none of "
            f"{', '.join(base.__name__ for base in BASES.values())}."
        )
    kind = kinds[0]
    own = _registered_name(kind, cls)
    origin = registry.entry(kind, own).origin if own else cls.__module__
    return Subject(kind, name or own or _name_from(cls), cls, origin, dataset=dataset)


def _registered_name(kind: str, cls: type) -> str | None:
    """The name under which the registry knows a class."""
    module, target = cls.__module__, f"{cls.__module__}:{cls.__qualname__}"
    for entry in registry.entries(kind):
        if entry.target in (module, target) and registry.load(kind, entry.name) is cls:
            return entry.name
    return None


def _name_from(cls: type) -> str:
    """Snake case of a class's name."""
    letters = [f"_{c.lower()}" if c.isupper() else c for c in cls.__name__]
    return "".join(letters).lstrip("_").replace("__", "_")


def _from_module(text: str) -> type:
    found = registry.imported(text)
    if not inspect.isclass(found):
        raise UnknownComponent(f"{text!r} is {found!r}, no class.")
    return found


def _from_file(text: str) -> Any:
    """The module of a file: as its package has it where it is installed, else on its own."""
    path = Path(text).expanduser().resolve()
    if not path.is_file():
        raise UnknownComponent(f"There is no file {text!r} to check.")
    known = [m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == str(path)]
    if known:
        return known[0]
    dotted = _dotted(path)
    if "." in dotted and _place_of(dotted) == path:
        return registry.imported(dotted)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[path.stem]
        raise PluginError(
            f"{text!r} can't be imported: {type(error).__name__}: {error}. A file of a package "
            "that isn't installed can't import from that package."
        ) from error
    return module


def _dotted(path: Path) -> str:
    """What a module is called in its package, from the folders that have an `__init__.py`."""
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return ".".join(names)


def _place_of(dotted: str) -> Path | None:
    """The file that would be imported under a name; None where there is none."""
    try:
        spec = importlib.util.find_spec(dotted)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).resolve() if spec is not None and spec.origin else None


def _components(module: Any) -> list[type]:
    """Classes that a module defines and that are components, marked ones where any is."""
    here = [
        cls
        for cls in vars(module).values()
        if inspect.isclass(cls)
        and cls.__module__ == module.__name__
        and issubclass(cls, tuple(BASES.values()))
    ]
    marked = [cls for cls in here if "source" in vars(cls)]
    return marked or here
