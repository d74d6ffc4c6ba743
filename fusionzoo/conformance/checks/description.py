"""What a component says about itself: name, docstrings, options, example."""

import doctest
import inspect
import re
import sys
from typing import Any, get_type_hints

import torch

from fusionzoo import registry
from fusionzoo.conformance.examination import EVERY, Check, Examination
from fusionzoo.conformance.report import Fault, Inapplicable
from fusionzoo.errors import FusionZooError
from fusionzoo.grammar import Call, is_name, parse_chain
from fusionzoo.spec import FeatureSpec, Modality, TaskSpec

#: What examples in docstrings may use without importing it.
KNOWN = {
    "torch": torch,
    "FeatureSpec": FeatureSpec,
    "Modality": Modality,
    "TaskSpec": TaskSpec,
}
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def check_name(examined: Examination) -> None:
    """A name that spec strings can say and that nothing else of the kind has."""
    subject = examined.subject
    if not is_name(subject.name):
        raise Fault(
            f"Spec strings can't say {subject.name!r}: names have lower-case letters, digits and "
            "'_', and begin with a letter."
        )
    for entry in registry.entries(subject.kind):
        if (
            entry.name == subject.name
            and registry.load(subject.kind, entry.name) is not examined.cls
        ):
            raise Fault(
                f"The name {entry.name!r} is taken: {entry.origin} has a {subject.kind} of that "
                f"name ({entry.target})."
            )


def check_docstring(examined: Examination) -> None:
    """A summary, a source, and every argument described."""
    subject, lacking = examined.subject, []
    doc = inspect.getdoc(examined.cls) if examined.cls.__doc__ else ""
    if not doc or not doc.partition("\n")[0].strip():
        lacking.append("a docstring of the class")
    described = set(re.findall(r"^ +(\w+): \S", _section(doc or "", "Args"), re.MULTILINE))
    lacking += [f"'{name}' under 'Args:'" for name in subject.parameters if name not in described]
    if subject.kind != "dataset":
        if not getattr(examined.cls, "source", ""):
            lacking.append("a source: @component(source=...)")
        if not re.search(r"^ *Returns:", doc or "", re.MULTILINE) and subject.kind != "head":
            lacking.append("'Returns:'")
    elif not getattr(examined.cls, "about", ""):
        lacking.append("`about`: where the data come from, and their licence")
    module = subject.module
    if module is not None and not (module.__doc__ or "").partition("\n")[0].strip():
        lacking.append("a docstring of the file, whose first line 'fusionzoo list' shows")
    if lacking:
        raise Fault(f"{examined.cls.__qualname__} lacks {', '.join(lacking)}.")


def _section(doc: str, title: str) -> str:
    """What is indented under a section's title."""
    found = re.search(rf"^( *){title}:\n((?:\1 +.*\n|\s*\n)*)", doc + "\n", re.MULTILINE)
    return found[2] if found else ""


def check_example(examined: Examination) -> None:
    """The example of the docstring does what it shows."""
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=_FLAGS)
    names = {**vars(sys.modules[examined.cls.__module__]), **KNOWN}
    examples = parser.get_doctest(examined.cls.__doc__ or "", names, examined.cls.__name__, None, 0)
    if not examples.examples:
        if examined.subject.kind == "dataset":
            raise Inapplicable("its docstring has no example")
        raise Fault("The docstring has no example ('Example:' and lines that begin with '>>>').")
    told: list[str] = []
    runner.run(examples, out=told.append)
    if runner.failures:
        raise Fault("The example fails:\n" + "".join(told).strip())


def check_options(examined: Examination) -> None:
    """Options that spec strings can set: keyword-only, annotated, with defaults that fit."""
    wrong = []
    parameters = examined.subject.parameters.values()
    free = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    wrong += [
        f"'{p}' takes anything, so a mistyped option passes" for p in parameters if p.kind in free
    ]
    for parameter in parameters:
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.annotation is inspect.Parameter.empty:
            wrong.append(f"'{parameter.name}' has no annotation")
        elif parameter.default is not inspect.Parameter.empty:
            wrong += _default_fits(examined, parameter.name, parameter.default)
    given = {"head": 2, "dataset": 0}.get(examined.subject.kind, 1)
    positional = [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    wrong += [f"'{name}' is no keyword-only option" for name in positional[given:]]
    if wrong:
        raise Fault("; ".join(wrong) + ".")


def _default_fits(examined: Examination, option: str, default: Any) -> list[str]:
    """Whether a default can be written in a spec string and is taken when it is."""
    try:
        text = str(Call("part", ((option, default),)))
        read = dict(parse_chain(text).calls[0].options)[option]
        said = read == (tuple(default) if isinstance(default, list) else default)
    except (FusionZooError, TypeError, ValueError):
        said, read = False, None
    if not said:
        return [f"the default of '{option}', {default!r}, can't be said in a spec string"]
    hint = get_type_hints(examined.cls.__init__).get(option, Any)
    if not registry.value_fits(read, hint):
        return [f"'{option}' takes {registry.in_words(hint)}, and its default is {default!r}"]
    return []


CHECKS = (
    Check(
        "name",
        "Spec strings can say its name, and no other part of its kind has it.",
        check_name,
        EVERY,
    ),
    Check(
        "docstring",
        "Its docstring says what it is, where it comes from, and what every argument means.",
        check_docstring,
        EVERY,
    ),
    Check(
        "example",
        "The example in its docstring does what it shows.",
        check_example,
        EVERY,
    ),
    Check(
        "options",
        "Its options are keyword-only and annotated, and their defaults can be written in a spec.",
        check_options,
        EVERY,
    ),
)
