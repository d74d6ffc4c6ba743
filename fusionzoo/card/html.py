"""A card as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from fusionzoo.card.blocks import Block, Bullets, Heading, Picture, Table, Text

_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1c2127, #e6e8eb); --soft: light-dark(#5c6670,
#9aa4af); --page: light-dark(#fff, #14171a); --line: light-dark(#dde2e7, #343b43); }
body { font: 15px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page);
max-width: 58rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-top: 1px solid var(--line);
padding-top: 1.2rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; }
th { font-weight: 600; color: var(--soft); text-align: left; vertical-align: bottom; }
th, td { padding: .3rem 1.1rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.facts td:first-child { color: var(--soft); white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
td:first-child { white-space: nowrap; }
img { max-width: min(100%, 27rem); background: #fff; border-radius: .4rem; vertical-align: top;
margin: .4rem .6rem .4rem 0; }
img.wide { max-width: 100%; }
li { margin: .2rem 0; }
"""


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The page; it follows the reader's light or dark."""
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
    body = "\n".join(_written(block) for block in blocks)
    return (
        f"<!doctype html><html lang='en'><head>{head}<title>{escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _written(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Bullets):
        return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in block.items)}</ul>"
    if isinstance(block, Picture):
        data = base64.b64encode(block.content).decode()
        kind = " class='wide'" if block.wide else ""
        return f"<img{kind} alt='{escape(block.alt)}' src='data:image/png;base64,{data}'>"
    return _table(block)


def _table(table: Table) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        kinds = ["" if k in table.left else " class='n'" for k in range(len(cells))]
        inner = (f"<{tag}{kind}>{escape(c)}</{tag}>" for kind, c in zip(kinds, cells, strict=True))
        return f"<tr>{''.join(inner)}</tr>"

    header = line("th", table.header) if any(table.header) else ""
    rows = "".join(line("td", row) for row in table.rows)
    kind = "" if header else " class='facts'"
    return f"<div class='scroll'><table{kind}>{header}{rows}</table></div>"
