"""Sizes: options of components and training settings that make every row of a table smaller.

A table at full size takes a GPU for days. A size is a TOML file that says what a board was run at
instead; it stands in the sheet, so that the board can say it too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fusionzoo import registry
from fusionzoo.errors import BadOption, FusionZooError, nearest
from fusionzoo.grammar import Call, Combo, Value
from fusionzoo.schema import made_or_problems
from fusionzoo.training.config import TrainConfig

#: Kinds of parts that a spec string is made of.
KINDS = ("encoder", "neck", "fusion", "head")
_DEFAULTS: Mapping[str, Any] = {"note": "", "options": {}, "training": {}}


@dataclass(frozen=True)
class Size:
    """What is made smaller, or larger.

    Args:
        name: What the sheet calls it.
        note: What is lost by it, for the board.
        options: By name of a component, options that take the place of a row's own and of the data
            set's suggestions: `{"penet3d": {"width": 0.25}}`. A mapping instead of a value says
            what takes the place of which value, where rows differ in it: `{"timm": {"name":
            {"resnet50": "resnet18"}}}`; other values stay.
        training: Training settings over the rows'.
    """

    name: str
    note: str
    options: Mapping[str, Mapping[str, Any]]
    training: Mapping[str, Any]

    def apply(self, combo: Combo) -> Combo:
        """The combo with this size's options written into it."""

        def one(kind: str, call: Call) -> Call:
            if call.name not in self.options:
                return call
            known = registry.options(kind, call.name)
            first = next(iter(known), "")
            said = {key or first: value for key, value in call.options}
            if len(said) < len(call.options):
                return call  # assembly tells of an option that is given twice
            for option, value in self.options[call.name].items():
                if option in known and isinstance(value, Mapping):
                    now = said.get(option, known[option])
                    if now in value:
                        said[option] = cast(Value, value[now])
                elif option in known:
                    said[option] = cast(Value, value)
            return Call(call.name, tuple(said.items()), call.column)

        return combo.map(one)


#: As the rows say it.
FULL = Size("", "", {}, {})


def read_size(path: str) -> Size:
    """A size from its file.

    Raises:
        BadOption: All that is wrong with it.
    """
    try:
        told = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadOption(f"The size {path!r} can't be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise BadOption(f"The size {path!r} is no TOML: {error}.") from error
    told = _with_tuples({"name": Path(path).stem, **_DEFAULTS, **told})
    size, problems = made_or_problems(Size, told)
    if size is not None:
        problems = _wrong(size)
    if size is None or problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise BadOption(f"The size {path!r} has {len(problems)} problems:{listed}")
    return size


def _with_tuples(value: Any) -> Any:
    """TOML's lists as the tuples that options are."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _wrong(size: Size) -> list[str]:
    problems = []
    names = {kind: registry.names(kind) for kind in KINDS}
    everything = sorted({name for found in names.values() for name in found})
    for name, options in size.options.items():
        kinds = [kind for kind in KINDS if name in names[kind]]
        if not kinds:
            problems.append(f"no component is called {name!r}. {nearest(name, everything)}".strip())
            continue
        known = [option for kind in kinds for option in registry.options(kind, name)]
        problems += [
            f"{kinds[0]} {name!r} has no option {option!r}. {nearest(option, known)}It takes: "
            f"{', '.join(known)}."
            for option in options
            if option not in known
        ]
    try:
        TrainConfig.from_settings(size.training)
    except FusionZooError as error:
        problems.append(str(error))
    return problems


__all__ = ["FULL", "KINDS", "Size", "read_size"]
