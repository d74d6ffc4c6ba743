"""Reads a YAML file key by key, with the line of each mistake and the nearest known key.

Scalars are kept as they are written: `yes`, `1e5` and `2020-01-01` stay text until a key asks for
something else, so that a class called `no` is not turned into `False`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import yaml

from fusionzoo.data.problems import Problems
from fusionzoo.errors import nearest

T = TypeVar("T")


def read_yaml(text: str, source: str, problems: Problems) -> Section | None:
    """The top of a YAML text; None, with the problem noted, where it is no mapping."""
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        problems.add("E00", f"{source} is not YAML: {reason}", "Mend the line that it names.")
        return None
    if not isinstance(node, yaml.MappingNode):
        problems.add(
            "E00",
            f"{source} holds no 'key: value' lines",
            "Write at least id, images or table, and targets.",
        )
        return None
    return Section(node, source, "", problems)


class Section:
    """One mapping of the file. `finish` reports the keys that nobody asked for.

    Args:
        node: The mapping as PyYAML composed it.
        source: Name of the file, for messages.
        place: Dotted path of the mapping, `images.ct`; empty at the top.
        problems: Where mistakes are noted; a mistaken key then has its default.
    """

    def __init__(self, node: yaml.MappingNode, source: str, place: str, problems: Problems):
        self.source = source
        self.place = place
        self.line = node.start_mark.line + 1
        self.problems = problems
        self.nodes: dict[str, yaml.Node] = {}
        self.asked: dict[str, None] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            if name in self.nodes:
                self.wrong(
                    name, "the key is there twice", "Keep one of them.", line=key.start_mark.line
                )
            self.nodes[name] = value

    def wrong(self, key: str, text: str, remedy: str, line: int | None = None) -> None:
        """Note a mistake at a key."""
        node = self.nodes.get(key)
        if line is None:
            line = node.start_mark.line if node is not None else self.line - 1
        path = f"{self.place}.{key}".strip(".")
        self.problems.add("E00", f"{self.source} line {line + 1}, {path}: {text}", remedy)

    def finish(self) -> None:
        """Report keys that are not known here, with the nearest known one."""
        for key in self.nodes.keys() - self.asked.keys():
            hint = nearest(key, self.asked)
            self.wrong(key, "no such key", f"{hint}Known here: {', '.join(self.asked)}.")

    def names(self) -> Iterator[str]:
        """Every key, for mappings whose keys are names."""
        for key in self.nodes:
            self.asked[key] = None
            yield key

    def section(self, key: str) -> Section | None:
        """The mapping below a key; None where there is none."""
        node = self._node(key)
        if node is None:
            return None
        if not isinstance(node, yaml.MappingNode):
            self.wrong(key, f"{_say(node)} where keys are wanted", "Indent its keys below it.")
            return None
        return Section(node, self.source, f"{self.place}.{key}".strip("."), self.problems)

    def text(self, key: str, default: str | None = None, *, required: bool = False) -> str | None:
        """A word."""
        return self._scalar(key, str, "a word", default, required=required)

    def integer(self, key: str, default: int, *, least: int = 0) -> int:
        """A whole number, `least` or more."""

        def parse(word: str) -> int:
            number = int(word)
            if number < least:
                raise ValueError
            return number

        found = self._scalar(key, parse, f"a whole number of {least} or more", default)
        return default if found is None else found

    def flag(self, key: str) -> bool:
        """`true` or `false`; false where the key is absent."""
        known = {"true": True, "false": False}
        return bool(self._scalar(key, lambda word: known[word.lower()], "true or false", False))

    def choice(self, key: str, known: Sequence[str], default: str | None = None) -> str:
        """One of the known words; the key is required where there is no default."""
        word = self.text(key, default, required=default is None)
        if word is not None and word not in known:
            self.wrong(
                key, f"{word!r} is not known", f"{nearest(word, known)}Known: {', '.join(known)}."
            )
            word = None
        return word or default or known[0]

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of words, as they are written; empty where the key is absent."""
        node = self._node(key)
        if node is None:
            return ()
        words = _words(node)
        if words is None:
            self.wrong(key, f"{_say(node)} where a list is wanted", "Write it as [a, b, c].")
            return ()
        twice = sorted({word for word in words if words.count(word) > 1})
        if twice:
            self.wrong(key, f"{', '.join(twice)} more than once", "Name each once.")
        return tuple(dict.fromkeys(words))

    def numbers(
        self,
        key: str,
        count: int,
        *,
        positive: bool = False,
        spread: bool = False,
        required: bool = False,
    ) -> tuple[float, ...] | None:
        """`count` finite numbers; with `spread`, one number stands for `count` equal ones."""
        node = self._node(key)
        if node is None:
            if required:
                self.wrong(key, "the key is missing", f"Write {key}: with {count} numbers.")
            return None
        words = [node.value] if isinstance(node, yaml.ScalarNode) and spread else _words(node)
        try:
            found = [float(word) for word in words or ()]
        except ValueError:
            found = []
        if spread and len(found) == 1:
            found = found * count
        good = len(found) == count and all(math.isfinite(number) for number in found)
        if not good or (positive and min(found) <= 0):
            kind = "positive numbers" if positive else "numbers"
            one = " or one for all" if spread and count > 1 else ""
            self.wrong(
                key,
                f"{_say(node)} where {count} {kind}{one} are wanted",
                f"Write {key}: [{', '.join('#' * count)}].",
            )
            return None
        return tuple(found)

    def _node(self, key: str) -> yaml.Node | None:
        self.asked[key] = None
        node = self.nodes.get(key)
        if isinstance(node, yaml.ScalarNode) and node.value == "" and node.style is None:
            self.wrong(key, "it has no value", "Give one, or remove the key.")
            return None
        return node

    def _scalar(
        self,
        key: str,
        parse: Callable[[str], T],
        wanted: str,
        default: T | None,
        *,
        required: bool = False,
    ) -> T | None:
        absent = key not in self.nodes
        node = self._node(key)
        if absent and required:
            self.wrong(key, "the key is missing", f"Write {key}: with {wanted}.")
        if node is None:
            return default
        try:
            if isinstance(node, yaml.ScalarNode):
                return parse(node.value)
        except (KeyError, ValueError):
            pass
        self.wrong(key, f"{_say(node)} where {wanted} is wanted", f"Write {key}: with {wanted}.")
        return default


def _words(node: yaml.Node) -> list[str] | None:
    if not isinstance(node, yaml.SequenceNode):
        return None
    if not all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return None
    return [item.value.strip() for item in node.value]


def _say(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value)
    words = _words(node)
    if words is not None:
        return f"[{', '.join(words)}]"
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a list of lists or mappings"
