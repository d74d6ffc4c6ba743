"""One self-contained page for any number of boards: no network, light and dark, wide and narrow."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from fusionzoo.leaderboard.embedded import dumps_boards
from fusionzoo.leaderboard.plots.curves import draw_curve
from fusionzoo.leaderboard.plots.pareto import draw_pareto
from fusionzoo.leaderboard.plots.svg import Axis, at, padded, short
from fusionzoo.leaderboard.render import text
from fusionzoo.leaderboard.render.cells import rows_html
from fusionzoo.leaderboard.table import GROUPS, Column, Panel, Table

#: So many rows are in the page at once; the rest is put in when it is scrolled to.
_ROWS = 200
#: Most squares of a panel, best rows first.
_SQUARES = 24
_SHOWN = ("metrics", "cost")


def render(tables: Sequence[Table]) -> str:
    """The page; equal tables give equal bytes."""
    boards = "".join(_board(table, number) for number, table in enumerate(tables))
    title = tables[0].title if len(tables) == 1 else f"{len(tables)} boards"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_asset('board.css')}</style>\n</head>\n<body>\n"
        f"{_asset('chrome.html')}{_contents(tables)}<main>\n{boards}</main>\n"
        f'<script type="application/json" id="boards">{dumps_boards(tables)}</script>\n'
        f"<script>\n{_asset('board.js')}</script>\n</body>\n</html>\n"
    )


def _asset(name: str) -> str:
    return (files("fusionzoo.leaderboard.render") / "page" / name).read_text(encoding="utf-8")


def _contents(tables: Sequence[Table]) -> str:
    if len(tables) < 2:
        return ""
    links = "".join(
        f'<a href="#board{number}">{escape(table.title)}</a>' for number, table in enumerate(tables)
    )
    return f'<nav class="contents" aria-label="Boards">{links}</nav>\n'


def _board(table: Table, number: int) -> str:
    source = (
        f'<p class="source">Printed numbers: {escape(table.source)}</p>' if table.source else ""
    )
    facts = "".join(
        f"<div><dt>{escape(fact.label)}</dt><dd>{escape(fact.value)}</dd></div>"
        for fact in table.facts
    )
    notes = "".join(f"<p>{_with_code(note)}</p>" for note in table.notes)
    return (
        f'<section class="board" id="board{number}" data-board="{number}">\n'
        f"<h1>{escape(table.title)}</h1>{source}\n<dl class=facts>{facts}</dl>\n"
        f"{_tools(table, number)}\n{_table(table)}\n"
        f'<p class="how">{escape(text.compared(table))} {escape(text.TIERS)}</p>\n'
        f"{_pareto(table, number)}{''.join(map(_panel, table.panels))}"
        f'<div class="notes">{notes}</div>\n</section>\n'
    )


def _with_code(note: str) -> str:
    """Text with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(note))


def _tools(table: Table, number: int) -> str:
    groups = "".join(
        f'<button type="button" data-group="{group}" aria-pressed="'
        f'{"true" if group in _SHOWN else "false"}">{GROUPS[group]}</button>'
        for group in table.groups()
    )
    states = sorted({row.state for row in table.rows} - {"complete"})
    verdicts = sorted(
        {j.verdict for row in table.rows for f in row.figures.values() if (j := f.published)}
    )
    choices = ["<option value=''>all rows</option>", "<option value='tier:1'>rank 1</option>"]
    choices += [f'<option value="state:{state}">{state}</option>' for state in states]
    choices += [f'<option value="verdict:{one}">{one}</option>' for one in verdicts]
    return (
        '<div class="tools">'
        f'<label class="find"><span class="hidden">Find rows</span><input type="search" '
        f'placeholder="Find rows" id="find{number}"></label>'
        f'<label>Show <select class="show">{"".join(choices)}</select></label>'
        f'<label class="sorting">Sort by <select class="sort"></select></label>'
        f'<div class="groups" role="group" aria-label="Columns">{groups}</div>'
        '<output class="count"></output></div>'
    )


