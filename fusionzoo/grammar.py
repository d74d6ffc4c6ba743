"""Spec strings: `ct=penet3d+e3d_msca(dropout=0.3), table=kan -> msca -> linear`.

    combo    = encoders "->" [fusion "->"] head
    encoders = binding {"," binding}
    binding  = {inputs "="} chain            inputs of one binding share its encoder
    inputs   = name {"+" name}               joined by "+" they are stacked on channels
    chain    = call {"+" call}
    call     = name ["(" [option {"," option}] ")"]
    option   = [name "="] value              a value without a name is the first option
    value    = number | string | word | True | False | None | list
    list     = "(" {value ","} ")" | "[" {value ","} "]"

Words are strings without quotes (`timm(regnety_032)`). Nothing is ever evaluated. `str` of what was
parsed is the canonical text: options in alphabetical order, one way to write each value. Equality
and hash are those of that text.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fusionzoo.errors import SpecError

#: Lists hold values in turn; `Any`, because checkers at run time follow no alias into itself.
Value: TypeAlias = int | float | bool | str | tuple[Any, ...] | None

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<arrow>->)
    | (?P<number>[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<word>[A-Za-z_][\w.]*(?:-(?!>)[\w.]+)*)
    | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<sign>[=+,()\[\]])
    """,
    re.VERBOSE | re.DOTALL,
)
_RUN = re.compile(r"[^\s=+,()\[\]'\"]+")
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_BARE = re.compile(r"[A-Za-z_][\w.]*(?:-[\w.]+)*\Z")
_CONSTANTS: Mapping[str, bool | None] = {"True": True, "False": False, "None": None}
#: Lists in lists are read up to this depth, and whole numbers up to this many digits.
_DEEPEST, _MOST_DIGITS = 20, 400


class _Canonical:
    """Equality and hash by canonical text: `1` and `True` differ, `1` and `1.0` do not."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


@dataclass(frozen=True, eq=False)
class Call(_Canonical):
    """One component with its options; a positional option has the empty name."""

    name: str
    options: tuple[tuple[str, Value], ...] = ()
    column: int = 0

    def __str__(self) -> str:
        if not self.options:
            return self.name
        shown = [
            print_value(value) if not key else f"{key}={print_value(value)}"
            for key, value in sorted(self.options, key=lambda option: option[0])
        ]
        return f"{self.name}({', '.join(shown)})"


@dataclass(frozen=True, eq=False)
class Chain(_Canonical):
    """Components one after the other: an encoder and its necks, or fusions."""

    calls: tuple[Call, ...]

    def __str__(self) -> str:
        return "+".join(map(str, self.calls))

    def with_kinds(self, first: str, rest: str) -> tuple[tuple[str, Call], ...]:
        """Every call with its kind, which the first one's place tells."""
        return tuple((rest if k else first, call) for k, call in enumerate(self.calls))


@dataclass(frozen=True, eq=False)
class Binding(_Canonical):
    """Inputs that share one chain; each is one modality, or several that are stacked."""

    inputs: tuple[tuple[str, ...], ...]
    chain: Chain

    def __str__(self) -> str:
        return "=".join(["+".join(names) for names in self.inputs] + [str(self.chain)])


@dataclass(frozen=True, eq=False)
class Combo(_Canonical):
    """Encoders, fusion and head, as a spec string says them."""

    bindings: tuple[Binding, ...]
    fusion: Chain | None
    head: Call

    def __str__(self) -> str:
        encoders = ", ".join(map(str, self.bindings))
        return " -> ".join([encoders, *([str(self.fusion)] if self.fusion else []), str(self.head)])

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what the encoders give, in order: `ct`, or `clinic+derm` where stacked."""
        return tuple("+".join(names) for binding in self.bindings for names in binding.inputs)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Every modality that the combo reads, in order."""
        return tuple(
            name for binding in self.bindings for names in binding.inputs for name in names
        )

    @property
    def calls(self) -> tuple[tuple[str, Call], ...]:
        """Every component with its kind (encoder, neck, fusion, head), in the order of the text."""
        encoders = [pair for b in self.bindings for pair in b.chain.with_kinds("encoder", "neck")]
        fusions = self.fusion.with_kinds("fusion", "fusion") if self.fusion else ()
        return (*encoders, *fusions, ("head", self.head))

    def map(self, change: Callable[[str, Call], Call]) -> Combo:
        """The same combo with other calls: `change` gets each one with its kind."""
        changed = iter([change(kind, call) for kind, call in self.calls])
        bindings = tuple(Binding(b.inputs, _refilled(b.chain, changed)) for b in self.bindings)
        fusion = _refilled(self.fusion, changed) if self.fusion else None
        return Combo(bindings, fusion, next(changed))


