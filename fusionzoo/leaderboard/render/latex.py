"""Boards as LaTeX tables for a paper: booktabs, the best in bold, the second underlined."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fusionzoo.leaderboard.render import text
from fusionzoo.leaderboard.table import Column, Figure, Row, Table, verdict_of

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
}
_MARKS = {"best": r"\textbf{%s}", "second": r"\underline{%s}", "": "%s"}


def render(tables: Sequence[Table]) -> str:
    """Tables to be put into a document that uses the package booktabs."""
    found = ["% Needs \\usepackage{booktabs}; wide tables fit with \\resizebox or in landscape."]
    for number, table in enumerate(tables, 1):
        found.append(_main(table, number))
        if table.judged:
            found.append(_printed(table, number))
        if "cost" in table.groups():
            found.append(_costs(table, number))
    return "\n\n".join(found) + "\n"


def _main(table: Table, number: int) -> str:
    columns = table.groups()["metrics"]
    head = ["Rank", "Model", *(escape(text.heading(column)) for column in columns), "$p$"]
    lines = [
        [
            str(row.tier or "--"),
            escape(row.label),
            *(_cell(row, column) for column in columns),
            escape(text.p_value(row.p)),
        ]
        for row in table.rows
    ]
    facts = {fact.label: fact.value for fact in table.facts}
    caption = (
        f"{escape(table.title)}. Test cases: {escape(facts['Test cases'])}; "
        f"{escape(facts['Split'])}; seeds {escape(facts['Seeds'])}. "
        "Mean $\\pm$ standard deviation over folds. "
        f"{escape(text.compared(table))} {escape(text.TIERS)}"
    )
    return _tabular(head, lines, caption, f"tab:board{number}", "rl" + "c" * len(columns) + "r")


def _printed(table: Table, number: int) -> str:
    judged = table.judged
    head = ["Model", *(f"{escape(text.heading(c))}: ours / printed" for c in judged), "Verdict"]
    lines = []
    for row in table.rows:
        verdict, reason = verdict_of(row.figures.values())
        if verdict:
            told = f"{verdict}: {reason}" if reason else verdict
            cells = (_beside(row.figures.get(column.key), column) for column in judged)
            lines.append([escape(row.label), *cells, escape(told)])
    caption = f"Ours and the printed numbers of {escape(table.source)}."
    return _tabular(
        head, lines, caption, f"tab:board{number}-printed", "l" + "c" * len(judged) + "l"
    )


def _costs(table: Table, number: int) -> str:
    columns = table.groups()["cost"]
    head = ["Model", *(escape(text.heading(column)) for column in columns)]
    lines = [
        [escape(row.label), *(text.figure(row.figures.get(c.key), c) for c in columns)]
        for row in table.rows
        if row.figures
    ]
    machines = next((fact.value for fact in table.facts if fact.label == "Machines"), "")
    caption = f"Cost of the models ({escape(machines)})."
    return _tabular(head, lines, caption, f"tab:board{number}-cost", "l" + "r" * len(columns))


def _tabular(
    head: Sequence[str], lines: Sequence[Sequence[str]], caption: str, label: str, shape: str
) -> str:
    body = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{shape}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
        *(" & ".join(line) + r" \\" for line in lines),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(body)


def _cell(row: Row, column: Column) -> str:
    figure = row.figures.get(column.key)
    value = text.figure(figure, column)
    if value == "-":
        return "--"
    marked = _MARKS[figure.mark if figure else ""] % value
    return marked + escape(text.spread(figure, column))


def _beside(figure: Figure | None, column: Column) -> str:
    if figure is None or figure.published is None:
        return "--"
    printed = text.number(figure.published.value, column.decimals)
    return f"{text.figure(figure, column)} / {printed}"


def escape(told: str) -> str:
    """Text with every character that LaTeX reads as a command written out."""
    return re.sub("|".join(map(re.escape, _SPECIAL)), lambda m: _SPECIAL[m[0]], told)


__all__ = ["escape", "render"]
