"""`fusionzoo data doctor`: a report on a folder of DICOM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from fusionzoo.data.doctor import Report

COLOURS = {"good": "green", "look": "yellow", "bad": "red"}


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--annotations", type=click.Path(path_type=Path), help="Folder of the XML files.")
@click.option(
    "--clinical", type=click.Path(path_type=Path), help="The clinical sheet, xlsx or csv."
)
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write a page with pictures.")
@click.option("--decode", is_flag=True, help="Decode every slice; of a cache, check every sum.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
def doctor(
    path: Path,
    annotations: Path | None,
    clinical: Path | None,
    page: Path | None,
    decode: bool,
    workers: int,
) -> None:
    """What of PATH can be used, what is set aside and why; PATH is a folder of DICOM or a cache."""
    from rich.console import Console
    from rich.progress import Progress

    from fusionzoo.data.doctor import examine

    console = Console(soft_wrap=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("headers", total=None)
        report = examine(
            path,
            annotations=annotations,
            clinical=clinical,
            decode=decode,
            workers=workers,
            tell=lambda done, total: bars.update(task, completed=done, total=total),
        )
    _print(console, report)
    if page is not None:
        from fusionzoo.data.doctor_page import page as rendered
        from fusionzoo.storage import write_atomic

        write_atomic(page, rendered(report))
        console.print(f"\nWrote {page}", highlight=False)


def _print(console: Console, report: Report) -> None:
    from rich.markup import escape
    from rich.table import Table

    def table(*columns: str) -> Table:
        made = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            right = column not in ("class", "reason", "for example", "encoding")
            made.add_column(column, justify="right" if right else "left")
        return made

    def say(text: str) -> None:
        console.print(text, highlight=False)

    facts = [one.series.facts for one in report.examined]
    slices, patients = sum(f.shape[0] for f in facts), len({f.patient_id for f in facts})
    aside = sum(one.num_files for one in report.set_aside)
    say(f"[bold]{escape(str(report.path))}[/bold]")
    say(f"to use: {len(facts)} series of {patients} patients, {slices} slices")
    say(f"set aside: {aside} files; no images by their looks: {sum(report.others.values())}\n")
    classes = table("class", "patients", "series", "slices", "patients with boxes")
    for row in report.classes():
        classes.add_row(*map(str, row))
    console.print(classes)
    say("")
    encodings = table("encoding", "series")
    for name, count in report.syntaxes():
        encodings.add_row(name, str(count))
    console.print(encodings)
    if report.set_aside:
        say("\n[bold]set aside[/bold]")
        for kind, files, example in report.reasons():
            number = f"{files} file{'s' * (files != 1)}"
            say(f"  [bold]{kind}[/bold] ({number}), for example {escape(str(example))}")
    say("\n[bold]checks[/bold]")
    for check in report.checks:
        say(f"  [{COLOURS[check.verdict]}]{check.verdict}[/] {escape(check.text)}")
