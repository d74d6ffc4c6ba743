"""`fusionzoo data check`: everything that is wrong with one's own data, at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from fusionzoo.data.check_report import CheckReport

#: Findings of one code and column that are printed before the rest is counted.
SHOWN = 20
#: An encoder for a first run on each kind of modality.
ENCODERS = {
    "volume": "penet3d",
    "rgb": "'timm(resnet18)'",
    "gray": "'timm(resnet18)'",
    "table": "mlp",
}


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the report.",
)
@click.option(
    "--images",
    type=click.Choice(["full", "headers"]),
    default="full",
    show_default=True,
    help="Decode every image, or read headers only.",
)
@click.option("--all", "everything", is_flag=True, help=f"Print more than {SHOWN} of one kind.")
def check(path: Path, form: str, images: str, everything: bool) -> None:
    """Check PATH (a dataset.yaml) and tell everything at once, leakage first.

    Errors (E..) must be mended and give exit code 2; warnings (W..) may be what you mean.
    docs/own_data.md says what each code means.
    """
    import json
    import sys

    from fusionzoo.data.check_report import check_data

    report = check_data(path, check="full" if images == "full" else "headers")
    if form == "json":
        click.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        shown = len(report.errors) + len(report.warnings) if everything else SHOWN
        _print(Console(soft_wrap=True, highlight=False), report, shown)
    if not report.ok:
        sys.exit(2)


def _print(console: Console, report: CheckReport, shown: int) -> None:
    from rich.markup import escape

    from fusionzoo.data.check_report import LEAKAGE
    from fusionzoo.data.problems import told

    console.print(
        f"[bold]{escape(report.source)}[/bold]: {report.num_cases} cases of "
        f"{report.num_groups} patients"
    )
    groups = (
        ("red", "leakage", [p for p in report.errors if p.code in LEAKAGE]),
        ("red", "errors", [p for p in report.errors if p.code not in LEAKAGE]),
        ("yellow", "warnings of leakage", [p for p in report.warnings if p.code in LEAKAGE]),
        ("yellow", "warnings", [p for p in report.warnings if p.code not in LEAKAGE]),
    )
    for colour, title, found in groups:
        if found:
            console.print(f"\n[{colour}]{title} ({len(found)})[/{colour}]")
            for line in told(found, shown):
                console.print(f"  {escape(line)}")
    errors, warnings = len(report.errors), len(report.warnings)
    counted = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    if report.ok:
        console.print(f"\n[green]{counted}[/green]: the data can be used, for instance by")
        console.print(f"  {escape(_run(report))}")
    else:
        console.print(f"\n[red]{counted}[/red]: mend the errors and check again.")


def _run(report: CheckReport) -> str:
    """A first run on these data."""
    parts = [f"--encoder {name}={ENCODERS[kind]}" for name, kind in report.modalities.items()]
    fusion = ["--fusion concat"] if len(parts) > 1 else []
    return " ".join(["fusionzoo run", f"--dataset {report.source}", *parts, *fusion])
