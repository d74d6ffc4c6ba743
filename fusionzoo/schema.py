"""Frozen dataclasses to JSON and back, checked strictly: an error says which key is wrong and how.

NaN is written as null and read back as NaN where the field is a float.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fusionzoo.errors import RunError

T = TypeVar("T")
#: Key in the metadata of a field that older files may lack.
_ADDED = "added"

_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
}


def added(default: Any) -> Any:
    """A field that files written before it was added may lack; to them it means `default`."""
    return dataclasses.field(default=default, metadata={_ADDED: True})


def to_json(value: Any) -> Any:
    """Dataclasses, mappings and sequences as plain JSON values; NaN and infinities become null.

    Raises:
        TypeError: Something in it has no JSON form.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return to_json(value.item())
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")


def dumps(value: Any, *, indent: int | None = 2) -> str:
    """JSON text of `to_json(value)`; keys in the order of the fields."""
    return json.dumps(to_json(value), indent=indent, allow_nan=False, ensure_ascii=False)


def canonical(value: Any) -> str:
    """One text for one meaning: sorted keys, no spaces; what hashes are taken of."""
    plain = to_json(value)
    return json.dumps(
        plain, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def from_json(cls: type[T], data: Any, source: str) -> T:
    """A dataclass from JSON values.

    Args:
        cls: The dataclass to make.
        data: What `json.loads` gave.
        source: What the errors call it, a path usually.

    Raises:
        RunError: Keys are missing or unknown, or a value has the wrong type; all problems at once,
            with their place.
    """
    made, problems = made_or_problems(cls, data)
    if made is None:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise RunError(
            f"{source} is not a {cls.__name__} that can be read:{listed}\n"
            "Delete the file and run again, or read it with the fusionzoo version that wrote it."
        )
    return made


def made_or_problems(cls: type[T], data: Any) -> tuple[T | None, list[str]]:
    """A dataclass from plain values, or None and what is wrong with them."""
    problems: list[str] = []
    made = _dataclass(cls, data, "", problems)
    return (None if problems else made), problems


def _dataclass(cls: Any, data: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(data, Mapping):
        problems.append(f"{where or 'the file'} must be an object, is {_shown(data)}")
        return None
    hints = _hints(cls)
    names = [name for name in hints if name in data or name not in _may_lack(cls)]
    prefix = f"{where}." if where else ""
    problems += [f"{prefix}{name} is missing" for name in names if name not in data]
    problems += [f"{prefix}{name} is not known" for name in data if name not in hints]
    known = [name for name in names if name in data]
    before = len(problems)
    values = {name: _value(hints[name], data[name], f"{prefix}{name}", problems) for name in known}
    if len(known) < len(names) or len(problems) > before:
        return None
    return cls(**values)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    """Types of the fields; looked up once a class, because that is slow."""
    told = get_type_hints(cls)
    return {field.name: told[field.name] for field in dataclasses.fields(cls)}


@cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """What a type is made of."""
    return get_origin(hint), get_args(hint)


@cache
def _may_lack(cls: Any) -> frozenset[str]:
    """Fields that were added later."""
    return frozenset(field.name for field in dataclasses.fields(cls) if _ADDED in field.metadata)


def _value(hint: Any, data: Any, where: str, problems: list[str]) -> Any:
    if hint in (Any, object):
        return data
    origin, arguments = _parts(hint)
    if origin is Literal:
        if data not in arguments:
            problems.append(f"{where} must be {' or '.join(arguments)}, is {_shown(data)}")
        return data
    if origin in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return None if data is None else _value(inner, data, where, problems)
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, data, where, problems)
    if origin is tuple and isinstance(data, list):
        return tuple(_value(arguments[0], x, f"{where}[{i}]", problems) for i, x in enumerate(data))
    if origin is not None and issubclass(origin, Mapping) and isinstance(data, Mapping):
        if arguments[1] is Any:
            return dict(data)
        return {key: _value(arguments[1], x, f"{where}.{key}", problems) for key, x in data.items()}
    if hint is float and data is None:
        return math.nan
    if hint is float and isinstance(data, int | float) and not isinstance(data, bool):
        return float(data)
    if origin is None and isinstance(data, hint) and (hint is bool or not isinstance(data, bool)):
        return data
    wanted = _WORDS.get(hint) or ("a list" if origin is tuple else "an object")
    problems.append(f"{where} must be {wanted}, is {_shown(data)}")
    return None


def _shown(data: Any) -> str:
    text = json.dumps(data, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."
