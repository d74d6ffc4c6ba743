"""A card as Markdown, with its figures in files beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fusionzoo.card.blocks import Block, Bullets, Heading, Picture, Table, Text


def to_markdown(blocks: Sequence[Block]) -> str:
    """The text of the card."""
    return "\n\n".join(_written(block) for block in blocks) + "\n"


def _written(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_plain(block.text)}"
    if isinstance(block, Text):
        return _plain(block.text)
    if isinstance(block, Bullets):
        return "\n".join(f"- {_plain(item)}" for item in block.items)
    if isinstance(block, Picture):
        return f"![{_plain(block.alt)}]({block.name})"
    return "\n".join(_table(block))


def _table(table: Table) -> Iterator[str]:
    yield _row(table.header)
    marks = [":--" if k in table.left else "--:" for k in range(len(table.header))]
    yield f"|{'|'.join(marks)}|"
    for row in table.rows:
        yield _row(row)


def _row(cells: Sequence[str]) -> str:
    inner = " | ".join(_plain(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {inner} |"


def _plain(text: str) -> str:
    """A text with the marks that Markdown would read; spec strings and names may hold them."""
    for mark in "\\`*_[]<>#":
        text = text.replace(mark, f"\\{mark}")
    return text
