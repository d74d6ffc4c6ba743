"""Sphinx extension that makes reStructuredText of docstrings, which are plain text.

`Code` stands in single backticks, formulas are indented paragraphs, a table's lines begin with a
bar, and `Inputs:`, `Returns:` and the like may stand in one line with their text. Sections such as
`Args:` are left to napoleon, which runs after this.
"""

import re
from collections.abc import Iterator
from typing import Any

#: `Source: text`, at the margin.
FIELD = re.compile(
    r"(Source|Differs from[^:]*|From [^:]*|Inputs|Returns|Raises|Yields|Licence|Note): +(\S.*)"
)
#: `Args:`, alone in its line at the margin.
SECTION = re.compile(r"[A-Z][\w ]*:$")
ITEM = re.compile(r"([-*]|\d+\.) ")


def to_rest(lines: list[str]) -> list[str]:
    """The docstring as reStructuredText."""
    result: list[str] = []
    for block in paragraphs(lines):
        first = block[0]
        if first.startswith(">>>"):
            result += block
        elif first.startswith("|") or first.startswith(" "):
            result += ["::", "", *(f"    {line}" for line in block)]
        else:
            result += flowing(unbroken(block))
        result.append("")
    return result


def opens_section(line: str, following: str) -> bool:
    return bool(SECTION.match(line)) and following.startswith(" ")


def paragraphs(lines: list[str]) -> Iterator[list[str]]:
    """Runs of lines between blank ones; a section keeps all that is indented under it."""
    block: list[str] = []
    for index, line in enumerate(lines):
        following = next((later for later in lines[index:] if later.strip()), "")
        in_section = following.startswith(" ") and any(map(opens_section, block, block[1:]))
        if line.strip() or (block and in_section):
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def unbroken(block: list[str]) -> list[str]:
    """The same lines, with code that was broken over two of them in one."""
    return re.sub(
        r"`[^`]+`", lambda code: re.sub(r"\n\s*", " ", code[0]), "\n".join(block)
    ).splitlines()


def flowing(block: list[str]) -> list[str]:
    """A paragraph of text, with its fields and sections set apart."""
    result: list[str] = []
    inside = ""
    for line, following in zip(block, [*block[1:], ""], strict=True):
        field, section = FIELD.match(line), opens_section(line, following)
        if field:
            result += [] if inside == "field" else [""]
            result.append(f":{field[1]}: {inline(field[2])}")
            inside = "field"
        elif section or (inside == "section" and line.startswith(" ") and not line.isspace()):
            result += ["", line] if section else [line if ">>>" in line else inline(line)]
            inside = "section"
        elif inside == "section" and not line.strip():
            result.append("")
        elif inside == "field":
            result.append(f"    {inline(line.strip())}")
        else:
            inside = "list" if ITEM.match(line) else inside
            result.append(inline(line if inside == "list" else line.strip()))
    return result


def inline(line: str) -> str:
    """Backticks doubled, and what reStructuredText would take for markup escaped."""
    parts = re.split(r"(`+[^`]+`+)", line)
    return "".join(code(part) if part.startswith("`") else escaped(part) for part in parts)


def code(part: str) -> str:
    return f"``{part.strip('`')}``"


def escaped(part: str) -> str:
    part = re.sub(r"([\\*|])", r"\\\1", part)
    return re.sub(r"(?<=\w)_(?!\w)", r"\\_", part)


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = to_rest(lines)


def setup(app: Any) -> dict[str, bool]:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True}