def _refilled(chain: Chain, calls: Iterator[Call]) -> Chain:
    """A chain of the same length, of the next calls."""
    return Chain(tuple(next(calls) for _ in chain.calls))


def spec_hash(combo: Combo | Chain) -> str:
    """Twelve hex digits that name a combo; the same meaning has the same hash."""
    return hashlib.sha256(str(combo).encode(errors="surrogatepass")).hexdigest()[:12]


def is_name(text: str) -> bool:
    """Whether spec strings can call a component or a modality so."""
    return bool(_NAME.match(text))


def print_value(value: Value) -> str:
    """Canonical text of an option's value."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        bare = _BARE.match(value) and value not in _CONSTANTS
        return value if bare else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "(" + ", ".join(map(print_value, value)) + ")"


def parse(text: str) -> Combo:
    """Read a whole spec string; SpecError shows where it stops making sense."""
    return _Parser(text).combo()


def parse_chain(text: str) -> Chain:
    """Read one component with its options, or several joined by `+`."""
    parser = _Parser(text)
    chain = parser.chain()
    parser.end("the end of the spec")
    return chain


def parse_bindings(text: str) -> tuple[Binding, ...]:
    """Read the encoders of a spec string alone; a chain without a modality has no inputs."""
    parser = _Parser(text)
    bindings = parser.bindings(named=False)
    parser.end("',' or the end of the encoders")
    return bindings


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str):
        self.text = text
        self.tokens = list(self._split(text))
        self.position = 0
        self.read: set[str] = set()

    def _split(self, text: str) -> Iterator[_Token]:
        column = start = 0
        while column < len(text):
            found = _TOKEN.match(text, column)
            if found is None:
                start = column if text[column] in "'\"" else start
                raise self.error(self._unreadable(start), start)
            if found.lastgroup != "space":
                yield _Token(str(found.lastgroup), found.group(), column)
            column = found.end()
            start = start if found.lastgroup in ("number", "word") else column
        yield _Token("end", "", column)

    def _unreadable(self, column: int) -> str:
        """What is wrong with the run of characters that begins here."""
        run = _RUN.match(self.text, column)
        if run is None:
            return "This quote is never closed."
        return (
            f"{run.group()!r} is no name and no number. "
            f"As an option's value it needs quotes: {print_value(run.group())}."
        )

    @property
    def token(self) -> _Token:
        return self.tokens[self.position]

    def error(self, message: str, column: int) -> SpecError:
        """An error that shows the whole text in one line, with a caret below the column."""
        return SpecError(message, re.sub(r"\s", " ", self.text), column)

    def fail(self, expected: str) -> SpecError:
        """What was expected at the token, and what is there."""
        found = "the end" if self.token.kind == "end" else repr(self.token.text)
        return self.error(f"Expected {expected}, found {found}.", self.token.column)

    def take(self, *texts: str) -> bool:
        """Go past one of these signs, where the token is one."""
        if self.token.kind in ("sign", "arrow") and self.token.text in texts:
            self.position += 1
            return True
        return False

    def end(self, expected: str) -> None:
        """Refuse anything that is left."""
        if self.token.kind != "end":
            raise self.fail(expected)

    def combo(self) -> Combo:
        """The whole spec."""
        bindings = self.bindings(named=True)
        stages = []
        while self.take("->"):
            stages.append((self.token.column, self.chain()))
        self.end("'->' or the end of the spec")
        features = sum(len(binding.inputs) for binding in bindings)
        if not stages:
            raise self.error(
                "A spec ends with '-> head', for instance '-> linear'; this one has no head.",
                len(self.text),
            )
        if len(stages) > 2:
            raise self.error(
                "After the encoders come one fusion and one head; this is a third stage.",
                stages[2][0],
            )
        if len(stages) == 1 and features > 1:
            names = ", ".join("+".join(i) for b in bindings for i in b.inputs)
            raise self.error(
                f"{features} encoders' features ({names}) need a fusion before the head: "
                f"'... -> concat -> {stages[0][1]}'.",
                stages[0][0],
            )
        column, head = stages[-1]
        if len(head.calls) != 1:
            raise self.error("The head is one component, without '+'.", column)
        return Combo(bindings, stages[0][1] if len(stages) == 2 else None, head.calls[0])

    def bindings(self, *, named: bool) -> tuple[Binding, ...]:
        """The encoders; `named` refuses a chain without a modality."""
        bindings: list[Binding] = []
        while True:
            start = self.token.column
            binding = self.binding()
            if named and not binding.inputs:
                raise self.error(
                    f"Which modality does {str(binding.chain)!r} read? Write 'ct={binding.chain}'.",
                    start,
                )
            bindings.append(binding)
            if not self.take(","):
                return tuple(bindings)

    def binding(self) -> Binding:
        """Inputs and the chain that they share."""
        inputs: list[tuple[str, ...]] = []
        while self._inputs_ahead():
            names = [self.modality()]
            while self.take("+"):
                names.append(self.modality())
            self.take("=")
            inputs.append(tuple(names))
        return Binding(tuple(inputs), self.chain())

    def modality(self) -> str:
        """A modality that nothing has read yet."""
        column = self.token.column
        name = self.name("a modality")
        if name in self.read:
            raise self.error(f"The modality {name!r} is read twice.", column)
        self.read.add(name)
        return name

    def _inputs_ahead(self) -> bool:
        """Whether the next tokens are `name {+ name} =`."""
        position = self.position
        while self.tokens[position].kind == "word":
            following = self.tokens[position + 1].text
            if following == "=":
                return True
            if following != "+":
                return False
            position += 2
        return False

    def chain(self) -> Chain:
        """Components joined by `+`."""
        calls = [self.call()]
        while self.take("+"):
            calls.append(self.call())
        return Chain(tuple(calls))

    def call(self) -> Call:
        """One component with its options."""
        column = self.token.column
        name = self.name("the name of a component")
        options: list[tuple[str, Value]] = []
        if self.take("("):
            while not self.take(")"):
                if options and not self.take(","):
                    raise self.fail("',' or ')'")
                if self.take(")"):
                    break
                self._option(name, options)
        return Call(name, tuple(options), column)

    def _option(self, component: str, options: list[tuple[str, Value]]) -> None:
        column = self.token.column
        key = ""
        if self.token.kind == "word" and self.tokens[self.position + 1].text == "=":
            key = self.token.text
            self.position += 2
        elif options:
            raise self.fail("an option as 'name=value' (only the first may go without its name)")
        value = self.value()
        if key in (known for known, _ in options):
            raise self.error(f"{component!r} is given the option {key!r} twice.", column)
        options.append((key, value))

    def name(self, expected: str) -> str:
        """The name of a component or a modality."""
        token = self.token
        if token.kind != "word":
            raise self.fail(expected)
        if not is_name(token.text):
            lower = re.sub(r"[-.]", "_", token.text.lower())
            hint = f" Write {lower!r}?" if is_name(lower) else ""
            raise self.error(
                f"{token.text!r} can't be {expected}: names have lower-case letters, digits and "
                f"'_'.{hint}",
                token.column,
            )
        self.position += 1
        return token.text

    def value(self, depth: int = 0) -> Value:
        """An option's value."""
        token = self.token
        if depth > _DEEPEST:
            raise self.error(f"Lists go no deeper than {_DEEPEST} in each other.", token.column)
        for opening, closing in (("(", ")"), ("[", "]")):
            if self.take(opening):
                return self._items(closing, depth)
        if token.kind not in ("number", "word", "string"):
            raise self.fail("a value (number, word, 'text', True, False, None or a list)")
        self.position += 1
        if token.kind == "word":
            return _CONSTANTS.get(token.text, token.text)
        if token.kind == "string":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
        return self._number(token)

    def _number(self, token: _Token) -> int | float:
        number = float(token.text)
        if math.isinf(number) or len(token.text) > _MOST_DIGITS:
            shown = token.text if len(token.text) < 20 else f"{token.text[:20]}..."
            raise self.error(f"The number {shown} is too long or too large.", token.column)
        if re.fullmatch(r"[+-]?\d+", token.text):
            return int(token.text)
        return int(number) if number.is_integer() else number

    def _items(self, closing: str, depth: int) -> tuple[Value, ...]:
        items: list[Value] = []
        while not self.take(closing):
            if items and not self.take(","):
                raise self.fail(f"',' or '{closing}'")
            if self.take(closing):
                break
            items.append(self.value(depth + 1))
        return tuple(items)
