"""Cells of a page's rows: what a figure, an interval, a gap and a verdict look like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from fusionzoo.leaderboard.plots.svg import Axis, at
from fusionzoo.leaderboard.render import text
from fusionzoo.leaderboard.table import Column, Figure, Row, Table, Verdict, verdict_of

#: A sign for each verdict, beside its word.
_SIGNS: dict[Verdict, str] = {"reproduced": "✓", "differs": "≠", "not testable here": "○"}


def rows_html(table: Table, scale: Axis | None) -> list[str]:
    """A `tr` for every row; their cells are in the order of the heads."""
    columns = [column for group in table.groups().values() for column in group]
    judged = bool(table.judged)
    return [
        _row(row, index, columns, table.ranked_by, scale, judged=judged)
        for index, row in enumerate(table.rows)
    ]


def _row(
    row: Row,
    index: int,
    columns: Sequence[Column],
    ranked_by: str,
    scale: Axis | None,
    *,
    judged: bool,
) -> str:
    cells = [_rank(row), _model(row)]
    for column in columns:
        cells.append(_figure(row, column, column.key == ranked_by))
        if column.key == ranked_by:
            cells += [_forest(row, column, scale), _gap(row)]
            cells += [_verdict(row)] if judged else []
    state = "" if row.state == "complete" else f" {row.state}"
    return f'<tr class="tier{min(row.tier, 4)}{state}" data-row="{index}">{"".join(cells)}</tr>'


def _rank(row: Row) -> str:
    told = f'<span class="badge">{row.tier}</span>' if row.tier else '<span class="none">–</span>'
    return f'<td class="rank" data-label="Rank">{told}</td>'


def _model(row: Row) -> str:
    tags = [tag for tag in (row.category, row.basis) if tag]
    shown = "".join(f'<span class="tag">{escape(tag)}</span>' for tag in tags)
    if row.state != "complete":
        shown += f'<span class="tag {row.state}">{row.state}</span>'
    spec = ""
    if row.spec != row.label:
        spec = f'<span class="spec" title="{escape(row.spec)}">{_spec(row.spec)}</span>'
    remark = f'<span class="remark">{escape(row.remark)}</span>' if row.remark else ""
    return (
        f'<th class="model" scope="row"><span class="name">{_spec(row.label)}</span>{shown}'
        f"{spec}{remark}</th>"
    )


def _spec(told: str) -> str:
    """Text whose arrows aren't broken at the end of a line."""
    return escape(told).replace("-&gt;", '<span class="nb">-&gt;</span>')


def _figure(row: Row, column: Column, ranking: bool) -> str:
    figure = row.figures.get(column.key)
    label = escape(text.heading(column))
    kind = f"num {column.group}{' ranking' * ranking}"
    if figure is None or math.isnan(figure.value):
        return f'<td class="{kind} empty" data-label="{label}">–</td>'
    if figure.mark:
        kind += f" {figure.mark}"
    told = f"<span class=v>{text.figure(figure, column)}</span>"
    if not math.isnan(figure.sd):
        told += f"<span class=sd>± {text.number(figure.sd, column.decimals)}</span>"
    return f'<td class="{kind}" data-label="{label}">{told}{_printed(figure, column)}</td>'


def _printed(figure: Figure, column: Column) -> str:
    judged = figure.published
    if judged is None:
        return ""
    return (
        f'<span class="paper {_slug(judged.verdict)}" title="{escape(judged.verdict)}">'
        f"{_SIGNS[judged.verdict]} paper {text.number(judged.value, column.decimals)}</span>"
    )


def _forest(row: Row, column: Column, scale: Axis | None) -> str:
    """Value and interval on the scale that all rows share."""
    figure = row.figures.get(column.key)
    label = f"{column.label}, interval"
    if figure is None or scale is None or math.isnan(figure.value):
        return f'<td class="forest metrics empty" data-label="{label}"></td>'
    bar = ""
    if not math.isnan(figure.low):
        low, high = scale(figure.low), scale(figure.high)
        bar = f'<i style="left:{at(low)}%;width:{at(high - low)}%"></i>'
    limits = text.interval(figure, column).strip(" ()").replace("-", "–")
    return (
        f'<td class="forest metrics" data-label="{label}"><span class="bar">{bar}'
        f'<b style="left:{at(scale(figure.value))}%"></b></span>'
        f'<span class="limits">{limits}</span></td>'
    )


def _gap(row: Row) -> str:
    told = ""
    if not math.isnan(row.gap) and not math.isnan(row.p):
        p = text.p_value(row.p)
        told = (
            f"<span class=v>{text.signed(row.gap).replace('-', '−')}</span>"
            f"<span class=sd>p {escape(p if p.startswith('<') else f'= {p}')}</span>"
        )
    elif row.tier and row.gap == 0:
        told = '<span class="sd">best</span>'
    return f'<td class="num gap metrics" data-label="To the best">{told or "–"}</td>'


def _verdict(row: Row) -> str:
    verdict, reason = verdict_of(row.figures.values())
    if not verdict:
        return '<td class="verdict empty" data-label="Verdict">–</td>'
    return (
        f'<td class="verdict {_slug(verdict)}" data-label="Verdict">'
        f'<span class="pill">{_SIGNS[verdict]} {verdict}</span>'
        f'<span class="remark">{escape(reason)}</span></td>'
    )


def _slug(verdict: Verdict) -> str:
    return verdict.split()[0]


__all__ = ["rows_html"]