def _table(table: Table) -> str:
    scale = _scale(table)
    heads = "".join(_heads(table, scale))
    rows = rows_html(table, scale)
    hidden = " ".join(f"hide-{group}" for group in table.groups() if group not in _SHOWN)
    more = f"<template>{''.join(rows[_ROWS:])}</template>" if len(rows) > _ROWS else ""
    lines = "\n".join(rows[:_ROWS])
    return (
        f'<div class="scroll"><table role="grid" class="{hidden}">\n'
        f"<caption class=hidden>{escape(table.title)}. Arrow keys go from cell to cell, Enter "
        "opens where a figure is from.</caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody></table>{more}</div>"
    )


def _scale(table: Table) -> Axis | None:
    """The scale of the intervals, in percent of the column."""
    figures = [row.figures[table.ranked_by] for row in table.rows if table.ranked_by in row.figures]
    reach = [v for f in figures for v in (f.low, f.high, f.value) if not math.isnan(v)]
    return Axis(*padded(reach, 0.04), 0.0, 100.0) if reach else None


def _heads(table: Table, scale: Axis | None) -> Iterator[str]:
    yield _head("rank", "Rank", "rank", text.TIERS)
    yield _head("model", "Model", "model", "What the row is; its spec string")
    for columns in table.groups().values():
        for column in columns:
            yield _head(column.key, text.heading(column), f"num {column.group}", _about(column))
            if column.key == table.ranked_by:
                yield _forest_head(column, table, scale)
                told = "Gap to the best row, and its corrected p-value"
                yield _head("gap", "To the best", "num gap metrics", told)
                if table.judged:
                    told = "Whether the printed numbers were reproduced"
                    yield _head("verdict", "Verdict", "verdict", told)


def _about(column: Column) -> str:
    better = {True: "; higher is better", False: "; lower is better", None: ""}
    return column.about + better[column.higher_is_better]


def _head(key: str, label: str, kind: str, about: str) -> str:
    return (
        f'<th scope="col" class="{kind}" data-key="{escape(key)}" title="{escape(about)}">'
        f'<button type="button">{escape(label)}</button></th>'
    )


def _forest_head(column: Column, table: Table, scale: Axis | None) -> str:
    level = f"{100 * table.options.level:g}%"
    ticks = ""
    if scale is not None:
        ticks = "".join(
            f'<span style="left:{at(scale(value))}%">{short(value)}</span>'
            for value in scale.ticks(3)
        )
    return (
        f'<th scope="col" class="forest metrics" data-key="forest" '
        f'title="{level} interval of {escape(column.label)}"><span class="name">{level} interval'
        f'</span><span class="axis">{ticks}</span></th>'
    )


def _pareto(table: Table, number: int) -> str:
    """A drawing for each cost, one of which is seen."""
    drawn = [(column, draw_pareto(table, column)) for column in table.groups().get("cost", [])]
    drawn = [(column, told) for column, told in drawn if told]
    if not drawn:
        return ""
    choices = "".join(
        f'<label><input type="radio" name="cost{number}" value="{index}"'
        f"{' checked' * (index == 0)}> {escape(text.heading(column))}</label>"
        for index, (column, _) in enumerate(drawn)
    )
    figures = "".join(
        f'<figure data-cost="{index}"{" hidden" * (index > 0)}>{told}</figure>'
        for index, (_, told) in enumerate(drawn)
    )
    label = table.column(table.ranked_by).label
    return (
        f'<section class="plot pareto"><h2>{escape(label)} against cost</h2>'
        f'<p class="sub">Vertical lines are intervals. Nothing on the board is both cheaper and '
        f"better than the rows on the line.</p>"
        f'<div class="choices" role="radiogroup" aria-label="Cost">{choices}</div>{figures}'
        "</section>\n"
    )


def _panel(panel: Panel) -> str:
    shown = panel.curves[:_SQUARES]
    squares = "".join(
        f"<figure>{draw_curve(curve, panel)}<figcaption>{escape(curve.label)}</figcaption></figure>"
        for curve in shown
    )
    title, _, about = panel.title.partition(": ")
    more = f" The first {len(shown)} of {len(panel.curves)} rows." * (
        len(shown) < len(panel.curves)
    )
    sub = f"{about[:1].upper()}{about[1:]}. " if about else ""
    return (
        f'<section class="plot panel"><h2>{escape(title)}</h2><p class="sub">{escape(sub)}'
        f"Across: {escape(panel.x_label)}; upright: {escape(panel.y_label)}.{more}</p>"
        f'<div class="squares">{squares}</div></section>\n'
    )


__all__ = ["render"]
