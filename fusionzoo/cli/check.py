"""`fusionzoo check`: hold a component to the interface."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fusionzoo.conformance import Report
    from fusionzoo.conformance.report import Status

_COLOURS: Mapping[Status, str] = {"passed": "green", "failed": "red", "not run": "yellow"}


@click.command()
@click.argument("component")
@click.option(
    "--kind",
    help="Kind of the component, where a name is one of several: encoder or head, for mlp.",
)
@click.option("--slow", is_flag=True, help="Run torch.compile and torch.export too.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(component: str, kind: str | None, slow: bool, as_json: bool) -> None:
    """Check COMPONENT against everything that the interface promises about its kind.

    COMPONENT is a name, with options if wanted ("penet3d(width=0.25)"), module:Class, or the path
    of a Python file. Exits with 1 where a check fails.
    """
    from fusionzoo.conformance import check, find_subjects

    reports = [check(subject, slow=slow) for subject in find_subjects(component, kind)]
    if as_json:
        click.echo(json.dumps([_json(report) for report in reports], indent=2))
    else:
        click.echo("\n\n".join(map(_text, reports)))
    if not all(report.ok for report in reports):
        sys.exit(1)


def _text(report: Report) -> str:
    """The report with coloured marks."""
    from fusionzoo.conformance.report import MARKS

    text = str(report)
    for status, colour in _COLOURS.items():
        mark = MARKS[status]
        text = text.replace(f"\n  {mark} ", f"\n  {click.style(mark, fg=colour)} ")
    return text


def _json(report: Report) -> dict[str, object]:
    return {
        "kind": report.kind,
        "name": report.name,
        "origin": report.origin,
        "ok": report.ok,
        "ran": report.ran,
        "apply": report.applicable,
        "settings": list(report.settings),
        "checks": [
            {"check": r.check, "status": r.status, "promise": r.promise, "detail": r.detail}
            for r in report.results
        ],
    }
